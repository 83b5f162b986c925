"""The store as a whole: another key, a look through all of it, a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from azure_rotator.domain.errors import Corrupt, Rejected, Unavailable
from azure_rotator.domain.model import Stage
from azure_rotator.domain.secrettext import SealedBytes, SealedFor
from azure_rotator.store import tables
from azure_rotator.store.column_types import Sealed
from azure_rotator.store.opening import open_store, peek
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from azure_rotator.store.upkeep import PLACES, change_key, copy_file, look_through
from tests.rows import row
from tests.store import samples
from tests.store.conftest import KEY_CHECK, STORE_ID, Opened, on_sqlite
from tests.store.inspection import Inspection
from tests.store.samples import LATER, NOW, Scene

NEW_CHECK = "d" * 64


def _marked(value: SealedBytes, place: SealedFor) -> SealedBytes:
    return SealedBytes(f"{place.table} {place.row} {place.version}: ".encode() + value.data)


def _changed(url: str, reseal: Callable[[SealedBytes, SealedFor], SealedBytes] = _marked) -> int:
    return change_key(url, old=KEY_CHECK, new=NEW_CHECK, reseal=reseal, audit=samples.line("rotate_key", "/"))


def _full(store: SqlUnitOfWork) -> Scene:
    """Something in every sealed column."""
    scene = samples.scene(store)
    item = samples.item(scene.item.target_id, name="/login", sealed_login=SealedBytes(b"\x00login"))
    store.insert_item(item, None, samples.rotation(item.item_id), samples.line())
    other, _ = samples.add_item(store)
    _, claim = samples.started(store, other.item_id, lane="application:tenant-1:another")
    store.begin_minting(claim, NOW, replace(samples.mint(claim), sealed_evidence=SealedBytes(b"\x00evidence")))
    store.insert_forwarder(samples.forwarder(), samples.line())
    return scene


def _count(outside: Inspection, table: str, condition: str) -> int:
    ((count,),) = outside.execute(f"SELECT count(*) FROM {table} WHERE {condition}")  # noqa: S608 - our own names
    return int(str(count))


def test_every_sealed_column_has_its_place():
    sealed = {
        column
        for table in tables.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Sealed)
    }
    assert set(PLACES) == sealed, "a change of the key and db check would miss it"


# --- another key


def test_another_key_seals_everything_anew_in_its_place(store: SqlUnitOfWork, store_url: str, outside: Inspection):
    scene = _full(store)
    counts = [_count(outside, f"{column.table}", f"{column.name} IS NOT NULL") for column in PLACES]
    assert all(counts), counts
    assert _changed(store_url) == sum(counts)
    with open_store(store_url) as again:
        target = again.find_target(target_id=scene.item.target_id)
        (_, pending) = again.versions(scene.item.item_id)
        login = again.find_item(name="/login")
    assert target is not None
    assert login is not None
    assert target.sealed_secret == SealedBytes(f"targets {target.target_id} 1: ".encode() + b"\x00sealed target secret")
    assert pending.sealed_value == SealedBytes(f"versions {pending.version_id} 2: ".encode() + b"\x00sealed value")
    assert login.sealed_login == SealedBytes(f"items {login.item_id} 0: ".encode() + b"\x00login")
    found = peek(store_url)
    assert found is not None
    assert (found.store_id, found.key_check) == (STORE_ID, NEW_CHECK)
    assert store.audit_lines()[-1].action == "rotate_key"


def test_a_key_that_was_changed_meanwhile_is_not_changed_again(
    store: SqlUnitOfWork, store_url: str, outside: Inspection
):
    _full(store)
    _changed(store_url)
    before = outside.everything()
    with pytest.raises(Corrupt) as refused:
        _changed(store_url)
    assert refused.value.code == "StoreKeyWrong"
    assert outside.everything() == before


def test_a_value_that_does_not_open_keeps_the_old_key(store: SqlUnitOfWork, store_url: str, outside: Inspection):
    _full(store)
    before = outside.everything()

    def broken(value: SealedBytes, place: SealedFor) -> SealedBytes:
        if place.table == "versions":  # the last
            raise Corrupt("StoreCorrupt", "it does not open")
        return _marked(value, place)

    with pytest.raises(Corrupt, match="does not open"):
        _changed(store_url, broken)
    assert outside.everything() == before


def _touch(store: SqlUnitOfWork, target_id: str) -> None:
    target = store.find_target(target_id=target_id)
    assert target is not None
    store.update_target(replace(target, revision=target.revision + 1), samples.line())


SEALING: dict[str, Callable[[Scene], object]] = {
    "a new target": lambda s: s.store.insert_target(samples.target(name="/new"), samples.line()),
    "a changed target": lambda s: _touch(s.store, s.item.target_id),
    "a new item": lambda s: samples.add_item(s.store, target_id=s.item.target_id),
    "a changed item": lambda s: s.store.update_item(replace(s.item, revision=s.item.revision + 1), samples.line()),
    "a corrected value": lambda s: s.store.correct_value(
        replace(s.item, revision=s.item.revision + 1), s.current, samples.line()
    ),
    "an intent": lambda s: s.store.begin_minting(s.claim, LATER, samples.mint(s.claim)),
    "a minted secret": lambda s: s.store.store_pending(
        s.claim, samples.version(s.item.item_id, s.made.rotation_id, number=3, stage=Stage.PENDING), LATER, LATER
    ),
}


@row("F67")
@pytest.mark.parametrize("seal", SEALING.values(), ids=list(SEALING))
def test_who_began_under_the_old_key_seals_nothing_more(
    store: SqlUnitOfWork, store_url: str, outside: Inspection, seal: Callable[[Scene], object]
):
    scene = samples.scene(store)
    _changed(store_url)
    before = outside.everything()
    with pytest.raises(Corrupt, match="was changed while this process worked") as refused:
        seal(scene)
    assert refused.value.code == "StoreKeyWrong"
    assert "new key" in refused.value.hint
    assert outside.everything() == before
    store.extend(scene.claim)
    store.release(scene.claim)
    store.write_audit(samples.line())


@pytest.mark.parametrize("seal", SEALING.values(), ids=list(SEALING))
def test_who_begins_under_the_new_key_seals(
    store: SqlUnitOfWork, store_url: str, outside: Inspection, open_again: Opened, seal: Callable[[Scene], object]
):
    _changed(store_url)
    scene = samples.scene(open_again())
    before = outside.everything()
    seal(scene)
    assert outside.everything() != before


# --- a look through everything


def test_a_store_in_order_has_no_problems(store: SqlUnitOfWork, store_url: str, outside: Inspection):
    _full(store)
    before = outside.everything()
    opened: list[SealedFor] = []
    findings = look_through(store_url, opens=lambda _, place: opened.append(place))
    assert findings.problems == ()
    assert findings.sealed == len(opened)
    assert {place.table for place in opened} == {table for table, _, _ in PLACES.values()}
    assert findings.rows == {
        name: len(rows) for name, rows in outside.everything().items() if name in tables.metadata.tables
    }
    assert outside.everything() == before


def _refuses(value: SealedBytes, place: SealedFor) -> None:
    if place.table == "targets":
        raise Corrupt("StoreCorrupt", f"the secret in {place.table} does not open")


TROUBLE: dict[str, tuple[str, str]] = {
    "an index that is gone": ("DROP INDEX uq_items_name", "uq_items_name"),
    "a column too many": ("ALTER TABLE items ADD COLUMN note TEXT", "note"),
}


@pytest.mark.parametrize(("statement", "named"), TROUBLE.values(), ids=list(TROUBLE))
def test_a_schema_that_was_changed_by_hand_is_told(
    store: SqlUnitOfWork, store_url: str, outside: Inspection, statement: str, named: str
):
    _full(store)
    outside.execute("CREATE TABLE somebody_elses (x INTEGER)")
    outside.execute(statement)
    (problem,) = look_through(store_url, opens=lambda *_: None).problems
    assert named in problem


def test_every_value_that_does_not_open_is_told(store: SqlUnitOfWork, store_url: str):
    _full(store)
    findings = look_through(store_url, opens=_refuses)
    assert set(findings.problems) == {"the secret in targets does not open"}
    assert len(findings.problems) >= 2


@on_sqlite
def test_a_reference_that_leads_nowhere_is_told(store: SqlUnitOfWork, store_url: str, outside: Inspection):
    _full(store)
    outside.execute("UPDATE items SET target_id = 'nowhere' WHERE name = '/login'")
    assert look_through(store_url, opens=lambda *_: None).problems == ("a row of items has lost its targets",)


# --- a copy


@on_sqlite
def test_a_copy_is_the_store_at_one_moment(store: SqlUnitOfWork, store_url: str, tmp_path: Path, outside: Inspection):
    _full(store)
    copy = tmp_path / "copies" / "store.db"
    copy.parent.mkdir()
    size = copy_file(store_url, copy)
    assert size == copy.stat().st_size
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in copy.parent.iterdir()] == ["store.db"]
    samples.add_target(store)
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with open_store(f"sqlite:///{copy}") as copied:
        assert copied.store_id() == STORE_ID
        assert copied.list_items() == store.list_items()
        assert len(copied.list_targets()) == len(store.list_targets()) - 1


@on_sqlite
def test_a_copy_overwrites_nothing(store: SqlUnitOfWork, store_url: str, tmp_path: Path):
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    with pytest.raises(Rejected, match="already") as refused:
        copy_file(store_url, copy)
    assert refused.value.code == "ParameterInvalid"
    assert copy.read_text() == "precious"
    assert {file.name for file in tmp_path.iterdir()} == {"copy.db", "data"}


@on_sqlite
@pytest.mark.parametrize("to", ["nowhere/copy.db", "data/store.db/copy.db"])
def test_a_copy_that_cannot_be_written_says_why(store: SqlUnitOfWork, store_url: str, tmp_path: Path, to: str):
    with pytest.raises(Unavailable, match="cannot be written") as refused:
        copy_file(store_url, tmp_path / to)
    assert refused.value.code == "StoreUnavailable"
    assert refused.value.hint


@on_sqlite
def test_a_copy_goes_on_while_others_write(store: SqlUnitOfWork, store_url: str, tmp_path: Path, outside: Inspection):
    with outside.lock():
        copy_file(store_url, tmp_path / "copy.db")
    with open_store(f"sqlite:///{tmp_path}/copy.db") as copied:
        assert copied.store_id() == STORE_ID
