"""Which secrets of an application are this store's orphans, and which are never touched."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.model import Rotation, RotationState
from azure_rotator.domain.names import Stamp
from azure_rotator.domain.ownership import orphans, own_stamps
from azure_rotator.domain.ports import PasswordCredential
from tests.rows import row
from tests.unit.domain.samples import ITEM_ID, NOW, OPERATION, id_of, rotation
from tests.unit.domain.steady import steady

STORE, OTHER_STORE = id_of(10), id_of(11)
OTHER_ITEM, OTHER_OPERATION = id_of(20), id_of(21)
KEY = "aabbccdd-0000-4000-8000-000000000001"
STAMP = str(Stamp(STORE, ITEM_ID, OPERATION))


def password(display_name: str | None = STAMP, key_id: str = KEY) -> PasswordCredential:
    return PasswordCredential(key_id=key_id, display_name=display_name, hint="abc", start_at=NOW, end_at=NOW)


def found(*passwords: PasswordCredential, state: str = "done", **changes: Any) -> list[str]:
    options: dict[str, Any] = {
        "store_id": STORE,
        "journal": {OPERATION: rotation(state=RotationState(state))},
        "held": (),
    }
    return [one.key_id for one in orphans(passwords, **(options | changes))]


@row("B-31")
@pytest.mark.parametrize(
    ("state", "orphaned"),
    [
        ("planned", False),
        ("minting", False),
        ("minted", False),
        ("proving", False),
        ("published", True),
        ("retiring", True),
        ("done", True),
        ("failed", True),
    ],
)
def test_an_orphan_carries_the_stamp_of_an_operation_that_no_longer_mints(state: str, orphaned: bool):
    assert found(password(), state=state) == ([KEY] if orphaned else [])


@row("B-31", "F30")
@pytest.mark.parametrize(
    ("display_name", "changes"),
    [
        pytest.param("by hand", {}, id="made by hand"),
        pytest.param(None, {}, id="without a name"),
        pytest.param(STAMP + "x", {}, id="only beginning like a stamp"),
        pytest.param(str(Stamp(OTHER_STORE, ITEM_ID, OPERATION)), {}, id="of another store"),
        pytest.param(
            str(Stamp(STORE, ITEM_ID, OTHER_OPERATION)), {}, id="of an operation that the journal does not know"
        ),
        pytest.param(str(Stamp(STORE, OTHER_ITEM, OPERATION)), {}, id="of an operation that was another item's"),
        pytest.param(STAMP, {"held": {KEY}}, id="held by a version"),
        pytest.param(STAMP, {"held": {KEY.upper()}}, id="held by a version, in upper case"),
        pytest.param(STAMP, {"journal": {}}, id="of a journal that was lost"),
        pytest.param(
            str(Stamp(OTHER_STORE, ITEM_ID, OPERATION)), {"own_operation": OPERATION}, id="another store's twin of mine"
        ),
        pytest.param(
            str(Stamp(OTHER_STORE, ITEM_ID, OPERATION)), {"own_item": ITEM_ID}, id="another store's item of that id"
        ),
        pytest.param(STAMP, {"own_operation": OPERATION, "held": {KEY}}, id="mine, and held"),
        pytest.param(STAMP, {"own_item": ITEM_ID, "held": {KEY}}, id="of the item that is deleted, and held"),
    ],
)
def test_what_is_never_an_orphan(display_name: str | None, changes: dict[str, Any]):
    assert found(password(display_name), **changes) == []


@pytest.mark.parametrize(
    ("changes", "orphaned"),
    [
        pytest.param({}, False, id="somebody else looks"),
        pytest.param({"own_operation": OPERATION}, True, id="the operation itself looks"),
        pytest.param({"own_operation": OTHER_OPERATION}, False, id="another operation looks"),
        pytest.param({"own_item": ITEM_ID}, True, id="its item is deleted"),
        pytest.param({"own_item": OTHER_ITEM}, False, id="another item is deleted"),
    ],
)
def test_what_an_operation_is_minting_is_its_own_affair(changes: dict[str, Any], orphaned: bool):
    assert found(password(), state="minting", **changes) == ([KEY] if orphaned else [])


@row("B-31")
def test_key_ids_compare_without_case():
    assert found(password(key_id=KEY.upper()), held={KEY}) == []
    assert found(password(key_id=KEY.upper())) == [KEY.upper()]


def test_own_stamps_are_by_key_id():
    mine, foreign = password(), password("by hand", "x")
    other = password(str(Stamp(OTHER_STORE, ITEM_ID, OPERATION)), "y")
    assert own_stamps([mine, foreign, other], STORE) == {KEY: Stamp(STORE, ITEM_ID, OPERATION)}


_IDS = st.sampled_from([ITEM_ID, OPERATION])  # few, so that stamps, journal and versions meet often
_NAMES = st.one_of(
    st.none(),
    st.text(max_size=60),
    st.builds(
        lambda s, i, o: str(Stamp(s, i, o)), st.sampled_from([STORE, STORE, OTHER_STORE]), st.just(ITEM_ID), _IDS
    ),
)
_KEYS = st.sampled_from([f"aabbccdd-0000-4000-8000-00000000000{n}" for n in range(3)]).flatmap(
    lambda key: st.sampled_from([key, key.upper()])
)
_PASSWORDS = st.lists(st.builds(password, _NAMES, _KEYS), max_size=8, unique_by=lambda one: one.key_id.lower())
_JOURNAL = st.dictionaries(
    _IDS, st.builds(lambda i, s: rotation(item_id=i, state=s), _IDS, st.sampled_from(list(RotationState))), min_size=1
)


@row("B-31", "F30")
@steady
@given(
    passwords=_PASSWORDS,
    journal=_JOURNAL,
    held=st.sets(_KEYS),
    own_operation=st.none() | _IDS,
    own_item=st.none() | _IDS,
)
def test_never_a_held_a_foreign_or_an_unknown_one(
    passwords: list[PasswordCredential],
    journal: dict[str, Rotation],
    held: set[str],
    own_operation: str | None,
    own_item: str | None,
):
    result = orphans(
        passwords, store_id=STORE, journal=journal, held=held, own_operation=own_operation, own_item=own_item
    )
    assert all(one in passwords for one in result)
    for one in result:
        assert one.key_id.lower() not in {key.lower() for key in held}
        store, item, operation = (one.display_name or "").removeprefix("azure-rotator/1/").split("/")
        assert store == STORE
        assert journal[operation].item_id == item
    own = {one.key_id for one in result}
    for one in passwords:
        if one.display_name is None or not one.display_name.startswith(f"azure-rotator/1/{STORE}/"):
            assert one.key_id not in own
