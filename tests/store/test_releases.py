"""A store that any release wrote is opened by this one: upgraded, complete, its secrets readable."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.domain.model import ItemState, RotationState, Stage
from azure_rotator.domain.secrettext import SealedFor
from azure_rotator.store.opening import REVISIONS, open_store, peek
from tests.store import release
from tests.store.samples import LATER, NOW

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("store-*.sql"))


@pytest.fixture(params=FIXTURES, ids=[path.stem for path in FIXTURES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


def test_a_store_of_every_release_opens_complete(url: str):
    with open_store(url) as store:
        assert store.store_id() == release.STORE_ID
        assert [target.name for target in store.list_targets()] == ["/azure/identity", "/azure/prod"]
        assert [(item.name, item.state) for item in store.list_items()] == [
            ("/prod/creating", ItemState.CREATING),
            ("/prod/deleting", ItemState.DELETING),
            ("/prod/failed", ItemState.ACTIVE),
            ("/prod/no-value", ItemState.ACTIVE),
            ("/prod/rotated", ItemState.ACTIVE),
        ]
        rotated = store.find_item(name="/prod/rotated")
        assert rotated is not None
        assert (rotated.description, rotated.tags) == ("ünïcode ☃", ("team-a", "blue"))
        assert (rotated.accessed_at, rotated.last_rotation_at) == (LATER, LATER)
        assert [(version.number, version.stage) for version in store.versions(rotated.item_id)] == [
            (1, Stage.REVOKED),
            (2, Stage.PREVIOUS),
            (3, Stage.CURRENT),
        ]
        assert sorted(rotation.state for rotation in store.open_rotations()) == [
            RotationState.FAILED,
            RotationState.MINTING,
            RotationState.PLANNED,
            RotationState.PUBLISHED,
        ]
        assert len(store.events()) == 3
        assert {line.action for line in store.audit_lines()} >= {"create_item", "rotate_item", "delete_target"}
        assert store.claim_lane("application:tenant-1:throttled", "worker", NOW) is None
    found = peek(url)
    assert found is not None
    assert (found.revision, found.key_check) == (REVISIONS[-1], release.KEY.check_value)


def test_secrets_of_every_release_open(url: str):
    sealer = EnvelopeSealer(release.KEY)
    with open_store(url) as store:
        target = store.find_target(name="/azure/prod")
        creating = store.find_item(name="/prod/creating")
        rotated = store.find_item(name="/prod/rotated")
        assert target is not None
        assert creating is not None
        assert rotated is not None
        current = store.versions(rotated.item_id)[-1]
    sealed = [
        (target.sealed_secret, SealedFor(table="targets", row=target.target_id, version=1)),
        (creating.sealed_login, SealedFor(table="items", row=creating.item_id)),
        (current.sealed_value, SealedFor(table="versions", row=current.version_id, version=3)),
    ]
    for value, place in sealed:
        assert value is not None
        assert sealer.open(value, place).reveal() == release.VALUE


def test_this_releases_own_store_has_a_fixture(tmp_path: Path):
    """The newest fixture has this schema: whoever adds a revision writes the next one."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIXTURES[-1].read_text(encoding="utf-8"))
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]
