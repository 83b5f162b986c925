"""The composition root: settings -> engine. The only module that knows every adapter.

Adapters are imported when a store is opened, not before: a refused input should cost nothing.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from azure_rotator.config import PROCRASTINATE, Settings
from azure_rotator.domain.errors import Corrupt, Rejected
from azure_rotator.domain.model import ForwarderType, RotatorType
from azure_rotator.domain.names import ID_BYTES, encode_id
from azure_rotator.domain.passwords import generate, policy_of
from azure_rotator.domain.ports import (
    Checker,
    Clock,
    Directory,
    Dispatcher,
    Entropy,
    Login,
    Observer,
    Rotator,
    Sealer,
    StorageKeys,
    UnitOfWork,
    Unwatched,
    Users,
)
from azure_rotator.engine.context import Context, Limits
from azure_rotator.engine.service import Engine
from azure_rotator.rotators.app_checks import AppSecretChecker
from azure_rotator.rotators.app_secret import AppSecretRotator
from azure_rotator.rotators.storage_checks import StorageKeyChecker
from azure_rotator.rotators.storage_key import StorageKeyRotator
from azure_rotator.rotators.target_secret import TargetSecretRotator
from azure_rotator.rotators.user_checks import UserPasswordChecker
from azure_rotator.rotators.user_password import UserPasswordRotator

if TYPE_CHECKING:
    from azure_rotator.crypto.keyring import Key
    from azure_rotator.scheduler.loop import Scheduler
    from azure_rotator.store.opening import StoreMeta


SCHEDULER = "scheduler"
"""Who it is in the audit log."""


class SystemClock:
    """The machine's clock in UTC, truncated to seconds."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def wait_until(self, instant: datetime) -> None:
        while (left := (instant - datetime.now(UTC)).total_seconds()) > 0:
            time.sleep(min(left, 60.0))  # a suspended machine wakes at most a minute late


class SystemEntropy:
    """The operating system's randomness."""

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)

    def jitter(self) -> float:
        return secrets.randbelow(1_000) / 1_000


class SilentObserver:
    """Nobody watches."""

    def span(self, name: str, **fields: object) -> Unwatched:
        return Unwatched()

    def note(self, event: str, **fields: object) -> None:
        """Nothing."""

    def tell(self, event: str, **fields: object) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""


def open_store(settings: Settings, entropy: Entropy, *, new: bool = True) -> tuple[UnitOfWork, Sealer]:
    """Bring store and key together (features 3.16). The key is on disk before the store that needs it.

    A new SQLite store gets a key made with it, unless there is one already. A store that exists never gets one on the
    quiet.

    Args:
        new: Make the store where there is none; else that is ``StoreUnavailable``.

    Raises:
        Corrupt: ``StoreKeyMissing``, ``StoreKeyWrong``, ``StoreCorrupt``, ``StoreSchemaMismatch``: nothing was written.
        Unavailable: ``StoreUnavailable``.
    """
    from azure_rotator.crypto.envelope import EnvelopeSealer
    from azure_rotator.crypto.keyring import create_key_file, make_key, matching_key
    from azure_rotator.store import opening
    from azure_rotator.store.location import locate

    location = locate(settings.store_url)
    found, key = find_store_and_key(settings)
    if found is None and not new:
        opening.open_store(settings.store_url)  # says so
    if found is None:
        if key is None and location.folder is None:
            raise Corrupt(
                "StoreKeyMissing",
                f"there is no key for the store {location.label}",
                hint="make one with azure-rotator key create, and give it to every process",
            )
        if key is None:
            key = create_key_file(settings.key_file, make_key(entropy), store_folder=location.folder)
        store_id = encode_id(entropy.token(ID_BYTES))
        found = opening.create(settings.store_url, store_id=store_id, key_check=key.check_value)
    key = matching_key(key, found.key_check, key_file=settings.key_file, store=location.label)
    uow = opening.open_store(settings.store_url, found=found, lease_seconds=settings.lease_seconds)
    return uow, EnvelopeSealer(key)


