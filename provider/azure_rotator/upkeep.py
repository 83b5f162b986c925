"""What a person does to a store and its key as a whole: beside ``wiring`` the only module that brings the two together.

A change of the key is safe to cut off anywhere: the new key is on the disk before the store is under it, the old one
stays there after, and whoever opens the store meanwhile finds the right one of the two. Who had it open before is
refused when it would seal something under the old key (``store.connect``).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from azure_rotator.config import Settings
from azure_rotator.crypto import keyring
from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.crypto.keyring import Key
from azure_rotator.domain.errors import Corrupt, Rejected, RotatorError
from azure_rotator.domain.findings import Finding, failed, ok
from azure_rotator.domain.model import AuditLine
from azure_rotator.domain.ports import Clock, Entropy
from azure_rotator.store import opening
from azure_rotator.store import upkeep as store_upkeep
from azure_rotator.store.location import locate
from azure_rotator.store.opening import StoreMeta
from azure_rotator.store.upkeep import Findings
from azure_rotator.wiring import check_dispatcher, find_store_and_key, make_queue, open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What may be told of a key.

    Args:
        key_id: Names the key in messages.
        check_value: By which a store knows it; tells nothing about it.
        origin: Where it was found.
        store: How messages name the store.
        store_id: The store's id; None where there is no store yet.
        belongs: Whether it is this store's key; None where there is no store yet.
    """

    key_id: str
    check_value: str
    origin: str
    store: str
    store_id: str | None
    belongs: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """What became of a change of the key.

    Args:
        key_file: Where the new key is.
        old_file: Where the old one stays under another name; None where it stays where it was.
        values: How many values are sealed under the new one; None if an earlier attempt had done that.
    """

    key_file: Path
    old_file: Path | None
    key_id: str
    check_value: str
    values: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A store that was looked through."""

    store: str
    meta: StoreMeta
    key_origin: str
    findings: Findings


# --- the key


def create_key(settings: Settings, entropy: Entropy, *, to: Path | None) -> KeyState:
    """Make a key file for a store that is to be made. Without ``to`` it is the one that the settings name.

    Raises:
        Rejected: ``ParameterInvalid``, there is a file already, or it would lie in the store's folder.
        Corrupt: ``StoreKeyMissing``, the store exists and has a key: another one would not open it.
        Unavailable: ``StoreUnavailable``.
    """
    location = locate(settings.store_url)
    if to is None:
        found = opening.peek(settings.store_url)
        if found is not None and keyring.find_key(key_file=settings.key_file, environ={}) is None:
            raise Corrupt(
                "StoreKeyMissing",
                f"the store {location.label} exists and has a key; a new one would not open it",
                hint="put its key back from the backup; to make a key for another store, name a file with --to",
            )
    made = keyring.new_key_file(to or settings.key_file, keyring.make_key(entropy), store_folder=location.folder)
    return _state(made, location.label, None)


def show_key(settings: Settings) -> KeyState:
    """The key that is there.

    Raises:
        Corrupt: ``StoreKeyMissing``, there is none.
    """
    found, key = find_store_and_key(settings)
    if key is None:
        raise _no_key(settings)
    return _state(key, locate(settings.store_url).label, found)


def backup_key(settings: Settings, *, to: Path) -> KeyState:
    """Write the key that is there to another file.

    Raises:
        Rejected: ``ParameterInvalid``, there is a file already, or it would lie in the store's folder.
        Corrupt: ``StoreKeyMissing``; ``StoreKeyWrong``, it is not the key of the store that is there.
        Unavailable: ``StoreUnavailable``.
    """
    location = locate(settings.store_url)
    found, key = find_store_and_key(settings)
    if key is None:
        raise _no_key(settings)
    if found is not None:
        keyring.matching_key(key, found.key_check, key_file=settings.key_file, store=location.label)
    keyring.new_key_file(to, key, store_folder=location.folder)
    return _state(key, location.label, found)


def rotate_key(settings: Settings, entropy: Entropy, clock: Clock, *, who: str, to: Path | None) -> KeyChange:
    """Put the store under another key. Repeated after it was cut off, it goes on where it was.

    Args:
        to: Where the new key shall be, if not in the place of the old one. A key that is there is taken: it may have
            been given to all machines before.

    Raises:
        Rejected: ``ParameterMissing``, the key is the variable's, which nobody can change from here.
        Corrupt: ``StoreKeyMissing``, ``StoreKeyWrong``, ``StoreCorrupt`` for a value that does not open: nothing was
            changed.
        Unavailable: ``StoreUnavailable``.
    """
    if to is None and settings.key:
        raise Rejected(
            "ParameterMissing",
            f"the key is in the variable {keyring.VARIABLE}, where it cannot be changed from here",
            hint="name a file for the new one with --to, then set the variable to its content",
            details={"property": "to"},
        )
    successor = to or keyring.successor_of(settings.key_file)
    found, _ = find_store_and_key(settings)
    new = keyring.find_key(key_file=successor, environ={})
    old = keyring.find_key(key_file=settings.key_file, environ={keyring.VARIABLE: settings.key})
    values = None
    # Else it was cut off after its transaction.
    if found is None or new is None or new.check_value != found.key_check:
        new, values = _rotated(settings, entropy, clock, who=who, to=to)
    if to is None:
        keyring.promote_successor(settings.key_file)
    return KeyChange(
        key_file=to or settings.key_file,
        old_file=keyring.old_key_file(settings.key_file, old) if to is None and old is not None else None,
        key_id=new.key_id.hex(),
        check_value=new.check_value,
        values=values,
    )


def _rotated(settings: Settings, entropy: Entropy, clock: Clock, *, who: str, to: Path | None) -> tuple[Key, int]:
    """The new key, and how many values there were."""
    location = locate(settings.store_url)
    open_store(settings, entropy, new=False)[0].close()  # it is there, with its key and this release's schema
    _, old = find_store_and_key(settings)
    if old is None:
        raise _no_key(settings)
    successor = to or keyring.successor_of(settings.key_file)
    new = keyring.create_key_file(successor, keyring.make_key(entropy), store_folder=location.folder)
    if to is None:
        keyring.keep_old_key(settings.key_file, old)
    present, next_one = EnvelopeSealer(old), EnvelopeSealer(new)
    values = store_upkeep.change_key(
        settings.store_url,
        old=old.check_value,
        new=new.check_value,
        reseal=lambda value, place: present.reseal(value, place, next_one),
        audit=AuditLine(
            at=clock.now(),
            who=who,
            action="rotate_key",
            path="/",
            result="ok",
            details={"key_id": new.key_id.hex(), "old_key_id": old.key_id.hex()},
        ),
    )
    return new, values


# --- the store


def upgrade_store(settings: Settings, entropy: Entropy) -> tuple[StoreMeta | None, StoreMeta]:
    """Bring the schema to this release's; an empty PostgreSQL database becomes a store. Returns: before and after.
    The job queue of a dispatcher that the settings name is made, too.

    Raises:
        Rejected: ``ParameterInvalid``, that dispatcher cannot be had here: nothing was changed.
        Corrupt: ``StoreKeyMissing``, ``StoreKeyWrong``, ``StoreCorrupt``, ``StoreSchemaMismatch``: nothing was changed.
        Unavailable: ``StoreUnavailable``.
    """
    check_dispatcher(settings)
    location = locate(settings.store_url)
    before, key = find_store_and_key(settings)
    if before is not None:
        keyring.matching_key(key, before.key_check, key_file=settings.key_file, store=location.label)
        opening.upgrade(settings.store_url)
    else:
        open_store(settings, entropy, new=location.path is None)[0].close()
    after = opening.peek(settings.store_url)
    if after is None:
        raise opening.no_store(location)
    make_queue(settings, renew=True)
    return before, after


def check_store(settings: Settings) -> Check:
    """Look through everything: schema, references, every sealed value. Changes nothing.

    Raises:
        Corrupt: ``StoreKeyMissing``, ``StoreKeyWrong``, ``StoreCorrupt``, ``StoreSchemaMismatch``.
        Unavailable: ``StoreUnavailable``.
    """
    location = locate(settings.store_url)
    found, key = find_store_and_key(settings)
    if found is None:
        raise opening.no_store(location)
    key = keyring.matching_key(key, found.key_check, key_file=settings.key_file, store=location.label)
    if found.revision != opening.REVISIONS[-1]:
        raise opening.needs_upgrade(location, found)
    findings = store_upkeep.look_through(settings.store_url, opens=EnvelopeSealer(key).open)
    return Check(store=location.label, meta=found, key_origin=key.origin, findings=findings)


def store_findings(settings: Settings) -> list[Finding]:
    """Whether the store is there, has this release's schema and its key, and opens; every check as a finding."""
    subject = f"store {locate(settings.store_url).label}"
    try:
        done = check_store(settings)
    except RotatorError as error:
        check = {"StoreSchemaMismatch": "schema", "StoreKeyMissing": "key", "StoreKeyWrong": "key"}
        return [failed(subject, check.get(error.code, "store"), error)]
    found = [
        ok(subject, "store", f"id {done.meta.store_id}"),
        ok(subject, "schema", done.meta.revision),
        ok(subject, "key", done.key_origin),
    ]
    if not done.findings.problems:
        return [*found, ok(subject, "contents", f"{done.findings.sealed} sealed values open")]
    damaged = Corrupt(
        "StoreCorrupt",
        f"{len(done.findings.problems)} problems, the first: {done.findings.problems[0]}",
        hint="azure-rotator db check lists them; stop using it, and restore a backup together with its key",
    )
    return [*found, failed(subject, "contents", damaged)]


