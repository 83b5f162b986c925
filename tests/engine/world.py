"""The engine's world in one process: a real store, the real SDKs, the sandbox over TLS, and a clock that is driven.

A test reads like this:

    world.create(revoke_after="0")           # "/prod/billing", of the Target "/azure/prod" that owns its application
    world.clock.advance(hours=24)            # moves the sandbox, too
    result = world.rotate()
    assert world.key_ids() == {world.secret_of_boot(), result.key_id}
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from azure_rotator.cloud import ArmStorageKeys, EntraLogin, EntraUsers, GraphDirectory
from azure_rotator.config import ROWS, Settings
from azure_rotator.crypto.keyring import create_key_file, make_key
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.model import AuditLine, Rotation, RotationState, Stage, Version
from azure_rotator.domain.ports import Claim, Clock, Directory, Observer, Span, StorageKeys, UnitOfWork, Users
from azure_rotator.domain.rotation import MOVES
from azure_rotator.engine.context import Limits
from azure_rotator.engine.service import Engine
from azure_rotator.engine.views import RotationResult, SecretView
from azure_rotator.scheduler.loop import POLL, Scheduler, Served
from azure_rotator.store import opening
from azure_rotator.telemetry import StructlogObserver, Watcher
from azure_rotator.wiring import dispatcher_maker, make_engine, open_store
from azure_sandbox.testing import Control, JournalEntry
from tests.plugins.azure import App
from tests.plugins.postgres import Postgres
from tests.store.inspection import outside_of

TARGET = "/azure/prod"
ITEM = "/prod/billing"
WRITES = ("graph.addPassword", "graph.removePassword")
_BUSY_SECONDS = 1.0


class DrivenClock:
    """The engine's clock and the sandbox's, moved together: waiting takes no time and leaves a trace.

    The sandbox's goes on by itself as well, by what the test takes; the engine's stands still until it is moved.
    """

    def __init__(self, control: Control) -> None:
        self._control = control
        self._now = control.now().replace(microsecond=0)
        self.waits: list[float] = []
        self.before_wait: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        return self._now

    def wait_until(self, instant: datetime) -> None:
        self.before_wait()
        seconds = (instant - self._now).total_seconds()
        self.waits.append(seconds)
        self.advance(seconds=seconds)

    def advance(self, **duration: float) -> datetime:
        by = timedelta(**duration)
        if by > timedelta():
            self._control.advance(by.total_seconds())
            self._now += by
        return self._now


class SeededEntropy:
    """The same ids in every run."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids of a test

    def token(self, size: int) -> bytes:
        return self._random.randbytes(size)

    def jitter(self) -> float:
        return self._random.random()


@dataclass
class Notes:
    """An ``Observer`` that remembers."""

    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    noted: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)

    def span(self, name: str, **fields: object) -> AbstractContextManager[Span]:
        return StructlogObserver(watchers=self.watchers).span(name, **fields)

    def note(self, event: str, **fields: object) -> None:
        self.noted.append((event, fields))

    def tell(self, event: str, **fields: object) -> None:
        self.noted.append((event, fields))

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def steps(self) -> list[str]:
        return [str(fields["step"]) for event, fields in self.noted if event == "step"]


_FENCED = frozenset(
    {
        "resume",
        "park",
        "withdraw",
        "begin_minting",
        "mint_settled",
        "store_pending",
        "record_proof",
        "publish",
        "begin_retiring",
        "cut_short",
        "record_absence",
        "finish_retiring",
        "defer",
        "fail",
        "drop_abandoned",
        "drop_item",
        "cancel_delete",
        "cancel_version_delete",
    }
)