def find_store_and_key(settings: Settings) -> tuple[StoreMeta | None, Key | None]:
    """What is there; nothing is changed. They need not belong together, ``keyring.matching_key`` tells.

    Raises:
        Corrupt: ``StoreKeyWrong``, ``StoreKeyMissing``, ``StoreCorrupt``, ``StoreSchemaMismatch``.
        Unavailable: ``StoreUnavailable``.
    """
    from azure_rotator.crypto.keyring import VARIABLE, find_key
    from azure_rotator.store import opening

    for _ in range(2):  # the key may be changed between the two looks
        found = opening.peek(settings.store_url)
        key_check = found.key_check if found else None
        key = find_key(key_file=settings.key_file, environ={VARIABLE: settings.key}, key_check=key_check)
        if key is None or key.check_value == key_check:
            break
    return found, key


def make_engine(
    *,
    uow: UnitOfWork,
    sealer: Sealer,
    clock: Clock,
    entropy: Entropy,
    directory: Directory,
    login: Login,
    keys: StorageKeys,
    users: Users,
    observer: Observer,
    who: str,
    limits: Limits,
) -> Engine:
    """An engine on these ports."""
    from azure_rotator.cloud.references import ProcessReferences
    from azure_rotator.notify.smtp import Mails
    from azure_rotator.notify.webhook import Webhooks

    rotators: dict[RotatorType, Rotator] = {
        RotatorType.API_KEY: AppSecretRotator(directory=directory, login=login, uow=uow, observer=observer),
        RotatorType.TARGET: TargetSecretRotator(directory=directory, login=login, uow=uow, observer=observer),
        RotatorType.STORAGE_ACCOUNT: StorageKeyRotator(keys=keys, observer=observer),
        RotatorType.PASSWORD: UserPasswordRotator(
            users=users, login=login, generate=lambda item: generate(policy_of(item), entropy.token)
        ),
    }
    secrets_of_apps = {
        kind: AppSecretChecker(kind, directory=directory, login=login)
        for kind in (RotatorType.API_KEY, RotatorType.TARGET)
    }
    checkers: dict[RotatorType, Checker] = {
        **secrets_of_apps,
        RotatorType.STORAGE_ACCOUNT: StorageKeyChecker(keys=keys),
        RotatorType.PASSWORD: UserPasswordChecker(users=users, login=login),
    }
    # Below the lease: what is under way when it runs out may be sent twice.
    notify_seconds = max(3.0, min(10.0, limits.heartbeat_seconds))
    return Engine(
        Context(
            uow=uow,
            sealer=sealer,
            references=ProcessReferences(),
            clock=clock,
            entropy=entropy,
            directory=directory,
            login=login,
            keys=keys,
            observer=observer,
            rotators=rotators,
            checkers=checkers,
            notifiers={
                ForwarderType.WEBHOOK: Webhooks(seconds=notify_seconds),
                ForwarderType.EMAIL: Mails(os.environ, seconds=notify_seconds),
            },
            who=who,
            worker=f"{os.uname().nodename}:{os.getpid()}:{entropy.token(4).hex()}",
            limits=limits,
        )
    )


@contextmanager
def open_engine(
    settings: Settings, *, who: str, observer: Observer | None = None, new_store: bool = True
) -> Iterator[Engine]:
    """An engine for one command; the store is closed at its end.

    Args:
        new_store: Make the store where there is none: for commands that have nothing to find in it yet.
    """
    engine, uow = _assemble(settings, who, observer or SilentObserver(), new_store=new_store)
    try:
        yield engine
    finally:
        uow.close()


@contextmanager
def open_scheduler(settings: Settings, *, observer: Observer, workers: int, poll: timedelta) -> Iterator[Scheduler]:
    """A scheduler on a store that exists; its engine is closed at the end.

    Args:
        workers: How many operations at once.
        poll: See ``Scheduler``.

    Raises:
        Rejected: ``ParameterInvalid``, the settings' dispatcher cannot be had; nothing was opened.
    """
    from azure_rotator.scheduler.loop import Scheduler

    check_dispatcher(settings)
    with open_engine(settings, who=SCHEDULER, observer=observer, new_store=False) as engine:
        yield Scheduler(
            engine,
            dispatcher_maker(settings, store_id=engine.store_id, workers=workers, poll=poll),
            clock=SystemClock(),
            observer=observer,
            poll=poll,
        )


