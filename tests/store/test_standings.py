"""How items stand: each beside its current version and its open rotation, in one statement a page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from azure_rotator.domain.model import ItemState, RotationState, Standing, Trigger
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import on_sqlite
from tests.store.samples import FAILURE, LATER


@contextmanager
def counted(store: SqlUnitOfWork) -> Iterator[list[str]]:
    """What the store asks its database for meanwhile; not how it begins and ends a transaction."""
    asked: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    event.listen(store._db.engine, "before_cursor_execute", note)
    yield asked
    event.remove(store._db.engine, "before_cursor_execute", note)


def of(store: SqlUnitOfWork, name: str) -> Standing:
    (found,) = store.standings(prefix=name)
    return found


def test_an_item_stands_beside_its_current_version_and_its_open_rotation(store: SqlUnitOfWork):
    resting, present = samples.add_item(store, name="/resting", sealed_login=SealedBytes(b"\x00 login"))
    assert of(store, "/resting") == Standing(
        item=replace(resting, sealed_login=None),
        current=replace(present, sealed_value=None),
        rotation=None,
        versions=1,
    )
    proving = samples.scene(store)
    found = of(store, proving.item.name)
    assert found.current == replace(proving.current, sealed_value=None)
    assert found.rotation == store.get_rotation(proving.made.rotation_id)
    assert found.versions == 2


def test_a_rotation_that_failed_is_there(store: SqlUnitOfWork):
    parked = samples.scene(store)
    store.fail(parked.claim, FAILURE, audit=samples.line(), undo_item=False, at=LATER)
    found = of(store, parked.item.name)
    assert found.rotation is not None
    assert (found.rotation.state, found.rotation.error_code) == (RotationState.FAILED, FAILURE.code)
    assert found.versions == 1, "what was given up is no version"


def test_a_rotation_that_only_retires_is_not_there(store: SqlUnitOfWork):
    made, first = samples.add_item(store)
    _, second = samples.published(store, made, first)
    found = of(store, made.name)
    assert found.rotation is None
    assert (found.current and found.current.version_id, found.versions) == (second.version_id, 2)


def test_the_end_of_one_version_is_no_rotation(store: SqlUnitOfWork):
    made, first = samples.add_item(store)
    samples.published(store, made, first)
    found = store.find_item(item_id=made.item_id)
    assert found is not None
    doom = samples.rotation(
        made.item_id,
        trigger=Trigger.DELETE_VERSION,
        state=RotationState.RETIRING,
        replaced_version_id=first.version_id,
    )
    store.begin_version_delete(doom, revision=found.revision)
    assert of(store, made.name).rotation is None


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (ItemState.CREATING, False),
        (ItemState.ACTIVE, True),
        (ItemState.DELETING, True),
        (ItemState.UNDOING, False),
    ],
)
def test_only_what_users_see_is_told(store: SqlUnitOfWork, state: ItemState, shown: bool):
    samples.add_item(store, name="/s", state=state)
    assert [one.item.name for one in store.standings()] == (["/s"] if shown else [])


NAMES = ("/B", "/a", "/a-b", "/a/x", "/a/y", "/ab", "/b", "/ä")


PAGES = {
    "all, by code point": ("", "", 100, NAMES),
    "a page": ("", "", 3, ("/B", "/a", "/a-b")),
    "the next page": ("", "/a-b", 3, ("/a/x", "/a/y", "/ab")),
    "after what is gone": ("", "/a/z", 3, ("/ab", "/b", "/ä")),
    "what begins so": ("/a", "", 100, ("/a", "/a-b", "/a/x", "/a/y", "/ab")),
    "what begins so, after one": ("/a/", "/a/x", 100, ("/a/y",)),
    "as it is written": ("/A", "", 100, ()),
    "any letter": ("/ä", "", 100, ("/ä",)),
}


def test_pages_by_name(store: SqlUnitOfWork):
    target_id = samples.add_target(store).target_id
    for name in reversed(NAMES):
        samples.add_item(store, name=name, target_id=target_id)
    found = {
        case: tuple(one.item.name for one in store.standings(prefix=prefix, after=after, limit=limit))
        for case, (prefix, after, limit, _) in PAGES.items()
    }
    assert found == {case: expected for case, (_, _, _, expected) in PAGES.items()}


def test_a_page_is_one_statement_however_many_items_it_has(store: SqlUnitOfWork):
    target_id = samples.add_target(store).target_id
    for _ in range(30):
        samples.add_item(store, target_id=target_id)
    with counted(store) as asked:
        assert len(store.standings()) == 30
    assert len(asked) == 1


@on_sqlite
def test_versions_and_rotations_are_found_by_their_indexes(store: SqlUnitOfWork):
    samples.scene(store)
    with counted(store) as asked:
        store.standings()
    with store._db.reading() as connection:
        statement = "EXPLAIN QUERY PLAN " + asked[0].replace("?", "'a'")
        plan = connection.execute(text(statement)).fetchall()
    told = "\n".join(str(line) for line in plan)
    for index in ("uq_versions_current", "uq_rotations_unpublished", "ix_versions_item"):
        assert index in told, told


def test_nothing_sealed_is_read(store: SqlUnitOfWork):
    samples.add_item(store, sealed_login=SealedBytes(b"\x00 login"))
    with counted(store) as asked:
        store.standings()
    assert "sealed" not in asked[0]
