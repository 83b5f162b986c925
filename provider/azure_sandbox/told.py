"""What the control API tells: one record a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

_T = TypeVar("_T")


def read(kind: type[_T], record: Mapping[str, Any]) -> _T:
    """Read a record, passing over fields that a newer sandbox may have."""
    names = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in record.items() if name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantInfo:
    """A tenant."""

    tenant_id: str
    name: str
    domain: str
    cloud: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationInfo:
    """An application and its service principal. ``secrets`` (clear values by name) come with its creation only."""

    name: str
    tenant_id: str
    app_id: str
    object_id: str
    service_principal_id: str
    roles: Sequence[str]
    owners: Sequence[str]
    enabled: bool
    delegated: Sequence[str] = ()
    directory_roles: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretInfo:
    """The truth about one secret.

    Attributes:
        origin: ``seed``, ``minted`` (over Graph) or ``portal`` (over the control API).
        state: ``valid``, ``expired``, ``not-yet-valid`` or ``removed``.
        holder: ``application`` or ``service principal``.
        delivered: whether an answer has carried the value to a caller.
        orphan: minted, alive and not among the managed keyIds that the question named; None when it named none.
        value: the clear value, only where it was just made through the control API.
    """

    tenant_id: str
    app_id: str
    application: str
    holder: str
    key_id: str
    display_name: str | None
    hint: str
    origin: str
    state: str
    delivered: bool
    added_at: str
    starts_at: str
    ends_at: str
    removed_at: str | None
    orphan: bool | None = None
    value: str | None = field(default=None, repr=False)

    @property
    def is_alive(self) -> bool:
        """Whether it was not removed; an expired secret is alive."""
        return self.state != "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """One request; see :class:`azure_sandbox.journal.Entry` for the fields."""

    seq: int
    at: str
    host: str
    operation: str
    method: str
    path: str
    status: int | None
    principal: str | None
    tenant_id: str | None
    app_id: str | None
    object_id: str | None
    account: str | None
    user: str | None
    key_id: str | None
    display_name: str | None
    error: str | None
    accepted: bool | None
    front_end: int | None
    committed: bool
    delivered: bool
    fault: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountInfo:
    """A storage account.

    Attributes:
        blob_host: host name of its blob service, which the proxy leads to the sandbox.
        allow_shared_key: None is as good as True.
        keys: the present value of each key by name.
        key_created_at: ISO 8601 by key name; None for a key older than Azure's record.
    """

    name: str
    tenant_id: str
    cloud: str
    subscription_id: str
    resource_group: str
    resource_id: str
    blob_host: str
    allow_shared_key: bool | None
    keys: Mapping[str, str] = field(repr=False)
    key_created_at: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserInfo:
    """A user.

    Attributes:
        roles: directory roles by display name.
        passwords_set: how many passwords he has had, the present one included.
        password_origin: ``seed``, ``reset`` (by an application), ``change`` (by himself) or ``portal``.
        password: the clear value, only where he was just made through the control API.
    """

    object_id: str
    tenant_id: str
    upn: str
    name: str
    roles: Sequence[str]
    passwords_set: int
    password_set_at: str | None
    password_origin: str | None
    enabled: bool
    synchronised: bool
    federated: bool
    mfa: bool
    conditional_access: bool
    force_change: bool
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityInfo:
    """A managed identity; ``assigned`` by ``user`` or ``system``."""

    name: str
    tenant_id: str
    client_id: str
    object_id: str
    assigned: str
    roles: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultInfo:
    """A key vault; ``secrets`` are the URLs of its secrets by name."""

    name: str
    tenant_id: str
    resource_id: str
    host: str
    secrets: Mapping[str, str]
