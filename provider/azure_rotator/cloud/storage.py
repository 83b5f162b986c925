"""Keys of storage accounts: ``StorageKeys`` over Azure Resource Manager, and their proof over the blob service.

Each call logs in, sends one request on a fresh connection, and is over. regenerateKey has neither a guard against a
second run nor one against a change meanwhile: what a call without an answer has done is told in
``Unavailable.applied``, and where that is "unknown", only the list of keys can tell.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from email.utils import formatdate
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from azure_rotator.cloud import faults, payloads, shared_key, storage_faults
from azure_rotator.cloud.answers import Answer, read_answer
from azure_rotator.cloud.credentials import REQUEST_SECONDS
from azure_rotator.cloud.faults import Attempt
from azure_rotator.cloud.loop import LoopThread, shared
from azure_rotator.cloud.session import Session, content, run
from azure_rotator.domain.errors import Rejected, RotatorError
from azure_rotator.domain.ports import AccountSettings, Identity, StorageAccount, StorageKey
from azure_rotator.domain.secrettext import SecretText

if TYPE_CHECKING:
    from azure.mgmt.storage.aio import StorageManagementClient

T = TypeVar("T")

_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}")
_PROPERTIES: Final = {"restype": "service", "comp": "properties"}


class ArmStorageKeys:
    """``StorageKeys`` over azure-mgmt-storage.

    Args:
        request_seconds: The limit of one request to Azure. A call is a login and a request, so it ends within twice
            this, which must stay below the lease: a write in flight cannot be fenced.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS, loop: LoopThread = shared) -> None:
        self._seconds = request_seconds
        self._loop = loop

    @property
    def call_seconds(self) -> float:
        """The longest that a call may take, for comparison with the lease."""
        return 2 * self._seconds

    def list_keys(self, acting: Identity, account: StorageAccount) -> tuple[StorageKey, ...]:
        """All keys that the account has now, in Resource Manager's order."""
        from azure_rotator.cloud import arm

        async def work(session: Session) -> tuple[StorageKey, ...] | RotatorError:
            attempt = session.attempt(_named(account), "list its keys")
            call = partial(arm.list_keys, group=account.resource_group, account=account.name)
            return _read(attempt, await _send(session, attempt, account, call), payloads.storage_keys)

        return self._run(acting, account, work)

    def settings(self, acting: Identity, account: StorageAccount) -> AccountSettings | None:
        """What the account says about its keys; None where Resource Manager denies the read."""
        from azure_rotator.cloud import arm

        async def work(session: Session) -> AccountSettings | RotatorError | None:
            attempt = session.attempt(_named(account), "read it")
            call = partial(arm.get_account, group=account.resource_group, account=account.name)
            answer = await _send(session, attempt, account, call)
            return None if _is_denied(answer) else _read(attempt, answer, payloads.account_settings)

        return self._run(acting, account, work)

    def lock_ids(self, acting: Identity, account: StorageAccount) -> tuple[str, ...] | None:
        """The ReadOnly locks that hold for the account; None where Resource Manager denies the read."""
        from azure_rotator.cloud import arm

        async def work(session: Session) -> tuple[str, ...] | RotatorError | None:
            attempt = session.attempt(_named(account), "read its locks")
            call = partial(
                arm.list_locks,
                subscription_id=account.subscription_id,
                group=account.resource_group,
                account=account.name,
            )
            answer = await _send(session, attempt, account, call)
            return None if _is_denied(answer) else _read(attempt, answer, payloads.read_only_locks)

        return self._run(acting, account, work)

    def regenerate(self, acting: Identity, account: StorageAccount, key_name: str) -> StorageKey:
        """Give this key a new value; exactly one POST, whatever comes back."""
        from azure_rotator.cloud import arm

        async def work(session: Session) -> StorageKey | RotatorError:
            attempt = session.attempt(_named(account), f"regenerate {key_name}", writes=True)
            call = partial(arm.regenerate_key, group=account.resource_group, account=account.name, key_name=key_name)
            answer = await _send(session, attempt, account, call)
            return _read(attempt, answer, lambda body: payloads.storage_key(body, key_name))

        return self._run(acting, account, work)

    def prove(self, acting: Identity, account: StorageAccount, key: StorageKey) -> bool:
        """One signed ``GET /?restype=service&comp=properties``, which reads nothing of the account's data.

        Returns:
            False: the answer does not speak of the key: Shared Key is not permitted, the account's firewall refuses
            this network, or there is no blob service under the account's name.
        """
        from azure_rotator.cloud import connections  # noqa: F401 - on this thread: the loop serves others meanwhile

        async def work(session: Session) -> bool | RotatorError:
            return await _prove(session, account, key)

        return self._run(acting, account, work)

    def _run(
        self,
        acting: Identity,
        account: StorageAccount,
        work: Callable[[Session], Coroutine[Any, Any, T | RotatorError]],
    ) -> T:
        if not _ACCOUNT.fullmatch(account.name):  # it becomes part of a host's name
            raise Rejected(
                "ParameterInvalid",
                f"resource-name {account.name!r} is no name of a storage account",
                hint="3 to 24 lower-case letters and digits",
            )
        return run(self._loop, acting, work, seconds=self._seconds, service="arm")


