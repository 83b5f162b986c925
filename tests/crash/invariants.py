"""The five promises as a checker: what the stores' rows say against what is true in Azure.

The truth is the sandbox's own: which secrets an application has, who made them, which value each one has, who logged in
with which. A crash test names its applications and stores, breaks something, and asks for violations:

    inspector = Inspector(sandbox, stores=[store], applications=[app.app_id], now=...)
    ...                                                  # kill, restart, lose replies
    assert inspector.violations(reconciled=False) == []  # what must hold at every instant
    ...                                                  # reconcile
    assert inspector.violations() == []                  # and what must hold then

The checker decides nothing by the engine's code but the form of stamps and the way a sealed value is opened.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

from azure_rotator.domain.errors import Corrupt
from azure_rotator.domain.kinds import CLIENT_SECRETS, PROOFS_IN_A_ROW, Retention, retention_of
from azure_rotator.domain.model import (
    ItemState,
    Origin,
    RotatedSecret,
    Rotation,
    RotationState,
    RotatorType,
    Stage,
    StorageKeyMode,
    Target,
    Trigger,
    Version,
)
from azure_rotator.domain.names import Stamp, parse_stamp
from azure_rotator.domain.ports import Sealer
from azure_rotator.engine.context import target_place, version_place
from azure_sandbox.clock import parse_instant
from azure_sandbox.testing import JournalEntry, Sandbox, SecretInfo
from tests.crash.stores import Store

_LOGIN_HOST = "login.microsoftonline.com"
_CHECKER_PATH = "/oauth2/token"


class Kind(StrEnum):
    """What may go wrong; the words are the columns of the kill table."""

    LOST = "lost"  # a stored current value does not log in
    ORPHANED = "orphaned"  # a secret of ours in Azure that no version holds, or that nobody could ever find
    FOREIGN = "foreign touched"
    STUCK = "stuck"  # something open that nobody will ever end
    UNPROVEN = "unproven"  # handed out without the proofs
    EARLY = "early"  # retired before its time
    LEAKED = "leaked"  # a value in clear where it must not be


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken promise, in words; never a value."""

    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A store's rows, read at one moment."""

    store: Store
    store_id: str
    items: Sequence[RotatedSecret]
    versions: dict[str, Sequence[Version]]
    open: Sequence[Rotation]
    known: dict[str, Rotation]  # by mint id, those that the stamps in Azure name
    opens: Callable[[Version], str | None]  # the value of a version; None when it does not open
    targets: Sequence[tuple[Target, str]]

    @property
    def held(self) -> set[str]:
        every = (v for versions in self.versions.values() for v in versions)
        return {v.key_id.lower() for v in every if v.stage is not Stage.REVOKED}


