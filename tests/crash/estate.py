"""What a crash test plays on: a tenant of its own with two applications in the sandbox, and a store.

The *rotator* is the Target's application; it owns the *workload* application, whose secrets are rotated and which owns
itself too. The workload carries three secrets before anything begins: two that people made, never to be touched, and
``given``, which a test may hand over to be adopted or to log in with first.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import update

from azure_rotator.config import PROCRASTINATE, ROWS
from azure_rotator.domain.grants import PASSWORDS
from azure_rotator.store.connect import Database
from azure_rotator.store.location import locate
from azure_rotator.store.tables import items
from azure_sandbox.testing import AccountInfo, ApplicationInfo, Control, FaultHandle, JournalEntry, Sandbox, UserInfo
from tests.crash.invariants import Inspector
from tests.crash.jobs import Answer, Call, Job
from tests.crash.nursery import Nursery, Process
from tests.crash.stores import Server, ServerStore, Store

OWNED_BY = "Application.ReadWrite.OwnedBy"
TARGET = "/azure/prod"
ITEM = "/prod/billing/api"
OWNER = "urn:pulumi:prod::billing"
PREVIOUS_STAYS = "24h"
AT_ONCE = "0"
# Lines of the sandbox's journal among which a request is found that was held till now.
_RECENT = 300
_FEW = 60
_LONGEST_PAUSE_SECONDS = 7 * 3600.0
_MOMENT_SECONDS = 1.0
# The clock is everybody's, and moved by days: nothing becomes due by itself.
_LONGEST_INTERVAL = 365


class Lab:
    """One sandbox, one nursery, one empty store: shared by the tests of a process.

    Attributes:
        server: Where estates may have a PostgreSQL store instead of a SQLite one; asked for by the first that does.
        root: Where estates keep their stores; in memory where the machine can, since a kill is no power cut and
            ``fsync`` would be most of the time.
    """

    def __init__(self, sandbox: Sandbox, server: Callable[[], Server]) -> None:
        self.sandbox = sandbox
        self._server = server
        memory = Path("/dev/shm")
        self.root = Path(tempfile.mkdtemp(prefix="azure-rotator-crash-", dir=memory if memory.is_dir() else None))
        self.nursery = Nursery(sandbox.environment(), self.root)
        self._numbers = itertools.count(1)
        self._empty = Store(self.root / "empty")
        self._warm_up()

    @property
    def control(self) -> Control:
        return self.sandbox.control

    def estate(self, *, database: str = "sqlite", **settings: Any) -> Estate:
        """A new tenant, its applications, and a store with their Target in it."""
        empty = self._empty if database == "sqlite" else self._empty_on_server
        return Estate(self, self._folder(), empty.copy(self._folder()), **settings)

    @cached_property
    def _empty_on_server(self) -> Store:
        made = ServerStore.make(self._folder(), self._server())
        warming = Estate(self, self._folder(), made.copy(self._folder()))
        self.nursery.warm(warming.job(warming.make_target(), schedule(PROCRASTINATE), modules=True))
        warming.remove()
        return made

    def folder(self) -> Path:
        return self._folder()

    def close(self) -> None:
        self.nursery.close()

    def _folder(self) -> Path:
        return self.root / f"{next(self._numbers):05d}"

    def _warm_up(self) -> None:
        """Make the empty store on the way: it is made once and copied from then on."""
        estate = Estate(self, self._folder(), self._empty)
        self.nursery.start(estate.job()).answer()
        estate = Estate(self, self._folder(), Store(self._folder()))
        assert estate.account.name  # the Target names it
        calls = [
            estate.make_target(),
            estate.create(revoke_after=AT_ONCE),
            rotate(),
            schedule(),
            Call(use="reconcile"),
            Call(use="secrets.delete", options={"name": ITEM}),
            # What the other kinds import.
            estate.create_storage(name="/keys"),
            rotate(name="/keys"),
            estate.create_password(name="/password"),
            rotate(name="/password"),
        ]
        self.nursery.warm(estate.job(*calls, modules=True))


@dataclass
class Estate:
    """See the module. Every process that is started here works on ``store`` unless told otherwise."""

    lab: Lab
    folder: Path
    store: Store
    apart: bool = False  # the rotator does not own the workload: only the workload itself may change it
    began_at: datetime = field(init=False, default=datetime.min.replace(tzinfo=UTC))  # of the last process
    rotator: ApplicationInfo = field(init=False)
    workload: ApplicationInfo = field(init=False)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        control = self.lab.control
        tenant = control.create_tenant().tenant_id
        self.rotator = control.create_application(
            tenant=tenant,
            roles=[OWNED_BY, PASSWORDS],
            delegated=[PASSWORDS],
            owners=["self"],
            secrets=[{"name": "boot"}],
        )
        self.workload = control.create_application(
            tenant=tenant,
            roles=[OWNED_BY],
            owners=["self"] if self.apart else [self.rotator.app_id, "self"],
            secrets=[{"name": "made by hand"}, {"name": "made by terraform"}, {"name": "given"}],
        )
        self.folder.mkdir(parents=True)
        (self.folder / "canaries").touch(0o600)

    # --- what is known of it ------------------------------------------------------------------------------------

    @property
    def app_id(self) -> str:
        return self.workload.app_id

    @property
    def tenant_id(self) -> str:
        return self.workload.tenant_id

    @cached_property
    def account(self) -> AccountInfo:
        """A storage account whose keys the rotator operates; the Target names it if it is there by then."""
        return self.lab.control.create_account(tenant=self.tenant_id, operators=[self.rotator.app_id])

    @cached_property
    def user(self) -> UserInfo:
        """A user whose password the rotator's application may set, and may change on his behalf."""
        return self.lab.control.create_user(tenant=self.tenant_id)

    @property
    def given_key_id(self) -> str:
        return self.key_id_of("given")

    @property
    def own_key_id(self) -> str:
        """Of the Target's own secret."""
        return next(s.key_id for s in self.lab.control.secrets(self.rotator.app_id))

    def key_id_of(self, display_name: str) -> str:
        return next(s.key_id for s in self.lab.control.secrets(self.app_id) if s.display_name == display_name)

    def stamps(self) -> list[str]:
        """The display names of the secrets that were minted here, whether or not they are still alive."""
        return [s.display_name or "" for s in self.lab.control.secrets(self.app_id) if s.origin == "minted"]

    def minted(self) -> list[str]:
        """The keyIds of what was minted here and is still alive."""
        return [s.key_id for s in self.lab.control.secrets(self.app_id) if s.origin == "minted" and s.is_alive]

    def previous_versions(self) -> list[int]:
        """The numbers of the versions that are valid besides the current ones."""
        return [number for (number,) in self.store.query("SELECT number FROM versions WHERE stage = 'previous'")]

    def has_item(self) -> bool:
        return bool(self.store.query("SELECT 1 FROM items"))

    def pause_seconds(self) -> float | None:
        """Till the next attempt at what is not at its end; None when there is none soon.

        What is kept waits for days, and what is parked, with nothing to clean up, for a person.
        """
        going = (
            "SELECT next_attempt_at FROM rotations WHERE state != 'done' AND NOT closed AND (state != 'failed' "
            "OR mint_uncertain OR rotation_id IN (SELECT rotation_id FROM versions WHERE stage = 'abandoned'))"
        )
        now = self.lab.control.now()
        left = [(_instant(at) - now).total_seconds() + 1.0 for (at,) in self.store.query(going)]
        soon = [seconds for seconds in left if seconds < _LONGEST_PAUSE_SECONDS]
        return max(0.0, *soon) if soon else None

    def alive(self) -> set[str]:
        """All keyIds of the workload that were not removed."""
        return {s.key_id for s in self.lab.control.secrets(self.app_id) if s.is_alive}

    def make_due(self) -> None:
        """The item's schedule runs, and its time has come."""
        at = self.lab.control.now() - timedelta(seconds=_MOMENT_SECONDS)
        with closing(Database(locate(self.store.url))) as database, database.writing() as connection:
            connection.execute(
                update(items).values(
                    auto_rotate=True,
                    rotation_interval=_LONGEST_INTERVAL,
                    next_rotation_at=at.replace(microsecond=0),
                    scheduled_for=None,
                )
            )

    def secrets(self) -> list[str]:
        """Every clear value of this estate that was ever told to anybody."""
        seeded = [*self.rotator.secrets.values(), *self.workload.secrets.values()]
        if "account" in vars(self):
            seeded += self.lab.control.account(self.account.name).keys.values()
        if "user" in vars(self):
            seeded.append(self.user.password or "")
        return [*seeded, *(self.folder / "canaries").read_text().split()]

    def inspector(self, *stores: Store, ours: Sequence[str] = ()) -> Inspector:
        return Inspector(
            self.lab.sandbox,
            stores=stores or [self.store],
            applications=[self.app_id, self.rotator.app_id],
            accounts=[self.account.name] if "account" in vars(self) else [],
            ours=ours,
            now=lambda: self.began_at,
            secrets=self.secrets,
            evidence=[self.folder / "processes"],
        )

    # --- calls --------------------------------------------------------------------------------------------------

    def make_target(self) -> Call:
        arguments = {
            "name": TARGET,
            "connection_type": "credentials",
            "tenant_id": self.tenant_id,
            "client_id": self.rotator.app_id,
            "client_secret": self.rotator.secrets["boot"],
        }
        if "account" in vars(self):
            arguments |= {
                "subscription_id": self.account.subscription_id,
                "resource_group_name": self.account.resource_group,
                "resource_name": self.account.name,
            }
        return Call(use="targets.create", arguments=arguments, options={"owner": OWNER})

    def create(self, *, owner: str = OWNER, **arguments: Any) -> Call:
        """Mint one; with ``api_id`` and ``api_key`` adopt one."""
        given = {
            "name": ITEM,
            "target_name": TARGET,
            "rotator_type": "api-key",
            "authentication_credentials": "use-target-creds",
            "app_id": self.app_id,
        }
        return Call(use="secrets.create", arguments=given | arguments, options={"owner": owner})

    def create_by_itself(self, **arguments: Any) -> Call:
        """Mint one as the application itself, which logs in first with the given secret."""
        given = {"authentication_credentials": "use-user-creds", "api_key": self.workload.secrets["given"]}
        return self.create(**given | arguments)

    def adopt(self, **arguments: Any) -> Call:
        given = {"api_id": self.given_key_id, "api_key": self.workload.secrets["given"]}
        return self.create(**given | arguments)

    def create_own(self, **arguments: Any) -> Call:
        """Take over the Target's own secret."""
        return self._of_kind("target", arguments)

    def create_storage(self, **arguments: Any) -> Call:
        """Take over a key of the account."""
        assert self.account.name  # it is there by now, and the Target names it
        return self._of_kind("azure-storage-account", {"storage_account_key_name": "key1"} | arguments)

    def create_password(self, **arguments: Any) -> Call:
        """Take over the user's password."""
        given = {"username": self.user.upn, "password": self.user.password}
        return self._of_kind("password", {"authentication_credentials": "use-target-creds"} | given | arguments)

    @staticmethod
    def _of_kind(kind: str, arguments: Mapping[str, Any]) -> Call:
        given = {"name": ITEM, "target_name": TARGET, "rotator_type": kind}
        return Call(use="secrets.create", arguments={**given, **arguments}, options={"owner": OWNER})

    # --- processes ----------------------------------------------------------------------------------------------

    def job(self, *calls: Call, store: Store | None = None, **settings: Any) -> Job:
        return Job(
            folder=str(self.folder / "processes" / f"{next(self._numbers):03d}"),
            store=str((store or self.store).folder),
            state=str(self.lab.sandbox.state),
            canaries=str(self.folder / "canaries"),
            calls=calls,
            **settings,
        )

    def start(self, *calls: Call, **settings: Any) -> Process:
        return self.lab.nursery.start(self.job(*calls, **settings))

    def run(self, *calls: Call, **settings: Any) -> Answer:
        """Make calls in a process of their own and wait for its end."""
        answer = self.start(*calls, **settings).answer()
        self.began_at = answer.began_at
        return answer

    def begin(self, *calls: Call, **settings: Any) -> Answer:
        """The same for what must go well: the Target, and what else a test begins with."""
        return self.run(self.make_target(), *calls, **settings).ok()

    def remove(self) -> None:
        """Give its room back; a failed test keeps it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.store.remove()


def _instant(stored: str | datetime) -> datetime:
    """As the databases give it: SQLite as text, in UTC."""
    return stored if isinstance(stored, datetime) else datetime.fromisoformat(stored).replace(tzinfo=UTC)


def let_go(held: FaultHandle, *, operation: str | None = None) -> str | None:
    """Let held requests go on, and return when they have done in Azure what they were sent for.

    A request that meets another fault after the hold is told in the journal by that one's id; it does nothing in Azure,
    so that it is waited for only a moment.

    Args:
        operation: What is held, where it is one: then only the journal's entries about it are read.

    Returns: What the first of them was, as far as the journal tells.
    """
    control = held.control
    number = control.request("GET", f"/faults/{held.id}")["held"]
    held.release()
    give_up_at = time.monotonic() + _MOMENT_SECONDS
    while True:
        entries = [e for e in _recent(control, operation) if e.fault == held.id and e.status is not None]
        if len(entries) >= number or time.monotonic() > give_up_at:
            break
        time.sleep(0.005)
    held.remove()
    return entries[0].operation if entries else None


def _recent(control: Control, operation: str | None) -> Sequence[JournalEntry]:
    return control.journal(limit=_RECENT) if operation is None else control.journal(operation=operation, limit=_FEW)


def rotate(**options: Any) -> Call:
    return Call(use="secrets.rotate", options={"name": ITEM} | options)


def schedule(dispatcher: str = ROWS) -> Call:
    """A scheduler that ends when nothing is due."""
    return Call(use="scheduler", options={"dispatcher": dispatcher})


def delete(**options: Any) -> Call:
    return Call(use="secrets.delete", options={"name": ITEM} | options)


def delete_version(number: int, **options: Any) -> Call:
    return Call(use="secrets.delete_version", options={"number": number, "name": ITEM} | options)


def reconcile() -> Call:
    return Call(use="reconcile")