async def _send(
    session: Session,
    attempt: Attempt,
    account: StorageAccount,
    call: Callable[[StorageManagementClient], Awaitable[object]],
) -> Answer | RotatorError:
    from azure_rotator.cloud import arm

    async def once(token: SecretText) -> Answer | RotatorError:
        seconds = session.left
        if not seconds:
            return faults.timed_out(attempt, 2 * session.seconds, applied="no")
        exchange: arm.Exchange | None = None
        try:
            async with (
                asyncio.timeout(seconds),
                arm.connect(session.endpoints, account.subscription_id, token, seconds) as exchange,
            ):
                return await exchange.send(call)
        except TimeoutError:
            sent = exchange is not None and exchange.sent
            return faults.timed_out(attempt, seconds, applied="unknown" if sent else "no")
        except Exception as error:  # noqa: BLE001 - nothing of the SDK's passes: its errors hold the token
            sent = exchange is not None and exchange.sent
            return storage_faults.arm_failed(attempt, error, sent=sent)

    return await session.ask(attempt, once)


def _read(attempt: Attempt, answer: Answer | RotatorError, parse: Callable[[Any], T]) -> T | RotatorError:
    if isinstance(answer, RotatorError):
        return answer
    if not answer.ok:
        return storage_faults.arm_refused(attempt, answer)
    return content(attempt, answer, parse)


def _is_denied(answer: Answer | RotatorError) -> bool:
    # With a code of Resource Manager's: a proxy's 403 says nothing about roles.
    return isinstance(answer, Answer) and answer.status == 403 and answer.code is not None


async def _prove(session: Session, account: StorageAccount, key: StorageKey) -> bool | RotatorError:
    from azure_rotator.cloud import connections

    host = session.endpoints.blob_host(account.name)
    attempt = Attempt(who=session.acting.label, subject=_named(account), doing=f"try {key.name}", host=host)
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": shared_key.API_VERSION}
    try:
        signed = shared_key.authorization(
            account.name, key.value, method="GET", path="/", query=_PROPERTIES, headers=headers
        )
    except ValueError:
        return storage_faults.malformed_key(attempt)
    seconds = session.left
    try:
        async with asyncio.timeout(seconds), connections.connect(session.kept, seconds) as client:
            got = await client.get(f"https://{host}/", params=_PROPERTIES, headers=headers | {"authorization": signed})
            answer = read_answer(got.status_code, got.headers, got.content)
            genuine = "x-ms-version" in got.headers
    except TimeoutError:
        return faults.timed_out(attempt, seconds, applied="no")
    except Exception as error:  # noqa: BLE001 - nothing of the client's passes: its errors hold the signed request
        if faults.leads_nowhere(error):
            return False  # premium file shares have no blob service; a DNS zone of its own has another name
        return faults.http_failed(attempt, error)
    if answer.ok and genuine:
        return True
    if answer.ok:  # a proxy's welcome proves nothing, and is no answer either
        return faults.unusable(attempt, answer, faults.details_of(attempt, answer), applied="no")
    refused = storage_faults.blob_refused(attempt, answer)
    return False if refused is None else refused


def _named(account: StorageAccount) -> str:
    return f"storage account {account.name}"