class Inspector:
    """Looks for broken promises. What is alive when it is made, and not ours, is foreign from then on.

    Args:
        applications: appIds to look at.
        accounts: Names of storage accounts to look at.
        now: When the last process began: what was due then it had to finish, what became due since is nobody's fault.
        ours: keyIds that are made by people and handed over to be rotated: their removal is somebody's wish.
        secrets: Clear values that must be nowhere; those in the stores are known anyway.
        evidence: Folders whose files must hold no value in clear: outputs and logs of processes. The stores' own
            folders are looked into anyway.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        *,
        stores: Sequence[Store],
        applications: Sequence[str],
        accounts: Sequence[str] = (),
        now: Callable[[], datetime],
        ours: Collection[str] = (),
        secrets: Callable[[], Iterable[str]] = tuple,
        evidence: Sequence[Path] = (),
    ) -> None:
        self._sandbox = sandbox
        self._control = sandbox.control
        self._stores = tuple(stores)
        self._applications = tuple(applications)
        self._accounts = tuple(accounts)
        self._now = now
        self._secrets = secrets
        self._evidence = tuple(evidence)
        self._trust = ssl.create_default_context(cafile=str(sandbox.ca_file))
        truth = self._truth()
        self._gone = {key_id for key_id, secret in truth.items() if not secret.is_alive}
        mine = {key_id.lower() for key_id in ours}
        for rows in self._rows(truth):
            mine |= rows.held
            mine |= {s.key_id.lower() for s in truth.values() if (stamp := _own(s, rows)) and _operation(stamp, rows)}
        self._held: set[str] = set()
        self._keys = {account: dict(self._control.account(account).keys) for account in self._accounts}
        self._foreign: dict[str, SecretInfo] = {
            key_id: s for key_id, s in truth.items() if s.is_alive and key_id not in mine
        }

    @property
    def foreign(self) -> dict[str, SecretInfo]:
        """keyId -> what it was like when this began."""
        return dict(self._foreign)

    def violations(
        self, *, reconciled: bool = True, late: bool = False, log_in: bool = True, files: bool = True
    ) -> list[Violation]:
        """Look at everything.

        Args:
            reconciled: Unfinished business is over: no extra secret, nothing open that is due. Without it one extra
                secret a rotation is allowed, if its intent is committed.
            late: A write of a dead process may have arrived after somebody else took over; its intent is settled.
            log_in: Log in with each current value over TLS, too; not where front ends lag.
            files: Look for values in clear in every file, too: most of the time where processes wrote much.
        """
        truth = self._truth()
        found: list[Violation] = []
        every = list(self._rows(truth))
        others = {key_id for rows in every for key_id in rows.held} | self._foreign.keys()
        for rows in every:
            found += self._lost(rows, truth, log_in=log_in)
            found += self._lost_elsewhere(rows, reconciled=reconciled)
            found += self._lost_targets(rows)
            found += _orphaned(rows, truth, others, reconciled=reconciled, late=late)
            found += self._unproven(rows, truth)
            found += _early(rows, {key_id: s for key_id, s in truth.items() if key_id not in self._gone})
            if reconciled:
                found += _stuck(rows, self._now())
            found += [
                Violation(kind=Kind.STUCK, what=f"the database is damaged: {line}") for line in rows.store.damage()
            ]
        found += self._touched(truth)
        found += self._touched_keys(every)
        if files:
            found += self._leaked()
        return found

    # --- the truth, and the rows --------------------------------------------------------------------------------

    def _truth(self) -> dict[str, SecretInfo]:
        every = (secret for app in self._applications for secret in self._control.secrets(app))
        return {secret.key_id.lower(): secret for secret in every}

    def _rows(self, truth: dict[str, SecretInfo]) -> Iterator[_Rows]:
        stamps = [stamp for secret in truth.values() if (stamp := parse_stamp(secret.display_name))]
        for store in self._stores:
            if not store.exists():
                continue
            with store.opened() as (uow, sealer):

                def opened(version: Version, sealer: Sealer = sealer) -> str | None:
                    place = version_place(version.version_id, version.number)
                    try:
                        return sealer.open(version.sealed_value, place).reveal() if version.sealed_value else None
                    except Corrupt:
                        return None

                items = uow.list_items()
                yield _Rows(
                    store=store,
                    store_id=uow.store_id(),
                    items=items,
                    versions={item.item_id: uow.versions(item.item_id) for item in items},
                    open=uow.open_rotations(),
                    known=dict(uow.operations({s.operation_id for s in stamps if s.store_id == uow.store_id()})),
                    opens=opened,
                    targets=[
                        (
                            target,
                            sealer.open(target.sealed_secret, target_place(target.target_id, target.version)).reveal(),
                        )
                        for target in uow.list_targets()
                        if target.sealed_secret is not None
                    ],
                )

    # --- the promises -------------------------------------------------------------------------------------------

    def _lost(self, rows: _Rows, truth: dict[str, SecretInfo], *, log_in: bool) -> Iterator[Violation]:
        """The current value of every item that is in use logs in; a delete may have begun with it only when its
        operation says so."""
        leaving = {r.item_id for r in rows.open if r.trigger is Trigger.DELETE and r.state is not RotationState.PLANNED}
        for item, version in _versions(rows, Stage.CURRENT):
            if item.state is ItemState.UNDOING or item.item_id in leaving or item.rotator_type not in CLIENT_SECRETS:
                continue
            secret = truth.get(version.key_id.lower())
            label = f"{item.name} version {version.number} ({version.key_id})"
            if secret is None or not secret.is_alive:
                yield Violation(kind=Kind.LOST, what=f"{label} is current and not in Azure")
                continue
            if version.number == 0:
                continue
            value = rows.opens(version)
            if value is None:
                yield Violation(kind=Kind.LOST, what=f"{label} is current, and its value does not open")
                continue
            real = self._control.verify(item.app_id, value)
            if real is None or real.key_id.lower() != version.key_id.lower() or real.state != "valid":
                yield Violation(kind=Kind.LOST, what=f"{label}: its value is not this secret's, or is not valid")
            elif log_in and not self._logs_in(secret, value):
                yield Violation(kind=Kind.LOST, what=f"{label}: its value does not log in")

    def _lost_elsewhere(self, rows: _Rows, *, reconciled: bool) -> Iterator[Violation]:
        """The same of keys and passwords. Where making the new one revokes the old one, the stored value is dead from
        then on until the publication: allowed only while an operation with a committed intent is on its way."""
        between = {
            r.item_id for r in rows.open if r.mint_uncertain or r.state in {RotationState.MINTED, RotationState.PROVING}
        }
        for item, version in _versions(rows, Stage.CURRENT):
            if item.rotator_type in CLIENT_SECRETS or version.number == 0:
                continue
            value = rows.opens(version)
            if item.rotator_type is RotatorType.PASSWORD:
                works = value is not None and self._control.verify_password(item.username or "", value) == "present"
            else:
                account = self._accounts[0]
                works = value is not None and self._control.verify_key(account, value) == version.key_id
            replaced = retention_of(item) is Retention.REPLACED
            if not works and (reconciled or not replaced or item.item_id not in between):
                yield Violation(kind=Kind.LOST, what=f"{item.name} version {version.number}: its value is not accepted")

    def _lost_targets(self, rows: _Rows) -> Iterator[Violation]:
        """Every Target's stored secret logs in at every instant: everything on it does so with that one."""
        for target, value in rows.targets:
            found = self._control.verify(target.client_id or "", value)
            if found is None or found.state != "valid":
                yield Violation(kind=Kind.LOST, what=f"Target {target.name}: its secret does not log in")

    def _logs_in(self, secret: SecretInfo, value: str) -> bool:
        """One token request past the SDKs, to the older of the two endpoints: by it ``_unproven`` tells it apart."""
        port = int(self._sandbox.address.rsplit(":", 1)[1])
        form = {
            "grant_type": "client_credentials",
            "client_id": secret.app_id,
            "client_secret": value,
            "resource": "https://graph.microsoft.com",
        }
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=self._trust, timeout=30)
        with closing(connection):
            headers = {"Host": _LOGIN_HOST, "Content-Type": "application/x-www-form-urlencoded", "Connection": "close"}
            connection.request("POST", f"/{secret.tenant_id}{_CHECKER_PATH}", urlencode(form), headers)
            response = connection.getresponse()
            response.read()
            return response.status == 200

    def _unproven(self, rows: _Rows, truth: dict[str, SecretInfo]) -> Iterator[Violation]:
        """What get-value would hand out has logged in often enough, in a row, by the sandbox's journal."""
        journals = {app: self._control.journal(app=app, operation="login.token") for app in self._applications}
        for item, version in _versions(rows, Stage.CURRENT, Stage.PREVIOUS):
            if version.origin is not Origin.MINTED or version.key_id.lower() not in truth:
                continue
            if _longest_run(journals.get(item.app_id, ()), version.key_id) < PROOFS_IN_A_ROW:
                what = f"{item.name} version {version.number} ({version.key_id}) was published without its proofs"
                yield Violation(kind=Kind.UNPROVEN, what=what)

    def _touched(self, truth: dict[str, SecretInfo]) -> Iterator[Violation]:
        for key_id, before in self._foreign.items():
            after = truth.get(key_id)
            if after is None or not after.is_alive:
                what = f'secret {key_id} "{before.display_name}" of {before.application} is not ours and was removed'
                yield Violation(kind=Kind.FOREIGN, what=what)
            elif _unchanging(after) != _unchanging(before):
                yield Violation(kind=Kind.FOREIGN, what=f"secret {key_id} of {before.application} was changed")

    def _touched_keys(self, every: Sequence[_Rows]) -> Iterator[Violation]:
        """A key that no item holds, or ever held, is as it was."""
        self._held |= {v.key_id for rows in every for item in rows.items for v in rows.versions[item.item_id]}
        in_turn = any(item.storage_key_mode is StorageKeyMode.ALTERNATE for rows in every for item in rows.items)
        for account, before in self._keys.items():
            now = self._control.account(account).keys
            for name, value in before.items():
                if name not in self._held and not in_turn and now.get(name) != value:
                    yield Violation(kind=Kind.FOREIGN, what=f"{name} of {account} is not ours and was regenerated")

    def _leaked(self) -> Iterator[Violation]:
        """No value in any file of a store or of a process's output, in none of its usual spellings."""
        values = {value for value in self._secrets() if value}
        needles = {needle: index for index, value in enumerate(sorted(values)) for needle in spellings(value)}
        for file in self._files():
            content = file.read_bytes()
            for index in sorted({index for needle, index in needles.items() if needle in content}):
                what = f"secret no. {index} of {len(values)} is in clear in {file.parent.name}/{file.name}"
                yield Violation(kind=Kind.LEAKED, what=what)

    def _files(self) -> Iterator[Path]:
        folders = [*self._evidence, *(store.database.parent for store in self._stores)]
        for folder in folders:
            yield from (file for file in sorted(folder.rglob("*")) if file.is_file())


