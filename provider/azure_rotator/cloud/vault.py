"""One secret out of Azure Key Vault, for ``keyvault:`` references. azure-keyvault-secrets is the extra ``keyvault``.

Who reads is azure-identity's default chain, as for a Target with ``cloud-identity``: the process's own identity, since
a reference has no credentials. The host must be a vault of a known cloud before anything is sent, and the SDK's check
of the vault's challenge stays on: else a reference could have this process's token sent wherever it says.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from azure_rotator.cloud import faults
from azure_rotator.cloud.answers import Answer
from azure_rotator.cloud.credentials import import_sdk, request_token
from azure_rotator.cloud.endpoints import CLOUDS, Endpoints
from azure_rotator.cloud.faults import Attempt, Fault
from azure_rotator.cloud.loop import Kept, LoopThread
from azure_rotator.domain.errors import Forbidden, Reach, Rejected, RotatorError
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

ROLE: Final = "Key Vault Secrets User"
INSTALL_HINT: Final = "install it: pip install 'azure-rotator[keyvault]'"

# As Key Vault names vaults, secrets and versions ("About keys, secrets, and certificates").
_ADDRESS: Final = re.compile(
    r"https://(?P<vault>[A-Za-z](?:-?[A-Za-z0-9]){2,23})\.(?P<suffix>[A-Za-z.]+)"
    r"/secrets/(?P<name>[A-Za-z0-9-]{1,127})(?:/(?P<version>[0-9A-Fa-f]{32}))?"
)
_TOKEN_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultSecret:
    """Where a secret is. ``version`` None: the newest."""

    host: str
    name: str
    version: str | None
    endpoints: Endpoints


def locate(address: str) -> VaultSecret | None:
    """The secret behind ``https://NAME.vault.azure.net/secrets/NAME[/VERSION]``; None: that is no such address, or its
    host no vault of a known cloud."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    for endpoints in CLOUDS.values():
        if found["suffix"].lower() == endpoints.vault_suffix:
            host = f"{found['vault']}.{found['suffix']}".lower()
            return VaultSecret(host=host, name=found["name"], version=found["version"], endpoints=endpoints)
    return None


def read_secret(secret: VaultSecret, *, seconds: float, loop: LoopThread) -> SecretText:
    """Its value, read now.

    Raises:
        Rejected: ``ReferenceUnresolved``: no such secret, it is disabled, or the extra is missing.
        Forbidden: ``AzureAuthFailed``; ``AzurePermissionMissing`` with the role of Key Vault.
        Unavailable: throttled or no usable answer.
    """
    attempt = Attempt(who="the process's identity", subject=secret.host, doing="read a secret", host=secret.host)
    try:
        import azure.keyvault.secrets.aio  # noqa: F401
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise Rejected(
            "ReferenceUnresolved",
            f"{_reference(secret)}: reading Azure Key Vault takes the extra keyvault, which is not installed",
            hint=f"{INSTALL_HINT}; or use env:NAME or file:PATH",
        )
    import_sdk()
    found = loop.run(lambda kept: _read(kept, secret, attempt, seconds=seconds), limit_seconds=2 * seconds)
    if isinstance(found, RotatorError):
        raise found
    return found


class _NoToken(Exception):
    """The chain gave no token; carries why through the SDK."""

    def __init__(self, error: RotatorError) -> None:
        super().__init__()
        self.error = error


class _Chain:
    """The kept cloud identity, as a credential of the SDK."""

    def __init__(self, kept: Kept, endpoints: Endpoints, seconds: float) -> None:
        self._kept = kept
        self._endpoints = endpoints
        self._seconds = seconds

    async def get_token(self, *scopes: str, claims: str | None = None, **_more: Any) -> AccessToken:
        from azure.core.credentials import AccessToken

        identity = Identity(
            tenant_id=None,
            client_id=None,
            secret=None,
            label="the process's identity",
            azure_cloud=self._endpoints.cloud,
        )
        found = await request_token(
            self._kept,
            identity,
            self._endpoints,
            scope=scopes[0],
            seconds=self._seconds,
            use="renewed" if claims else "kept",
        )
        if isinstance(found, RotatorError):
            self._fail(found)
        return AccessToken(found.value.reveal(), int(time.time() + _TOKEN_SECONDS))

    def _fail(self, error: RotatorError) -> NoReturn:
        raise _NoToken(error)

    async def close(self) -> None:
        """The chain is kept."""