def check_dispatcher(settings: Settings) -> None:
    """Whether the dispatcher of the settings can be had here; nothing is opened.

    Raises:
        Rejected: ``ParameterInvalid``: procrastinate without its package, or with a store that is not in PostgreSQL.
    """
    from azure_rotator.store.location import locate

    if settings.dispatcher != PROCRASTINATE:
        return
    location = locate(settings.store_url)
    if location.path is not None:
        raise Rejected(
            "ParameterInvalid",
            f"the dispatcher procrastinate needs a store in PostgreSQL, and this one is {location.label}",
            hint="use the dispatcher rows, or name a PostgreSQL store with AZURE_ROTATOR_STORE",
            details={"property": "dispatcher"},
        )
    try:
        from azure_rotator.dispatch import procrastinate  # noqa: F401
    except ImportError:  # not there, or there without a libpq
        raise Rejected(
            "ParameterInvalid",
            "the dispatcher procrastinate takes the extra procrastinate, which is not installed",
            hint="install azure-rotator[procrastinate], or use the dispatcher rows",
            details={"property": "dispatcher"},
        ) from None


def make_queue(settings: Settings, *, renew: bool = False) -> None:
    """Make what the dispatcher of the settings keeps its jobs in, where it is not there yet.

    Args:
        renew: Make anew what another release of it has made.

    Raises:
        Unavailable: ``StoreUnavailable``.
        Corrupt: ``StoreSchemaMismatch``.
    """
    if settings.dispatcher != PROCRASTINATE:
        return
    from azure_rotator.dispatch.procrastinate import make_tables

    make_tables(*_queue_server(settings), renew=renew)


def dispatcher_maker(
    settings: Settings, *, store_id: str, workers: int, poll: timedelta
) -> Callable[[Callable[[str], None], threading.Event], Dispatcher]:
    """What makes the scheduler's dispatcher of the settings, on a store that exists. Arguments as ``open_scheduler``.

    Raises:
        Unavailable: ``StoreUnavailable``.
        Corrupt: ``StoreSchemaMismatch``.
    """
    if settings.dispatcher != PROCRASTINATE:
        from azure_rotator.dispatch.rows import RowsDispatcher

        return lambda run, bell: RowsDispatcher(run, workers=workers, bell=bell)
    from azure_rotator.dispatch.procrastinate import ProcrastinateDispatcher, Queue

    make_queue(settings)
    connection, label = _queue_server(settings)
    queue = Queue(connection=connection, label=label, store_id=store_id)
    return lambda run, bell: ProcrastinateDispatcher(run, queue=queue, workers=workers, bell=bell, poll=poll)


def _queue_server(settings: Settings) -> tuple[Mapping[str, str], str]:
    """What libpq is told of the store's server, and how messages name it."""
    from azure_rotator.store import postgresql
    from azure_rotator.store.connect import BUSY_SECONDS
    from azure_rotator.store.location import locate

    location = locate(settings.store_url)
    return postgresql.settings(location, BUSY_SECONDS), location.label


_engines: dict[tuple[Settings, str], Engine] = {}
_lock = threading.Lock()


def engine_for(settings: Settings, *, who: str, observer: Observer | None = None) -> Engine:
    """The process's one engine for these settings, made at first use; for a provider process with several threads."""
    with _lock:
        key = (settings, who)
        if key not in _engines:
            _engines[key], _ = _assemble(settings, who, observer or SilentObserver())
        return _engines[key]


def _assemble(settings: Settings, who: str, observer: Observer, *, new_store: bool = True) -> tuple[Engine, UnitOfWork]:
    from azure_rotator.cloud.credentials import EntraLogin
    from azure_rotator.cloud.graph import GraphDirectory
    from azure_rotator.cloud.storage import ArmStorageKeys
    from azure_rotator.cloud.users import EntraUsers

    entropy = SystemEntropy()
    uow, sealer = open_store(settings, entropy, new=new_store)
    # A call is a login and a request; both together stay below the lease, because a write in flight cannot be fenced.
    request_seconds = max(3.0, min(10.0, settings.lease_seconds / 3 - 1))
    engine = make_engine(
        uow=uow,
        sealer=sealer,
        clock=SystemClock(),
        entropy=entropy,
        directory=GraphDirectory(request_seconds=request_seconds),
        login=EntraLogin(request_seconds=request_seconds),
        keys=ArmStorageKeys(request_seconds=request_seconds),
        users=EntraUsers(request_seconds=request_seconds),
        observer=observer,
        who=who,
        limits=Limits(
            foreground=timedelta(seconds=settings.timeout_seconds), heartbeat_seconds=settings.lease_seconds / 3
        ),
    )
    return engine, uow
