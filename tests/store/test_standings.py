"""How items stand: each beside its current version and its open rotation, in one statement a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from azure_rotator.domain.model import ItemState, RotationState, Standing, Trigger
from azure_rotator.domain.secrettext import SealedBytes
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.conftest import on_sqlite
from tests.store.samples import DAY, FAILURE, LATER, NOW

SECOND = timedelta(seconds=1)


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


# --- some of them


def test_some_items_are_told_as_all_are(store: SqlUnitOfWork):
    proving = samples.scene(store)
    resting, _ = samples.add_item(store, name="/resting", sealed_login=SealedBytes(b"\x00 login"))
    samples.add_item(store, name="/another")
    with counted(store) as asked:
        found = store.standings_of([resting.item_id, "unknown", proving.item.item_id])
    assert found == sorted((of(store, one.name) for one in (proving.item, resting)), key=lambda one: one.item.item_id)
    assert ["sealed" in statement for statement in asked] == [False]
    assert store.standings_of([]) == []


@pytest.mark.parametrize("state", list(ItemState))
def test_who_is_named_is_told_whatever_its_state(store: SqlUnitOfWork, state: ItemState):
    item, _ = samples.add_item(store, state=state)
    assert [one.item for one in store.standings_of([item.item_id])] == [item]


# --- of which there may be something to tell


def _ends(store: SqlUnitOfWork, expires_at: datetime) -> str:
    return samples.add_crowd(store, 1, samples.add_target(store), expires_at=lambda _: expires_at, **RECENT)[0].item_id


def _with_rotation(store: SqlUnitOfWork, **changes: Any) -> str:
    item, _ = samples.add_item(store, **RECENT)
    store.insert_rotation(samples.rotation(item.item_id, state=RotationState.FAILED, **changes))
    return item.item_id


def _replaced_ends(store: SqlUnitOfWork) -> str:
    """The version whose end it is was replaced."""
    (item,) = samples.add_crowd(store, 1, samples.add_target(store), expires_at=lambda _: LATER, **RECENT)
    (first,) = store.versions(item.item_id)
    samples.published(store, item, first)
    return item.item_id


def _last(store: SqlUnitOfWork, **changes: Any) -> str:
    return samples.add_item(store, **(RECENT | changes))[0].item_id


UNTIL, SINCE = NOW + 14 * DAY, NOW - 90 * DAY
RECENT: dict[str, Any] = {"last_rotation_at": NOW, "accessed_at": NOW, "created_at": SINCE - DAY}
# What there is, whether it is told, and whether it is told where nobody asks for who was neglected.
TOLD: dict[str, tuple[Callable[[SqlUnitOfWork], str], bool, bool]] = {
    "nothing": (_last, False, False),
    "ends then": (lambda store: _ends(store, UNTIL), True, True),
    "has ended": (lambda store: _ends(store, NOW - DAY), True, True),
    "ends later": (lambda store: _ends(store, UNTIL + SECOND), False, False),
    "what was replaced ends": (_replaced_ends, False, False),
    "parked": (lambda store: _with_rotation(store, parked=True), True, True),
    "failed, and is tried again": (_with_rotation, False, False),
    "parked once, and closed": (lambda store: _with_rotation(store, parked=True, closed=True), False, False),
    "not rotated since": (lambda store: _last(store, last_rotation_at=SINCE), True, False),
    "rotated after": (lambda store: _last(store, last_rotation_at=SINCE + SECOND), False, False),
    "not read since": (lambda store: _last(store, accessed_at=SINCE), True, False),
    "never rotated, old": (lambda store: _last(store, last_rotation_at=None), True, False),
    "never read, old": (lambda store: _last(store, accessed_at=None), True, False),
    "never rotated, new": (lambda store: _last(store, last_rotation_at=None, created_at=NOW), False, False),
}


def test_of_which_there_may_be_something_to_tell(store: SqlUnitOfWork):
    ids = {case: prepare(store) for case, (prepare, _, _) in TOLD.items()}
    for neglected_since, column in ((SINCE, 1), (None, 2)):
        found = store.to_tell(ends_until=UNTIL, neglected_since=neglected_since, limit=100)
        assert {case: ids[case] in found for case in TOLD} == {case: told[column] for case, told in TOLD.items()}


def test_an_item_with_two_reasons_is_there_once_and_pages_follow_each_other(store: SqlUnitOfWork):
    target = samples.add_target(store)
    crowd = samples.add_crowd(store, 5, target, expires_at=lambda _: LATER, last_rotation_at=SINCE)
    store.insert_rotation(samples.rotation(crowd[0].item_id, state=RotationState.FAILED, parked=True))
    ids = sorted(item.item_id for item in crowd)
    pages, after = [], ""
    while page := store.to_tell(ends_until=UNTIL, neglected_since=SINCE, after=after, limit=2):
        pages.append(list(page))
        after = page[-1]
    assert pages == [ids[:2], ids[2:4], ids[4:]]