async def _read(kept: Kept, secret: VaultSecret, attempt: Attempt, *, seconds: float) -> SecretText | RotatorError:
    from azure.keyvault.secrets.aio import SecretClient

    credential: Any = _Chain(kept, secret.endpoints, seconds)
    try:
        async with (
            asyncio.timeout(2 * seconds),
            SecretClient(
                f"https://{secret.host}",
                credential,
                retry_total=0,
                permit_redirects=False,
                connection_timeout=seconds / 2,
                read_timeout=seconds,
            ) as client,
        ):
            value: object = (await client.get_secret(secret.name, secret.version)).value
        if isinstance(value, str) and value:
            return SecretText(value)
        return _unresolved(secret, "the secret is empty", "give it a value")
    except TimeoutError:
        return faults.timed_out(attempt, 2 * seconds, applied="no")
    except _NoToken as failure:
        return failure.error
    except Exception as error:  # noqa: BLE001 - nothing of the SDK's passes: its errors hold the token
        return _failed(secret, attempt, error)


def _failed(secret: VaultSecret, attempt: Attempt, error: Exception) -> RotatorError:
    from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

    if isinstance(error, HttpResponseError) and error.response is not None:
        return _refused(secret, attempt, faults.answer_of(error.response))
    if faults.leads_nowhere(error):
        return _unresolved(secret, "there is no vault of this name", "check the vault's name and its cloud")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return faults.unreachable(attempt, error, applied="no")
    return faults.unreadable(attempt, error, applied="no")


_DENIED: Final = Fault(
    error=Forbidden,
    code="AzurePermissionMissing",
    says="{who} is not permitted to {doing}",
    hint='give it the role "' + ROLE + '" on the vault (or the access policy "get" for secrets)',
    permission=ROLE,
)
_BY_FIREWALL: Final = Fault(
    error=Forbidden,
    code="AzureRefused",
    says="the vault's firewall does not let this network in",
    hint="allow this network, or run where the vault can be reached",
)
_TOKEN_REFUSED: Final = Fault(
    error=Forbidden,
    code="AzureAuthFailed",
    says="the vault does not accept the token of {who}",
    hint="the identity must be of the vault's tenant; check this machine's clock as well",
)


def _refused(secret: VaultSecret, attempt: Attempt, answer: Answer) -> RotatorError:
    """The error for an answer of a vault that is not a success, by status and code (see "Azure Key Vault REST API
    error codes" on learn.microsoft.com)."""
    if answer.status == 429:
        return faults.throttled(attempt, answer, faults.details_of(attempt, answer), reach=Reach.OBJECT)
    if not 400 <= answer.status < 500 or answer.status == 408 or answer.code is None:
        return faults.unusable(attempt, answer, faults.details_of(attempt, answer), applied="no")
    if answer.status == 401:
        return faults.told(attempt, answer, _TOKEN_REFUSED)
    inner = _inner_code(answer.body)
    if inner == "SecretDisabled":
        return _unresolved(secret, "the secret is disabled, or outside its dates", "enable it, or add a new version")
    if answer.status == 403:
        return faults.told(attempt, answer, _BY_FIREWALL if inner == "ForbiddenByFirewall" else _DENIED)
    if answer.status == 404:
        return _unresolved(
            secret,
            f"the vault has no such secret ({answer.told})",
            "check its name and version; a deleted one can be recovered for a while",
        )
    return _unresolved(secret, f"the vault refused to read it ({answer.told})", "look the code up in its documentation")


def _inner_code(body: Any) -> str | None:
    try:
        code = body["error"]["innererror"]["code"]
    except (TypeError, KeyError):
        return None
    return code if isinstance(code, str) else None


def _reference(secret: VaultSecret) -> str:
    version = f"/{secret.version}" if secret.version else ""
    return f"keyvault:https://{secret.host}/secrets/{secret.name}{version}"


def _unresolved(secret: VaultSecret, problem: str, hint: str) -> Rejected:
    reference = _reference(secret)
    return Rejected("ReferenceUnresolved", f"{reference}: {problem}", hint=hint, details={"reference": reference})