# --- one promise each, from rows and truth only ---------------------------------------------------------------------


def _orphaned(
    rows: _Rows, truth: dict[str, SecretInfo], others: Collection[str], *, reconciled: bool, late: bool
) -> Iterator[Violation]:
    """``others``: what some store holds, a copy of this one perhaps, and what is foreign."""
    extras: dict[str, list[SecretInfo]] = defaultdict(list)
    operations: dict[str, Rotation] = {}
    for key_id, secret in truth.items():
        stamp = _own(secret, rows)
        if stamp is None or not secret.is_alive or key_id in others:
            continue
        operation = _operation(stamp, rows)
        if operation is None:
            yield Violation(kind=Kind.ORPHANED, what=f"{key_id}: the journal does not know mint {stamp.operation_id}")
        else:
            operations[operation.rotation_id] = operation
            extras[operation.rotation_id].append(secret)
    for operation_id, secrets in extras.items():
        operation = operations[operation_id]
        names = ", ".join(secret.key_id for secret in secrets)
        if reconciled:
            state = operation.state.value
            what = f"{names}: minted by operation {operation_id} ({state}), and no version holds it"
            yield Violation(kind=Kind.ORPHANED, what=what)
        elif not late and len(secrets) > 1:
            yield Violation(kind=Kind.ORPHANED, what=f"{names}: more than one extra secret of operation {operation_id}")
        elif not late and not operation.mint_uncertain:
            what = f"{names}: minted by operation {operation_id} without a committed intent ({operation.state.value})"
            yield Violation(kind=Kind.ORPHANED, what=what)
    if reconciled:
        for item in rows.items:
            alive = [v for v in rows.versions[item.item_id] if _alive(truth, v.key_id) and v.stage is not Stage.PENDING]
            if len(alive) > 2:
                names = ", ".join(f"{v.key_id} ({v.stage.value})" for v in alive)
                yield Violation(kind=Kind.ORPHANED, what=f"{item.name}: more than two secrets stay valid: {names}")


