"""The checker sees what it is there to see: each promise broken by hand, next to an estate in order."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from azure_rotator.domain.ports import UnitOfWork
from tests.crash.estate import Estate, rotate
from tests.crash.invariants import Inspector, Kind, spellings
from tests.crash.jobs import Call
from tests.crash.worker import READS

pytestmark = pytest.mark.crash

UNKNOWN = "abcdefghijklmnop"


def _statement(text: str) -> Callable[[Estate], None]:
    def broken(estate: Estate) -> None:
        with estate.store.raw() as connection, connection:
            assert connection.execute(text).rowcount

    return broken


def _removed(stage: str) -> Callable[[Estate], None]:
    return lambda estate: estate.lab.control.remove_secret(estate.app_id, _held(estate, stage))


def _held(estate: Estate, stage: str) -> str:
    with estate.store.raw() as connection:
        return str(connection.execute("SELECT key_id FROM versions WHERE stage = ?", (stage,)).fetchone()[0])


def _stamped(mint_id: str = "") -> Callable[[Estate], None]:
    def broken(estate: Estate) -> None:
        known = estate.stamps()[0]
        estate.lab.control.add_secret(estate.app_id, display_name=known[:-16] + (mint_id or known[-16:]))

    return broken


def _said(spelling: Callable[[str], bytes]) -> Callable[[Estate], None]:
    def broken(estate: Estate) -> None:
        (estate.folder / "processes" / "said").write_bytes(b"token=" + spelling(estate.secrets()[-1]) + b"\n")

    return broken


def _foreign(change: Callable[[Estate, str], object]) -> Callable[[Estate], None]:
    def broken(estate: Estate) -> None:
        change(estate, estate.key_id_of("made by hand"))

    return broken


BROKEN: dict[str, tuple[Kind, Callable[[Estate], None]]] = {
    "the current secret is removed": (Kind.LOST, _removed("current")),
    "the current value is another one": (
        Kind.LOST,
        _statement("UPDATE versions SET key_id = 'x' || key_id WHERE stage = 'current'"),
    ),
    "the current value does not open": (
        Kind.LOST,
        _statement("UPDATE versions SET sealed_value = zeroblob(64) WHERE stage = 'current'"),
    ),
    "a mint that is over left a secret": (Kind.ORPHANED, _stamped()),
    "a secret of an unknown mint": (Kind.ORPHANED, _stamped(UNKNOWN)),
    "a person's secret is removed": (
        Kind.FOREIGN,
        _foreign(lambda e, key_id: e.lab.control.remove_secret(e.app_id, key_id)),
    ),
    "an operation is due": (
        Kind.STUCK,
        _statement("UPDATE rotations SET next_attempt_at = '2000-01-01 00:00:00' WHERE state != 'done'"),
    ),
    "a create that nobody ends": (Kind.STUCK, _statement("UPDATE items SET state = 'creating'")),
    "a previous secret that nobody retires": (
        Kind.STUCK,
        _statement("UPDATE rotations SET state = 'done' WHERE state != 'done'"),
    ),
    "the previous secret is removed": (Kind.EARLY, _removed("previous")),
    "a value in clear": (Kind.LEAKED, _said(lambda value: value.encode())),
    "a value in base64": (Kind.LEAKED, _said(lambda value: base64.b64encode(b"id:" + value.encode() + b"!"))),
}


@pytest.fixture
def rotated(estate: Estate) -> tuple[Estate, Inspector]:
    """Two versions: one minted and current, one adopted and previous."""
    estate.begin(estate.adopt(skip_dry_run=True), rotate())
    return estate, estate.inspector(ours=[estate.given_key_id])


def test_an_estate_in_order_is_reported_as_such(rotated: tuple[Estate, Inspector]) -> None:
    _, inspector = rotated
    assert inspector.violations() == []
    assert inspector.violations(reconciled=False) == []
    assert len(inspector.foreign) == 3, "two that people made, and the Target's own"


@pytest.mark.parametrize(("kind", "broken"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_reported(
    rotated: tuple[Estate, Inspector], kind: Kind, broken: Callable[[Estate], None]
) -> None:
    estate, inspector = rotated
    broken(estate)
    assert kind in {violation.kind for violation in inspector.violations()}


def _own_removed(estate: Estate) -> None:
    estate.lab.control.remove_secret(estate.rotator.app_id, _held(estate, "current"))


OTHER_KINDS: dict[str, tuple[Callable[[Estate], Call], Kind, Callable[[Estate], object]]] = {
    "the Target's own secret is removed": (lambda e: e.create_own(), Kind.LOST, _own_removed),
    "the published key is regenerated": (
        lambda e: e.create_storage(),
        Kind.LOST,
        lambda e: e.lab.control.regenerate_key(e.account.name, "key1"),
    ),
    "a key of nobody is regenerated": (
        lambda e: e.create_storage(),
        Kind.FOREIGN,
        lambda e: e.lab.control.regenerate_key(e.account.name, "key2"),
    ),
    "the published one of a pair is regenerated": (
        lambda e: e.create_storage(storage_key_mode="alternate"),
        Kind.LOST,
        lambda e: e.lab.control.regenerate_key(e.account.name, _held(e, "current")),
    ),
    "the password is set by somebody else": (
        lambda e: e.create_password(),
        Kind.LOST,
        lambda e: e.lab.control.update_user(e.user.object_id, password="By-Hand-and-2-strong"),
    ),
}


@pytest.mark.parametrize(("create", "kind", "broken"), OTHER_KINDS.values(), ids=OTHER_KINDS)
def test_a_broken_promise_of_another_kind_is_reported(
    estate: Estate, create: Callable[[Estate], Call], kind: Kind, broken: Callable[[Estate], object]
) -> None:
    estate.begin(create(estate), rotate())
    inspector = estate.inspector()
    assert inspector.violations() == []
    broken(estate)
    for reconciled in (True, False):
        assert kind in {violation.kind for violation in inspector.violations(reconciled=reconciled)}


def test_without_a_committed_intent_an_extra_secret_is_an_orphan_at_once(rotated: tuple[Estate, Inspector]) -> None:
    estate, inspector = rotated
    _stamped()(estate)
    assert [v.kind for v in inspector.violations(reconciled=False)] == [Kind.ORPHANED]
    assert inspector.violations(reconciled=False, late=True) == []


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_a_value_is_found_wherever_it_stands_in_what_was_encoded(before: str) -> None:
    value = "3zB8Q~abc/def+ghi_jkl-mno~pqr.stu"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}{value}&x=1".encode())
        assert any(needle in text for needle in spellings(value))


def test_no_method_of_the_store_is_forgotten(tmp_path: Path) -> None:
    methods = {name for name, member in vars(UnitOfWork).items() if callable(member) and not name.startswith("_")}
    assert methods > READS
    writes = {"insert_", "update_", "record_", "write_", "begin_", "claim", "extend", "release", "hold_", "correct_"}
    writes |= {
        "hasten",
        "withdraw",
        "plan",
        "park",
        "postpone_",
        "resume",
        "mint_settled",
        "store_pending",
        "publish",
        "finish_",
        "defer",
        "fail",
        "drop_",
        "delete_",
        "move",
        "cut_short",
        "cancel_",
        "remind",
        "tell_once",
        "take_turn",
        "take_sweeps",
        "swept",
    }
    unknown = {m for m in methods - READS if not m.startswith(tuple(writes))}
    assert not unknown, f"does it write? {unknown}"