def backup_store(settings: Settings, *, to: Path) -> tuple[StoreMeta, int]:
    """Copy a SQLite store. Returns: what the store says, and the copy's size in bytes.

    Raises:
        Rejected: ``ParameterInvalid``, there is a file already; ``FormatNotAvailable`` for PostgreSQL, with the command
            that makes one.
        Unavailable: ``StoreUnavailable``.
    """
    location = locate(settings.store_url)
    if location.path is None:
        raise Rejected(
            "FormatNotAvailable",
            f"the store {location.label} is backed up by PostgreSQL's own tool; nothing was written",
            hint=f"pg_dump --format=custom --file={shlex.quote(str(to))} {shlex.quote(location.label)}",
        )
    found = opening.peek(settings.store_url)
    if found is None:
        raise opening.no_store(location)
    return found, store_upkeep.copy_file(settings.store_url, to)


def _state(key: Key, store: str, found: StoreMeta | None) -> KeyState:
    return KeyState(
        key_id=key.key_id.hex(),
        check_value=key.check_value,
        origin=key.origin,
        store=store,
        store_id=found.store_id if found else None,
        belongs=found.key_check == key.check_value if found else None,
    )


def _no_key(settings: Settings) -> RotatorError:
    return Corrupt(
        "StoreKeyMissing",
        f"there is no key in {settings.key_file} nor in {keyring.VARIABLE}",
        hint=f"name its place with {keyring.FILE_SETTING}; a new store's key is made with azure-rotator key create",
    )
