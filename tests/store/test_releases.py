"""A store that any release wrote is opened by this one: upgraded, complete, its secrets readable."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, DateTime, LargeBinary, MetaData, insert
from sqlalchemy.types import JSON

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.domain.model import ItemState, RotationState, Stage
from azure_rotator.domain.secrettext import SealedFor
from azure_rotator.store import opening
from azure_rotator.store.connect import Database
from azure_rotator.store.location import locate
from azure_rotator.store.opening import REVISIONS, create, open_store, peek, upgrade
from tests.plugins.postgres import Postgres
from tests.store import release
from tests.store.inspection import schema
from tests.store.samples import DAY, LATER, NOW

FIXTURES = sorted((Path(__file__).parent / "fixtures").glob("store-*.sql"))


def _in_sqlite(script: Path, path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script.read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


def _in_postgresql(script: Path, path: Path, url: str) -> str:
    """The same rows in tables as that release made them."""
    _in_sqlite(script, path)
    with closing(sqlite3.connect(path)) as old, closing(Database(locate(url))) as database:
        old.row_factory = sqlite3.Row
        ((revision,),) = old.execute("SELECT version_num FROM alembic_version")
        opening._migrate(database, revision)
        with database.writing() as connection:
            metadata = MetaData()
            metadata.reflect(connection)
            for table in metadata.sorted_tables:
                if table.name == "alembic_version":
                    continue
                read: dict[str, Callable[[Any], Any]] = {c.name: _reader(c.type) for c in table.columns}
                rows = [
                    {name: None if row[name] is None else read[name](row[name]) for name in read}
                    for row in old.execute(f'SELECT * FROM "{table.name}"')  # noqa: S608 - names from the schema
                ]
                if rows:
                    connection.execute(insert(table), rows)
    return url


def _reader(kind: object) -> Callable[[Any], Any]:
    if isinstance(kind, DateTime):
        return lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
    if isinstance(kind, Boolean):
        return bool
    if isinstance(kind, JSON):
        return json.loads
    if isinstance(kind, LargeBinary):
        return bytes
    return lambda value: value


@pytest.fixture(params=FIXTURES, ids=[path.stem for path in FIXTURES])
def old_url(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> Iterator[str]:
    """A store as that release left it."""
    if database == "sqlite":
        yield _in_sqlite(request.param, tmp_path / "store.db")
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.create()
    yield _in_postgresql(request.param, tmp_path / "store.db", made)
    server.drop(made)


@pytest.fixture
def release_url(old_url: str) -> str:
    """The same after the way to this release."""
    upgrade(old_url)
    return old_url


def test_a_store_of_every_release_opens_complete(release_url: str):
    with open_store(release_url) as store:
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
        # Looked at for orphans: after the upgrade of a store that did not keep when, too.
        assert "application:tenant-1:app-1" in store.take_sweeps(NOW + DAY, again_at=NOW + 2 * DAY, limit=10)
    found = peek(release_url)
    assert found is not None
    assert (found.revision, found.key_check) == (REVISIONS[-1], release.KEY.check_value)


def test_secrets_of_every_release_open(release_url: str):
    sealer = EnvelopeSealer(release.KEY)
    with open_store(release_url) as store:
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


def test_an_upgraded_store_has_the_schema_of_a_new_one(release_url: str, another_url: str):
    create(another_url, store_id=release.STORE_ID, key_check=release.KEY.check_value)
    assert schema(release_url) == schema(another_url)


def test_this_releases_own_store_has_a_fixture(tmp_path: Path):
    """The newest fixture has this schema: whoever adds a revision writes the next one."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIXTURES[-1].read_text(encoding="utf-8"))
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[-1],)]