def _early(rows: _Rows, truth: dict[str, SecretInfo]) -> Iterator[Violation]:
    """A replaced secret lives until its time; the third-secret rule moves the time, it does not pass it over."""
    deleting = {i.item_id for i in rows.items if i.state is ItemState.DELETING}
    for item, version in _versions(rows, Stage.PREVIOUS, Stage.REVOKED):
        secret = truth.get(version.key_id.lower())
        if secret is None or secret.removed_at is None or version.retire_at is None or item.item_id in deleting:
            continue
        if parse_instant(secret.removed_at) < version.retire_at:
            what = f"{item.name} version {version.number} ({version.key_id}) was to live until {version.retire_at}"
            yield Violation(kind=Kind.EARLY, what=f"{what}, and was removed at {secret.removed_at}")


def _stuck(rows: _Rows, now: datetime) -> Iterator[Violation]:
    """After reconcile nothing is due, and whatever is unfinished belongs to an operation that will end it."""
    waiting: dict[str, list[Rotation]] = defaultdict(list)
    for rotation in rows.open:
        waiting[rotation.item_id].append(rotation)
        item = next((i for i in rows.items if i.item_id == rotation.item_id), None)
        if item is None:
            what = f"operation {rotation.rotation_id} ({rotation.state.value}) is open and its item is gone"
            yield Violation(kind=Kind.STUCK, what=what)
        elif rotation.next_attempt_at <= now and not _parked(rotation, item, rows.versions[item.item_id]):
            what = f"{item.name}: operation {rotation.rotation_id} ({rotation.trigger.value}, {rotation.state.value})"
            yield Violation(kind=Kind.STUCK, what=f"{what} is due since {rotation.next_attempt_at}")
    for item in rows.items:
        open_here = waiting[item.item_id]
        ends = Trigger.DELETE if item.state is ItemState.DELETING else Trigger.CREATE
        if item.state is not ItemState.ACTIVE and not any(r.trigger is ends for r in open_here):
            yield Violation(kind=Kind.STUCK, what=f"{item.name} is {item.state.value}, and nothing will end that")
        for version in rows.versions[item.item_id]:
            responsible = {r.rotation_id for r in open_here} | {r.replaced_version_id for r in open_here}
            deleted = any(r.trigger is Trigger.DELETE for r in open_here)
            kept = version.stage is Stage.PREVIOUS and version.retire_at is None  # the other key of a pair
            temporary = version.stage in {Stage.PENDING, Stage.ABANDONED, Stage.PREVIOUS} and not kept
            if temporary and not deleted and not {version.rotation_id, version.version_id} & responsible:
                what = f"{item.name}: {version.stage.value} secret {version.key_id} belongs to no open operation"
                yield Violation(kind=Kind.STUCK, what=what)