class WatchedStore:
    """A ``UnitOfWork`` that passes everything on to the real one, and looks at each change of a rotation's state.

    Attributes:
        before: Called with the arguments right before a method of that name; it may raise in its place, or return what
            to call right after it.
        moves: What the journal went through.
    """

    def __init__(self, inner: UnitOfWork) -> None:
        self._inner = inner
        self.before: dict[str, Callable[..., Callable[[], object] | None]] = {}
        self.moves: list[tuple[RotationState, RotationState]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in _FENCED and name not in self.before:
            return method

        def watched(*arguments: Any, **named: Any) -> Any:
            after = self.before[name](*arguments, **named) if name in self.before else None
            try:
                return method(*arguments, **named) if name not in _FENCED else self._fenced(name, arguments, named)
            finally:
                if after is not None:
                    after()

        return watched

    def _fenced(self, name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
        claim: Claim = arguments[0]
        old = self._state(claim)
        getattr(self._inner, name)(*arguments, **named)
        new = self._state(claim)
        assert new is old or new in MOVES[old], f"{name} moved a rotation from {old} to {new}"
        self.moves.append((old, new))

    def _state(self, claim: Claim) -> RotationState:
        rotation = self._inner.get_rotation(claim.rotation_id)
        assert rotation is not None
        return rotation.state


class Watched:
    """An Azure port that calls ``before[name]`` right before a call of that name, and passes it on."""

    def __init__(self, inner: Directory | StorageKeys | Users) -> None:
        self._inner = inner
        self.before: dict[str, Callable[..., None]] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            if name in self.before:
                self.before[name](*arguments, **named)
            return method(*arguments, **named)

        return watched


@dataclass(kw_only=True)
class Process:
    """An engine and the ports it was made of, as one process has them."""

    engine: Engine
    store: WatchedStore
    directory: Watched
    keys: Watched
    users: Watched
    notes: Notes


class World:
    """See the module. ``process()`` opens the same store again, as another process would."""

    def __init__(
        self,
        folder: Path,
        control: Control,
        rotator: App,
        workload: App,
        *,
        seed: str,
        server: Postgres | None = None,
    ) -> None:
        self.folder = folder
        self._server = server
        self._urls: dict[str, str] = {}
        self.control = control
        self.rotator = rotator
        self.workload = workload
        self.clock = DrivenClock(control)
        self._seed = seed
        self._count = 0
        self._stack = ExitStack()
        self._first_entry = _last_entry(control)
        self.main = self.process()
        self.engine = self.main.engine
        self.notes = self.main.notes

    def process(
        self, *, store: str = "main", who: str = "ann", limits: Limits | None = None, clock: Clock | None = None
    ) -> Process:
        """Open a store.

        Args:
            store: Which one; another name is another store, with a key of its own.
        """
        self._count += 1
        entropy = SeededEntropy(f"{self._seed} {self._count}")
        first, sealer = open_store(self.settings(store), entropy)
        first.close()
        # The same again, but nobody waits half a minute for a lock.
        uow = opening.open_store(self.settings(store).store_url, busy_seconds=_BUSY_SECONDS)
        self._stack.callback(uow.close)
        watched, directory, notes = WatchedStore(uow), Watched(GraphDirectory()), Notes()
        keys, users = Watched(ArmStorageKeys()), Watched(EntraUsers())
        engine = make_engine(
            uow=cast(UnitOfWork, watched),
            sealer=sealer,
            clock=clock or self.clock,
            entropy=entropy,
            directory=cast(Directory, directory),
            login=EntraLogin(),
            keys=cast(StorageKeys, keys),
            users=cast(Users, users),
            observer=cast(Observer, notes),
            who=who,
            limits=limits or Limits(),
        )
        return Process(engine=engine, store=watched, directory=directory, keys=keys, users=users, notes=notes)

    def close(self) -> None:
        self._stack.close()

    def settings(self, store: str = "main") -> Settings:
        return Settings(store_url=self._url(store), key_file=self.folder / "keys" / f"{store}.key")

    def _url(self, store: str) -> str:
        """SQLite makes its file and key by itself; a server's database is made here, with its key."""
        if self._server is None:
            return f"sqlite:///{self.folder}/{store}/store.db"
        if store not in self._urls:
            self._urls[store] = url = self._server.create()
            self._stack.callback(self._server.drop, url)
            key_file = self.folder / "keys" / f"{store}.key"
            create_key_file(key_file, make_key(SeededEntropy(f"{self._seed} {store}")), store_folder=None)
        return self._urls[store]

    # --- given

    def create_target(self, name: str = TARGET, *, engine: Engine | None = None, **changes: Any) -> str:
        given = {
            "name": name,
            "tenant_id": self.rotator.info.tenant_id,
            "client_id": self.rotator.app_id,
            "client_secret": self.rotator.secret,
        }
        return (engine or self.engine).targets.create(given | changes).target.target_id

    def arguments(self, **changes: Any) -> dict[str, Any]:
        """An item whose secret the Target mints and rotates; None takes an argument away."""
        given = {
            "name": ITEM,
            "target_name": TARGET,
            "rotator_type": "api-key",
            "authentication_credentials": "use-target-creds",
            "app_id": self.workload.app_id,
        }
        return {name: value for name, value in (given | changes).items() if value is not None}

    def create(self, *, owner: str = "", engine: Engine | None = None, **changes: Any) -> SecretView:
        return (engine or self.engine).secrets.create(self.arguments(**changes), owner=owner)

    def rotate(self, name: str = ITEM, *, engine: Engine | None = None, **options: Any) -> RotationResult:
        return (engine or self.engine).secrets.rotate(name=name, **options)

    def scheduler(
        self, *, engine: Engine | None = None, workers: int = 2, poll: timedelta = POLL, dispatcher: str = ROWS
    ) -> Scheduler:
        """A replica, on threads of its own; another ``engine`` is another process."""
        engine = engine or self.engine
        settings = replace(self.settings(), dispatcher=dispatcher)
        return Scheduler(
            engine,
            dispatcher_maker(settings, store_id=engine.store_id, workers=workers, poll=poll),
            clock=self.clock,
            observer=cast(Observer, self.notes),
            poll=poll,
        )

    def tick(self, *, engine: Engine | None = None) -> Served:
        """A scheduler that is started now, and ends when nothing is due."""
        return self.scheduler(engine=engine).once()

    def days_later(self, days: float, *, engine: Engine | None = None) -> Served:
        self.clock.advance(days=days)
        return self.tick(engine=engine)

    def published_at(self, name: str = ITEM) -> list[datetime]:
        """When each version became current, from the second on."""
        lines = [line for line in self.engine.audit(name=name, action="rotate_item") if line.result == "ok"]
        return [line.at for line in lines]

    def locked_store(self, *_: object, **__: object) -> Callable[[], None]:
        """A ``before`` of the store: the method meets another program's lock until the driver gives up."""
        if self._server is None:
            other = sqlite3.connect(self.folder / "main" / "store.db", isolation_level=None, check_same_thread=False)
            other.execute("BEGIN IMMEDIATE")
            return other.close
        program = psycopg.connect(self._url("main"))
        program.execute("LOCK TABLE rotations, permits, versions, items, audit IN SHARE ROW EXCLUSIVE MODE")
        return program.close

    def locked_deliveries(self, *_: object, **__: object) -> Callable[[], None]:
        """The same for who records what became of an event."""
        if self._server is None:
            return self.locked_store()
        program = psycopg.connect(self._url("main"))
        program.execute("LOCK TABLE deliveries IN SHARE ROW EXCLUSIVE MODE")
        return program.close

    def expire_leases(self) -> None:
        """Every lease has run out: as if its worker had slept."""
        outside_of(self._url("main")).run_out_leases()

    def rename_table(self, name: str, to: str) -> None:
        """Whoever needs the table meets an error of the database's, in the middle of his transaction."""
        outside_of(self._url("main")).execute(f"ALTER TABLE {name} RENAME TO {to}")

    def forget_zone(self, name: str = ITEM) -> None:
        """The item's time zone is one that this machine does not know: another one, with newer zones, wrote it."""
        outside_of(self._url("main")).execute(f"UPDATE items SET time_zone = 'Europe/Newtown' WHERE name = '{name}'")  # noqa: S608

    # --- then: the store

    def describe(self, name: str = ITEM) -> SecretView:
        return self.engine.secrets.describe(name=name)

    def versions(self, name: str = ITEM) -> dict[int, Stage]:
        """Stage by number, abandoned ones left out."""
        return {v.number: v.stage for v in self.describe(name).versions if v.stage is not Stage.ABANDONED}

    def version(self, number: int, name: str = ITEM) -> Version:
        return next(v for v in self.describe(name).versions if v.number == number and v.stage is not Stage.ABANDONED)

    def value(self, name: str = ITEM, *, version: int | None = None) -> str:
        return self.engine.secrets.get_value(name=name, version=version).secret.reveal()

    def open_rotations(self) -> Sequence[Rotation]:
        return cast(Sequence[Rotation], self.main.store.open_rotations())

    def audit(self, action: str | None = None) -> Sequence[AuditLine]:
        return self.engine.audit(action=action)

    def tables(self, *, without: Collection[str] = (), store: str = "main") -> dict[str, list[tuple[Any, ...]]]:
        """Every row of the store, to compare before and after."""
        outside = outside_of(self._url(store))
        return {
            name: outside.execute(f"SELECT * FROM {name} ORDER BY 1")  # noqa: S608 - names from the schema
            for name in outside.everything()
            if name not in without
        }

    # --- then: Azure

    def key_ids(self, app: App | None = None) -> set[str]:
        return (app or self.workload).live_key_ids()

    def logs_in(self, value: str, app: App | None = None) -> bool:
        """Whether Azure accepts this value now, whatever front ends are late: the truth."""
        found = self.control.verify((app or self.workload).app_id, value)
        return found is not None and found.state == "valid"

    def requests(self, *operations: str) -> list[JournalEntry]:
        """What was asked in this world's tenant since it began."""
        return [
            entry
            for entry in self.control.journal(after=self._first_entry)
            if entry.tenant_id == self.rotator.info.tenant_id and (not operations or entry.operation in operations)
        ]

    def writes(self) -> list[tuple[str, str | None]]:
        """Committed writes, e.g. ``("graph.addPassword", keyId)``."""
        return [(e.operation.removeprefix("graph."), e.key_id) for e in self.requests(*WRITES) if e.committed]

    def logins(self) -> dict[str, list[str | None]]:
        """Token requests by client id, each with the keyId of the secret that was sent, if Azure knows it."""
        found = defaultdict(list)
        for entry in self.requests("login.token"):
            found[entry.app_id or ""].append(entry.key_id)
        return dict(found)

    def secret_of(self, key_id: str, app: App | None = None) -> Any:
        return next(s for s in self.control.secrets((app or self.workload).app_id) if s.key_id == key_id)

    def secret_of_boot(self) -> str:
        """KeyId of the secret that the workload was made with."""
        found = self.control.verify(self.workload.app_id, self.workload.secret)
        assert found is not None
        return found.key_id

    def mark(self) -> None:
        """Forget the requests up to now."""
        self._first_entry = _last_entry(self.control)


def refused(ask: Callable[..., object], *arguments: Any, **named: Any) -> RotatorError:
    """The error that a use case ends with."""
    with pytest.raises(RotatorError) as error:
        ask(*arguments, **named)
    return error.value


def worlds(
    folder: Path, control: Control, rotator: App, workload: App, *, seed: str, server: Postgres | None = None
) -> Iterator[World]:
    world = World(folder, control, rotator, workload, seed=seed, server=server)
    try:
        yield world
    finally:
        world.close()


def _last_entry(control: Control) -> int:
    return max((entry.seq for entry in control.journal(limit=1)), default=0)