def _parked(rotation: Rotation, item: RotatedSecret, versions: Sequence[Version]) -> bool:
    """Waits for a person, with nothing left to clean up."""
    return (
        rotation.state is RotationState.FAILED
        and item.state is ItemState.ACTIVE
        and not rotation.mint_uncertain
        and not any(v.rotation_id == rotation.rotation_id and v.stage is Stage.ABANDONED for v in versions)
    )


def spellings(value: str) -> Iterator[bytes]:
    """A value as itself, in base64 wherever it may begin in a longer text, in hex, and as URLs and JSON write it."""
    raw = value.encode()
    yield raw
    yield raw.hex().encode()
    yield quote(value, safe="").encode()
    yield quote_plus(value).encode()
    yield json.dumps(value)[1:-1].encode()
    for shift in range(3):
        # Three characters before and after may be shared with what stands beside it.
        aligned = base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1]
        yield aligned
        yield aligned.replace(b"+", b"-").replace(b"/", b"_")


# --- small questions ------------------------------------------------------------------------------------------------


def _own(secret: SecretInfo, rows: _Rows) -> Stamp | None:
    stamp = parse_stamp(secret.display_name)
    return stamp if stamp and stamp.store_id == rows.store_id else None


def _operation(stamp: Stamp, rows: _Rows) -> Rotation | None:
    """The operation whose mint it names, if the journal knows it, and for this item."""
    found = rows.known.get(stamp.operation_id)
    return found if found and found.item_id == stamp.item_id else None


def _alive(truth: dict[str, SecretInfo], key_id: str) -> bool:
    secret = truth.get(key_id.lower())
    return secret is not None and secret.is_alive


def _versions(rows: _Rows, *stages: Stage) -> Iterator[tuple[RotatedSecret, Version]]:
    for item in rows.items:
        yield from ((item, version) for version in rows.versions[item.item_id] if version.stage in stages)


def _unchanging(secret: SecretInfo) -> tuple[object, ...]:
    return (secret.app_id, secret.holder, secret.display_name, secret.hint, secret.starts_at, secret.ends_at)


def _longest_run(logins: Iterable[JournalEntry], key_id: str) -> int:
    """The most logins with this secret without a refusal of one in between, the checker's own left out."""
    longest = run = 0
    for entry in logins:
        if entry.path.endswith(_CHECKER_PATH):
            continue
        if entry.accepted and entry.key_id and entry.key_id.lower() == key_id.lower():
            run += 1
            longest = max(longest, run)
        elif not entry.accepted:
            run = 0
    return longest
