"""What the core asks of the world, as small as the calls it makes.

Adapters raise only errors of ``domain.errors``. The store's methods are one transaction each; those that take a
``Claim`` are fenced: they touch exactly one rotation row ``WHERE rotation_id = ? AND fence = ?`` or raise ``LeaseLost``
and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, Self

from azure_rotator.domain.census import Census
from azure_rotator.domain.findings import Finding
from azure_rotator.domain.model import (
    Account,
    AuditLine,
    Delivery,
    Event,
    Folder,
    Forwarder,
    Mint,
    RotatedSecret,
    Rotation,
    Standing,
    Target,
    TargetVersion,
    Version,
)
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText

# --- time and randomness ------------------------------------------------------------------------------------------


class Clock(Protocol):
    def now(self) -> datetime:
        """The present instant, aware, UTC, truncated to seconds."""
        ...

    def wait_until(self, instant: datetime) -> None:
        """Return when ``now() >= instant``."""
        ...


class Entropy(Protocol):
    def token(self, size: int) -> bytes:
        """``size`` random bytes fit for ids."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1) to spread retries; not secret."""
        ...


# --- sealing ------------------------------------------------------------------------------------------------------


class Sealer(Protocol):
    def seal(self, value: SecretText, place: SealedFor) -> SealedBytes: ...

    def open(self, sealed: SealedBytes, place: SealedFor) -> SecretText:
        """Raises: Corrupt ``StoreCorrupt`` when it does not open; names the place, never bytes."""
        ...


class References(Protocol):
    def resolve(self, reference: str) -> SecretText:
        """The value behind ``env:NAME``, ``file:PATH`` or ``keyvault:https://…/secrets/NAME``, read now.

        Raises:
            Rejected: ``ReferenceUnresolved`` naming the reference.
            Forbidden: the process's identity may not read the vault: ``AzureAuthFailed``, ``AzurePermissionMissing``.
            Unavailable: the vault is throttled or gave no usable answer.
        """
        ...


# --- Azure --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who acts or is proven: an application with its secret, or the process's cloud identity (``secret`` None).

    Args:
        label: How messages name it, e.g. ``target "/azure/prod"`` or ``application 1234…``.
        older: The secret that ``secret`` replaced a short while ago, while Azure may still accept only that one
            somewhere: a login that is refused with AADSTS7000215 tries it once. Proofs never have one.
    """

    tenant_id: str | None
    client_id: str | None
    secret: SecretText | None
    label: str
    azure_cloud: str = "AzureCloud"
    older: SecretText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCredential:
    """A client secret as Graph lists it; the value is never readable."""

    key_id: str
    display_name: str | None
    hint: str | None
    start_at: datetime | None
    end_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An application registration as read now; reads of Graph may lag behind writes."""

    object_id: str
    app_id: str
    display_name: str
    passwords: tuple[PasswordCredential, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePrincipal:
    """An application's service principal in the tenant, with the client secrets of its own (F35): they log in like the
    application's, and are listed, made and removed here only."""

    object_id: str
    app_id: str
    display_name: str
    enabled: bool
    passwords: tuple[PasswordCredential, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretPolicy:
    """What the tenant's app management policies say about new client secrets of one application.

    Args:
        may_add: Whether client secrets may be added at all.
        max_lifetime_days: The longest life of a new one, in whole days; None for no limit.
        policy_id: The policy that limits; None where none does, or where it has no id (the tenant's own).
    """

    may_add: bool
    max_lifetime_days: int | None
    policy_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialLoad:
    """How full an application registration is of credentials.

    Args:
        passwords: Client secrets.
        certificates: Certificates and other keys.
        size_bytes: What both take up in Graph's answer. Entra bounds the whole object by its size and by the number of
            entries in its lists, without naming the first; ``Directory_ResourceSizeExceeded`` was seen beyond 600 keys.
        most_passwords: 2 for an application whose audience includes personal accounts; None: no such limit.
    """

    passwords: int
    certificates: int
    size_bytes: int
    most_passwords: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPassword:
    """The answer of addPassword, the only time the value is ever shown."""

    key_id: str
    value: SecretText
    hint: str
    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What a token says about its bearer: Graph application permissions and the service principal's object id."""

    roles: frozenset[str]
    principal_id: str


class Login(Protocol):
    def prove(self, identity: Identity) -> None:
        """One token request with the identity's secret on a fresh connection, no cache of any kind.

        Raises:
            Forbidden: ``AzureAuthFailed``, the login was refused; ``details["aadsts"]`` has the number.
            Unavailable: no usable answer.
        """
        ...

    def grants(self, identity: Identity) -> Grants:
        """Permissions of the identity's Graph token. Raises as ``prove``."""
        ...


SERVICE_PRINCIPAL = "service-principal"
"""The slot of a client secret that is minted on the service principal and not on the application (F35)."""


class Directory(Protocol):
    """Applications and their client secrets in Microsoft Graph. SDK retries are off: one call is one request at most
    (plus a token), within the adapter's timeout, which stays below the lease."""

    def get_application(self, acting: Identity, app_id: str) -> Application:
        """Read the application with its client secrets, on a fresh connection.

        Raises:
            NotFound: ``ApplicationNotFound``.
            Forbidden: ``AzureAuthFailed`` or ``AzurePermissionMissing``.
            Unavailable: throttled or no usable answer.
        """
        ...

    def owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the application's owners."""
        ...

    def add_password(self, acting: Identity, object_id: str, display_name: str, end_at: datetime) -> NewPassword:
        """Mint a client secret.

        Raises:
            Unavailable: ``applied`` tells whether a secret may exist now.
            Forbidden, NotFound, Rejected: certain refusals; no secret was made.
        """
        ...

    def remove_password(self, acting: Identity, object_id: str, key_id: str) -> bool:
        """Remove one client secret by its exact keyId. True: removed. False: Graph says it is not there, which soon
        after a write may be a lagging read (design/azure 2.3): confirm by repeated reads."""
        ...

    def get_service_principal(self, acting: Identity, app_id: str) -> ServicePrincipal:
        """Read the application's service principal with its own client secrets. Raises as ``get_application``; an
        application without a service principal in the tenant is NotFound ``ApplicationNotFound`` as well."""
        ...

    def principal_owner_ids(self, acting: Identity, object_id: str) -> frozenset[str]:
        """Object ids of the service principal's owners, who need not be the application's."""
        ...

    def add_principal_password(
        self, acting: Identity, object_id: str, display_name: str, end_at: datetime
    ) -> NewPassword:
        """Mint a client secret on the service principal with this object id. Raises as ``add_password``."""
        ...

    def remove_principal_password(self, acting: Identity, object_id: str, key_id: str) -> bool:
        """Remove a client secret from the service principal with this object id. As ``remove_password``."""
        ...

    def secret_policy(self, acting: Identity, object_id: str) -> SecretPolicy | None:
        """What applies to new client secrets of the application; None: the acting identity may not read it (it takes
        ``Policy.Read.All``)."""
        ...

    def credential_load(self, acting: Identity, object_id: str) -> CredentialLoad:
        """How many credentials the application has, and how large they are."""
        ...

    def clock_skew(self, acting: Identity, app_id: str) -> timedelta | None:
        """How far Azure's clock is ahead of this machine's, to about a second, from the Date of one answer (F10).
        None: the answer had none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageAccount:
    """Where a storage account is."""

    subscription_id: str
    resource_group: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageKey:
    """One key of a storage account.

    Args:
        name: ``key1``, ``key2``, ``kerb1`` or ``kerb2``.
        created_at: None for keys older than Azure's record of it (design/azure 2.9).
    """

    name: str
    value: SecretText
    created_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """What an account's settings say about its keys.

    Args:
        shared_key: Whether requests and signatures made with a key are taken at all.
        directory: Who authenticates its file shares (``AD``, ``AADDS``, ``AADKERB``); None: nobody, so that no Kerberos
            key opens anything.
        sas_period: How long a shared access signature should live at most; None: the account has no such policy.
        key_days: After how many days the account's owner wants keys rotated; a reminder, nothing expires.
    """

    shared_key: bool
    directory: str | None = None
    sas_period: timedelta | None = None
    key_days: int | None = None


class StorageKeys(Protocol):
    """Keys of storage accounts, over Azure Resource Manager. SDK retries are off: one call is one request at most
    (plus a token), within the adapter's timeout, which stays below the lease."""

    def list_keys(self, acting: Identity, account: StorageAccount) -> tuple[StorageKey, ...]:
        """All keys the account has now, Kerberos keys included.

        Raises:
            NotFound: ``ResourceNotFound``: account, resource group or subscription.
            Forbidden: ``AzureAuthFailed``; ``AzurePermissionMissing`` naming the role "Storage Account Key Operator
                Service Role"; ``ResourceLocked``: a ReadOnly lock, which refuses even the list (F45).
            Unavailable: throttled or no usable answer.
        """
        ...

    def settings(self, acting: Identity, account: StorageAccount) -> AccountSettings | None:
        """What the account says about its keys; None: the acting identity may not read it, which the role that
        operates keys may not. Raises as ``list_keys``."""
        ...

    def lock_ids(self, acting: Identity, account: StorageAccount) -> tuple[str, ...] | None:
        """Resource ids of the ReadOnly locks that hold for the account; None: the acting identity may not read them.
        Raises as ``list_keys``."""
        ...

    def regenerate(self, acting: Identity, account: StorageAccount, key_name: str) -> StorageKey:
        """Give this key a new value; the old one is refused from then on.

        Raises:
            Unavailable: ``applied`` tells whether the key may be a new one now.
            Forbidden, NotFound, Rejected: as ``list_keys``; the key is unchanged.
        """
        ...

    def prove(self, acting: Identity, account: StorageAccount, key: StorageKey) -> bool:
        """One request to the account's blob service, signed with ``key`` (``key1`` and ``key2`` only).

        Returns: whether it proves anything: False when the account permits no Shared Key
        (``KeyBasedAuthenticationNotPermitted``) or has no blob service that could be asked.

        Raises:
            Forbidden: ``AzureAuthFailed``: the account refuses the key.
            Unavailable: no usable answer.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An Entra user as read now. None: the acting identity may not read it, which the least grant for setting a
    password (features 3.9) may not for any of it."""

    object_id: str | None
    username: str
    synchronised: bool | None
    """Mastered in an on-premises directory: its password cannot be set here."""
    roles: tuple[str, ...] | None
    """Directory roles by display name: an administrator's password needs a role above his."""


class SignIn(StrEnum):
    """What a sign-in that was not refused says about the password."""

    ACCEPTED = "accepted"
    DEMANDED_MORE = "demanded-more"  # AADSTS50076, 53003 and their like come after a correct password (F50)


class Users(Protocol):
    """Users' passwords in Microsoft Graph and at the login endpoint. SDK retries are off."""

    def get_user(self, acting: Identity, username: str) -> User:
        """Raises: NotFound ``UserNotFound``; Forbidden ``AzureAuthFailed``, ``AzurePermissionMissing``; Unavailable."""
        ...

    def is_federated(self, acting: Identity, username: str) -> bool:
        """Whether the user's domain signs in somewhere else than in Entra, which then knows no password of his. Raises:
        Unavailable."""
        ...

    def set_password(self, acting: Identity, username: str, password: SecretText) -> None:
        """Set it, with no forced change at the next sign-in. Setting the same once more is harmless.

        Raises:
            Rejected: ``PasswordPolicyInvalid``: Entra's rules refuse this very password; another one may do.
            NotFound: ``UserNotFound``.
            Forbidden: ``AzureAuthFailed``; ``AzurePermissionMissing``, naming permission, and the role for
                administrators (F49).
            Unavailable: ``applied`` tells whether it may be set now.
        """
        ...

    def change_password(self, client: Identity, username: str, present: SecretText, password: SecretText) -> None:
        """Sign in as the user through ``client`` and change the own password. Raises as ``set_password``, and Forbidden
        ``AzureAuthFailed`` with ``details["aadsts"]`` when the sign-in is refused or demands more."""
        ...

    def sign_in(self, client: Identity, username: str, password: SecretText) -> SignIn:
        """One sign-in on a fresh connection.

        Raises:
            Forbidden: ``AzureAuthFailed`` with ``details["aadsts"]``: 50126 is a wrong password, others say that the
                tenant allows no such sign-in at all. ``TargetHasNoClientSecret``: nor does this client, nothing was
                sent.
            NotFound: ``UserNotFound``.
            Unavailable: no usable answer, or the account is locked for a while.
        """
        ...


# --- the store ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to work on a rotation: its row and the permit of its lane, until the lease runs out."""

    rotation_id: str
    lane: str
    worker: str
    fence: int
    permit_fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneClaim:
    """The permit of a lane without a rotation: reconcile's right to write to one Azure object."""

    lane: str
    worker: str
    permit_fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a step did not succeed, as stored."""

    code: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSwitch:
    """A Target's new client secret, sealed for its row and version.

    Args:
        keep: How many of its versions are kept, this one among them.
    """

    target_id: str
    version: int
    client_secret_id: str
    sealed_secret: SealedBytes
    keep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """All that changes when a version becomes current; computed in ``domain.rotation``, applied in one transaction.

    Args:
        version_id: The pending version that becomes ``current``.
        replaced_version_id: The version that was current, which becomes ``previous`` until ``retire_at``; or None.
        retire_early: Older previous versions still valid, to be retired now: the third-secret rule (features 3.6). The
            open ``published`` rotations that wait for them get ``next_attempt_at = published_at`` with it.
        revoked: Versions that Azure refuses since the new credential was made, the replaced one perhaps among them.
        target: The Target whose own secret this is; it and everything on it use the new one from now on.
        pruned: Versions of the past that are forgotten with it (features 3.4).
        unproven: Why the new credential is published without a proof; shown as the item's last error.
        counted_from: See ``RotatedSecret``.
        next_attempt_at: When this rotation goes on (``retire_at``, or ``published_at`` if there is nothing to retire).
    """

    version_id: str
    replaced_version_id: str | None
    retire_at: datetime | None
    retire_early: tuple[str, ...]
    revoked: tuple[str, ...] = ()
    pruned: tuple[str, ...] = ()
    target: TargetSwitch | None = None
    unproven: Failure | None = None
    published_at: datetime
    counted_from: datetime
    next_rotation_at: datetime | None
    next_attempt_at: datetime
    events: tuple[Event, ...]
    audit: AuditLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What goes to a forwarder in one call, and the right to send it until the lease runs out.

    Args:
        deliveries: In the order of the events: one, or of a periodic forwarder all that are due.
    """

    forwarder: Forwarder
    deliveries: tuple[Delivery, ...]
    events: tuple[Event, ...]
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Postponement:
    """A delivery that failed.

    Args:
        next_attempt_at: When to try again; None: it is given up.
    """

    event_id: str
    next_attempt_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a forwarder has still to send, and what it could not.

    Args:
        error_code: Of the latest try among those, with ``error_text``.
    """

    pending: int = 0
    given_up: int = 0
    delivered_at: datetime | None = None
    error_code: str | None = None
    error_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminder:
    """An item and what is planned of its reminders.

    Args:
        planned_for: The due instant they were planned for; another one than the item's, or None: they are not.
        at: When the next of them is to be told; None: none is.
    """

    item: RotatedSecret
    planned_for: datetime | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reminded:
    """What becomes of it: events to tell now, and when the next one comes, for the item's present due instant."""

    found: Reminder
    next_at: datetime | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An operation and what its next step is decided by and works with, as one snapshot has it.

    Args:
        item: None: it is gone, and so are its versions.
        versions: As ``UnitOfWork.versions`` has them.
        target: The item's; perhaps a tombstone.
        mint: The operation's latest attempt to mint, unless Azure refused that for certain.
    """

    rotation: Rotation
    item: RotatedSecret | None
    versions: tuple[Version, ...]
    target: Target | None
    mint: Mint | None


class UnitOfWork(Protocol):
    """The store, one method per state change, each one transaction.

    Raises, any method: Unavailable ``StoreUnavailable`` (full, locked, unreachable: nothing was changed), Corrupt.
    """

    # identity
    def store_id(self) -> str: ...

    def close(self) -> None:
        """Give the connections back."""
        ...

    # targets
    def insert_target(self, target: Target, audit: AuditLine) -> None:
        """Raises: Conflict ``NameConflict``."""
        ...

    def update_target(
        self,
        target: Target,
        audit: AuditLine,
        *,
        keep: int = ...,
        although_in_use: bool = False,
        take_up: bool = False,
    ) -> None:
        """Replace the row of revision ``target.revision - 1``; a tombstone only while no item has this Target, unless
        ``although_in_use``. A new ``version`` is kept beside the ``keep - 1`` before it. With ``take_up`` what failed
        on it is due: a parked rotation is ``planned`` again, one that backs off need not wait.
        Raises: Conflict ``ItemLocked``, ``NameConflict``, ``TargetInUse``."""
        ...

    def target_versions(self, target_id: str) -> Sequence[TargetVersion]:
        """The client secrets that the Target has and had, oldest first, as far as they are kept."""
        ...

    def find_target(self, *, name: str | None = None, target_id: str | None = None) -> Target | None:
        """By exactly one of both; a tombstone only by id."""
        ...

    def list_targets(self) -> Sequence[Target]: ...

    # items
    def insert_item(
        self,
        item: RotatedSecret,
        version: Version | None,
        rotation: Rotation,
        audit: AuditLine,
        *,
        holdings: Collection[str] = (),
    ) -> None:
        """Item, its first rotation (``done`` already when nothing is to be minted), the adopted version and what it
        holds (``domain.kinds.holdings``), at once.

        Raises:
            Conflict: ``NameConflict`` (the unique name), ``CredentialAlreadyManaged`` (the unique keyId among versions
                that are not revoked, the unique holding).
        """
        ...

    def update_item(
        self,
        item: RotatedSecret,
        audit: AuditLine,
        *,
        holdings: Collection[str] | None = None,
        take_up: bool = False,
    ) -> None:
        """Replace the settings of the row whose revision is ``item.revision - 1``, and with ``holdings`` what it holds.
        ``take_up``: as ``update_target``.
        Raises as ``update_target``, and Conflict ``CredentialAlreadyManaged``."""
        ...

    def find_item(self, *, name: str | None = None, item_id: str | None = None) -> RotatedSecret | None:
        """By name: ``creating``, ``active`` or ``deleting`` ones (one at most). By id: any."""
        ...

    def list_items(self, *, target_id: str | None = None, app_id: str | None = None) -> Sequence[RotatedSecret]:
        """All, in any state, by name; those of a Target, or of an application."""
        ...

    def standings(self, *, prefix: str = "", after: str = "", limit: int = 1_000) -> Sequence[Standing]:
        """Up to ``limit`` items that are ``active`` or ``deleting``, by name, in one statement: of those whose names
        begin with ``prefix`` the next ones after the name ``after``."""
        ...

    def census(self, now: datetime) -> Census:
        """The store in numbers at ``now``: one snapshot, a few statements, however many items there are."""
        ...

    def to_tell(
        self, *, ends_until: datetime, neglected_since: datetime | None, after: str = "", limit: int
    ) -> Sequence[str]:
        """Ids of items of which there may be something to tell, in order, the next ones after ``after``: whose present
        credential ends until then, whose rotation is parked, or who were not rotated or not read since then (None: that
        is nobody's concern)."""
        ...

    def standings_of(self, item_ids: Collection[str]) -> Sequence[Standing]:
        """These items, as ``standings`` has them."""
        ...

    def holder(self, holding: str) -> str | None:
        """The id of the item that holds this (``domain.kinds.holdings``)."""
        ...

    def item_known(self, item_id: str) -> bool:
        """Whether the journal has ever seen this item (features 3.16)."""
        ...

    def versions(self, item_id: str) -> Sequence[Version]:
        """All rows of the item, by number, abandoned ones included."""
        ...

    def record_read(self, item_id: str, audit: AuditLine) -> None:
        """A get-value: ``accessed_at`` and its audit line."""
        ...

    def drop_version(self, version: Version, audit: AuditLine) -> None:
        """Forget a version of which nothing is to be removed in Azure. Raises: Conflict ``ItemLocked``, it changed."""
        ...

    # folders
    def insert_folder(self, folder: Folder, audit: AuditLine) -> None:
        """Raises: Conflict ``NameConflict``."""
        ...

    def update_folder(self, folder: Folder, audit: AuditLine) -> None:
        """Replace the row of revision ``folder.revision - 1``. Raises: Conflict ``ItemLocked``."""
        ...

    def find_folder(self, name: str) -> Folder | None: ...

    def list_folders(self) -> Sequence[Folder]: ...

    def delete_folder(self, folder: Folder, audit: AuditLine) -> None:
        """Forget the row of this revision. Raises: Conflict ``ItemLocked``."""
        ...

    def move(self, items: Sequence[RotatedSecret], folders: Sequence[Folder], audit: Sequence[AuditLine]) -> None:
        """New names for all of these, in this order, or for none. Raises: Conflict ``ItemLocked``, ``NameConflict``."""
        ...

    # the account
    def account(self) -> Account: ...

    def update_account(self, account: Account, audit: AuditLine) -> None:
        """Replace the settings of revision ``account.revision - 1``. Raises: Conflict ``ItemLocked``."""
        ...

    # audit and events
    def write_audit(self, audit: AuditLine) -> None: ...

    def audit_lines(
        self, *, path: str | None = None, since: datetime | None = None, action: str | None = None
    ) -> Sequence[AuditLine]: ...

    def events(self) -> Sequence[Event]: ...

    def latest_events(self, item_ids: Collection[str], kinds: Collection[str]) -> Mapping[str, Event]:
        """Of each item that has one its newest event of these types, by item id."""
        ...

    # forwarders
    def insert_forwarder(self, forwarder: Forwarder, audit: AuditLine) -> None:
        """From now on whatever writes an event writes its delivery to this forwarder, too, if it wants the event.
        Raises: Conflict ``NameConflict``."""
        ...

    def update_forwarder(self, forwarder: Forwarder, audit: AuditLine, *, take_up: bool = False) -> None:
        """Replace the row of revision ``forwarder.revision - 1``; with ``take_up`` what failed is due at
        ``modified_at``. Raises: Conflict ``ItemLocked``, ``NameConflict``."""
        ...

    def delete_forwarder(self, forwarder: Forwarder, audit: AuditLine) -> None:
        """Forget the row of this revision and its deliveries, sent or not. Raises: Conflict ``ItemLocked``."""
        ...

    def find_forwarder(self, name: str) -> Forwarder | None: ...

    def list_forwarders(self) -> Sequence[Forwarder]:
        """By name."""
        ...

    def backlogs(self) -> Mapping[str, Backlog]:
        """By forwarder id; a forwarder that nothing was ever for is missing."""
        ...

    def next_delivery_at(self) -> datetime | None:
        """When the next delivery is due that nobody works on; None: nothing waits."""
        ...

    def claim_parcel(self, worker: str, now: datetime) -> Parcel | None:
        """Take the lease of what has been due longest, of a periodic forwarder with all else of it that is due, 500 at
        most. None: nothing is due that nobody works on."""
        ...

    def record_delivered(self, parcel: Parcel, at: datetime) -> None:
        """It was taken. What another worker holds by now, or was deleted, is left alone."""
        ...

    def record_failed(
        self,
        parcel: Parcel,
        failed: Sequence[Postponement],
        failure: Failure,
        *,
        at: datetime,
        others_at: datetime | None = None,
    ) -> int:
        """It was not taken. ``others_at``: nothing gets through to this forwarder; what else of it is due waits until
        then, or is given up if that has gone on for 24 hours.
        Returns: how many of these were given up."""
        ...

    def drop_deliveries(self, before: datetime) -> int:
        """Forget deliveries that were sent or given up before. The events stay. Returns: how many."""
        ...

    # journal, read
    def get_rotation(self, rotation_id: str) -> Rotation | None: ...

    def situation(self, rotation_id: str) -> Situation | None:
        """Asked before each step: a transaction for each part of it would cost more than the step."""
        ...

    def open_rotations(self, *, item_id: str | None = None) -> Sequence[Rotation]:
        """Rotations that are neither ``done`` nor closed, oldest first."""
        ...

    def operations(self, mint_ids: Collection[str]) -> Mapping[str, Rotation]:
        """Mint id -> the rotation that attempted it; ids that the journal does not know are missing."""
        ...

    def held_key_ids(self, key_ids: Collection[str]) -> Mapping[str, str]:
        """keyId -> item_id for those that a version row that is not revoked holds. keyIds compare without case."""
        ...

    # journal, write
    def insert_rotation(self, rotation: Rotation) -> Rotation:
        """Insert, or return the row to attach to: the same idempotency key, or the item's one rotation that is not
        published yet (``planned`` to ``proving``, or ``failed`` and not closed). ``revoke_now`` is handed on to it."""
        ...

    def begin_delete(self, rotation: Rotation, *, revision: int, keep_only_copy: bool = False) -> Rotation:
        """The item becomes ``deleting`` (if its revision is still this one and no other rotation of it is running under
        a live lease), the delete operation is inserted (or the open one returned) and the item's other rotations are
        closed; with ``keep_only_copy`` not if one of them has minted, or may have, and is not published: what it made
        is the only valid value. Raises: Conflict ``ItemLocked``."""
        ...

    def begin_version_delete(self, rotation: Rotation, *, revision: int) -> Rotation:
        """Insert the operation that retires and forgets ``replaced_version_id``, due from now on, or return the
        open one for it; while the item's revision is still this one. Raises: Conflict ``ItemLocked``."""
        ...

    def claim(self, rotation_id: str, worker: str, now: datetime) -> Claim | None:
        """Take the rotation's lease and its lane's permit in one transaction: when the rotation is open, its
        ``next_attempt_at`` has passed, its lease and the permit are free or run out by the *database's* clock, and the
        pauses of its lane, tenant and subscription are over (``domain.kinds.pauses``). None otherwise."""
        ...

    def extend(self, claim: Claim | LaneClaim) -> None:
        """Extend lease and permit in one commit. Raises: LeaseLost."""
        ...

    def release(self, claim: Claim | LaneClaim) -> None:
        """Give lease and permit back at once; a lost one is not an error."""
        ...

    def hold_lane(self, lane: str, until: datetime) -> None:
        """Nobody claims in this lane, or in any lane that obeys the pause of this name, before ``until``: Retry-After.
        Never shortens a hold."""
        ...

    def paused_until(self, lane: str, tenant_id: str | None) -> datetime | None:
        """When the longest pause that this lane obeys ends, perhaps long ago; None: there never was one."""
        ...

    def claim_lane(
        self, lane: str, worker: str, now: datetime, *, tenant_id: str | None = None
    ) -> LaneClaim | None: ...

    def insert_adoption(self, rotation: Rotation, version: Version) -> None:
        """An update adopts another credential: a rotation that starts in ``minted`` with its pending, adopted version.
        A parked rotation of the item that has nothing left to clean up is closed by it (features 3.2).

        Raises:
            Conflict: ``ItemLocked`` when the item has an unpublished rotation, ``CredentialAlreadyManaged``.
        """
        ...

    def correct_value(self, item: RotatedSecret, version: Version, audit: AuditLine) -> None:
        """Replace ``sealed_value`` (and ``number``, when one without value gets its first) of this version, and the
        item's row as ``update_item`` does."""
        ...

    def lanes(self) -> Sequence[str]:
        """Every lane the journal knows."""
        ...

    def has_minted(self, item_id: str) -> bool:
        """Whether any operation of the item ever attempted to mint."""
        ...

    def hasten(self, rotation_id: str, at: datetime) -> None:
        """Somebody asks for it now: an operation that backs off, and that nobody works on, is due at ``at``. A lane's
        pause stays, and so does the date of a retirement."""
        ...

    def withdraw_create(self, rotation_id: str, audit: AuditLine, at: datetime) -> bool:
        """Drop the item of a create that is ``planned`` and not worked on: nothing of it is in Azure, so the lane's
        permit is not needed. Returns: whether it was so."""
        ...

    # the scheduler's part of the journal
    def unplanned(self, now: datetime, limit: int) -> Sequence[tuple[RotatedSecret, Target]]:
        """Items that are due, and whose rotation nobody has planned yet, the longest due first; with their Targets, of
        deleted ones what is left."""
        ...

    def due_by_hour(self, since: datetime, until: datetime, *, after: str = "", limit: int) -> Sequence[RotatedSecret]:
        """Items with an hour that are due from the one instant to the other, by due instant and id; at ``since`` only
        those after the id ``after``."""
        ...

    def move_due(self, item: RotatedSecret, at: datetime) -> bool:
        """The item is due at ``at`` instead of its ``next_rotation_at``, with the same reminders. Returns: whether it
        was still due then."""
        ...

    def plan(self, rotations: Sequence[Rotation], events: Sequence[Event]) -> Sequence[Rotation]:
        """Insert those that serve an item's present due instant and that nobody inserted before, each at a slot of its
        budget (``domain.budget``), in one transaction. Where the item has an unpublished rotation, that one serves it.
        With each its event, by item.
        Returns: What was inserted, with ``next_attempt_at``."""
        ...

    def due(self, now: datetime, limit: int) -> Sequence[str]:
        """Ids of open rotations that are due and that nobody works on, the longest due first, one a lane: the others of
        a lane have to wait for it."""
        ...

    def postpone_paused(self, now: datetime) -> int:
        """What is due and whose tenant, subscription or object is asked to pause, is due at slots after the pause: so
        that a crowd neither is looked at in vain nor comes back at once. Returns: how many."""
        ...

    def next_due(self) -> datetime | None:
        """When the next item is due or the next open rotation goes on, perhaps long ago; None: never."""
        ...

    def reminders(self, now: datetime, limit: int) -> Sequence[Reminder]:
        """Items whose reminders are to be planned anew, for their due instant or their settings changed, and those with
        one that is due: no more than ``limit`` of each."""
        ...

    def remind(self, reminded: Sequence[Reminded]) -> Sequence[Reminded]:
        """Put their events into the outbox and write down what comes next, in one transaction, where the item is still
        as it was found. Returns: of which items."""
        ...

    def tell_once(self, told: Sequence[Event]) -> Sequence[Event]:
        """Put those into the outbox whose ``event_id`` is not in it. Returns: which."""
        ...

    def take_turn(self, name: str, now: datetime, every: timedelta) -> bool:
        """Whether it is this process that does, at ``now``, what is done once in so long."""
        ...

    def take_sweeps(self, now: datetime, *, again_at: datetime, limit: int) -> Sequence[str]:
        """Lanes of applications that are to be looked at for orphans by ``now``, the longest due first. Who gets them
        looks; they are due again at ``again_at``, unless he has called ``swept`` by then. They are due at first when
        ``domain.ownership.SWEPT_AFTER`` has passed since an operation made a step in them."""
        ...

    def swept(self, claim: LaneClaim) -> None:
        """The lane was looked at, and need not be looked at again before somebody works in it. Nothing happens where
        the claim is lost."""
        ...

    # the fenced state changes of a rotation
    def resume(self, claim: Claim, at: datetime, *, due_at: datetime | None = ..., by_hand: bool = ...) -> None:
        """``failed`` -> ``planned``: same operation, ``attempts`` 0, ``next_attempt_at`` = ``at``; it serves ``due_at``
        from now on. ``by_hand``: the schedule no longer asks for it, a person does."""
        ...

    def park(self, claim: Claim, until: datetime, at: datetime) -> None:
        """``failed`` and cleaned up: ``parked``, with ``next_attempt_at`` = ``until``."""
        ...

    def withdraw(self, claim: Claim, at: datetime) -> None:
        """-> ``failed`` and closed: the schedule asked for it and no longer does. Should it ask for the same due
        instant again, that is another rotation."""
        ...

    def begin_minting(self, claim: Claim, at: datetime, mint: Mint) -> None:
        """-> ``minting`` with ``mint_uncertain``: the intent, committed before the Azure call. ``mint`` is in the
        journal from now on; its id stamps what this one attempt mints."""
        ...

    def find_mint(self, mint_id: str) -> Mint | None: ...

    def mint_settled(self, claim: Claim, at: datetime, *, refused: bool) -> None:
        """Nothing of this operation is in Azure that no version holds: ``mint_uncertain`` is cleared; with ``refused``
        (Azure said so itself) ``mint_id`` too."""
        ...

    def store_pending(self, claim: Claim, version: Version, proof_deadline_at: datetime, at: datetime) -> None:
        """-> ``minted``: the version is inserted as pending, ``mint_uncertain`` cleared, ``confirmations`` 0."""
        ...

    def record_proof(
        self, claim: Claim, *, successes: int, refusal: Failure | None, next_attempt_at: datetime, at: datetime
    ) -> None:
        """-> ``proving`` with this many successes in a row. Azure answered: ``attempts`` is 0; ``refusal`` is kept as
        the rotation's error, None clears it."""
        ...

    def publish(self, claim: Claim, publication: Publication) -> None:
        """-> ``published``. The item becomes ``active``, its status ``RotationSucceeded``, its error and its
        ``sealed_login`` are cleared; events and audit are written."""
        ...

    def begin_retiring(self, claim: Claim, at: datetime) -> None:
        """-> ``retiring``: committed before the first removal."""
        ...

    def cut_short(self, claim: Claim, version_ids: Sequence[str], at: datetime) -> None:
        """These previous versions are due for retirement at ``at``, before their time; the state stays. Committed
        before such a removal."""
        ...

    def record_absence(
        self, claim: Claim, *, confirmations: int, attempts: int, next_attempt_at: datetime, at: datetime
    ) -> None:
        """So many reads in a row agree that something is gone; ``attempts`` is stored as given."""
        ...

    def finish_retiring(
        self,
        claim: Claim,
        version_ids: Sequence[str],
        at: datetime,
        *,
        done: bool,
        audit: AuditLine | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """These versions are ``revoked`` (their sealed values stay as history). ``done``: the rotation is -> ``done``,
        and a ``RotationPartialSucceeded`` of its item becomes ``RotationSucceeded``; a ``delete-version`` forgets its
        version."""
        ...

    def defer(
        self,
        claim: Claim,
        failure: Failure,
        *,
        attempts: int,
        next_attempt_at: datetime,
        status: str | None,
        at: datetime,
        events: Sequence[Event] = (),
    ) -> None:
        """The state stays; try again at ``next_attempt_at``. ``status`` (a ``RotatorStatus``) and the failure are shown
        on the item unless it is None."""
        ...

    def fail(
        self,
        claim: Claim,
        failure: Failure,
        *,
        events: Sequence[Event] = (),
        audit: AuditLine,
        undo_item: bool,
        at: datetime,
    ) -> None:
        """-> ``failed``; a pending version becomes ``abandoned``; the item shows the failure, or, with ``undo_item``,
        becomes ``undoing`` (its name is free). ``next_attempt_at`` = ``at``: what is left to clean up is due now."""
        ...

    def drop_abandoned(self, claim: Claim, version_id: str, at: datetime) -> None:
        """The abandoned credential is gone from Azure: its row is deleted, its number free."""
        ...

    def drop_item(self, claim: Claim, audit: AuditLine | None, at: datetime) -> None:
        """The item's row and versions are deleted; the rotation is ``done`` (a delete) or ``failed`` and closed."""
        ...

    def cancel_delete(self, claim: Claim, failure: Failure, audit: AuditLine, at: datetime) -> None:
        """Azure refused: the item is ``active`` again, the operation ``failed`` and closed."""
        ...

    def cancel_version_delete(self, claim: Claim, failure: Failure, audit: AuditLine, at: datetime) -> None:
        """Azure refused: the version stays and has its old date, the operation is ``failed`` and closed."""
        ...


# --- rotators -----------------------------------------------------------------------------------------------------


class Removal(StrEnum):
    """What became of a credential that was to be removed."""

    REMOVED = "removed"
    ABSENT = "absent"  # Azure says it is not there; a read may lag: look again before believing it
    LISTED = "listed"  # Azure says both: not there to remove, and there to list


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One operation as a rotator sees it.

    Args:
        acting: Who does the work.
        current: The item's current version, if it has one.
        present: Its value.
        earlier: The evidence of this operation's latest attempt to mint, unless Azure refused that for certain. A
            password that may have been set is the only copy of a key: it is tried again, never replaced by another.
        guard: Call it right before each Azure write: it extends the lease in the store, or raises ``LeaseLost``.
        whole_item: A delete: every stamp of this item is ours to remove, not only those of ended operations.
    """

    rotation: Rotation
    item: RotatedSecret
    target: Target
    store_id: str
    acting: Identity
    current: Version | None
    present: SecretText | None
    earlier: SecretText | None
    guard: Callable[[], None]
    whole_item: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a rotator found before it mints, and what it will need to tell afterwards whether it did.

    Args:
        object_id: The object's id in Azure.
        slot: The storage key to regenerate; of a client secret ``SERVICE_PRINCIPAL`` where it is to be made there.
        evidence: Of a password the candidate, of a storage key the value before; sealed in the journal before the mint.
        seen_at: Of a storage key the creation time before.
        longest_life_days: The tenant's limit for client secrets, where there is one and it may be read.
        not_before: Minting now would break who still uses another credential of the object; ``pause`` says why.
    """

    object_id: str
    slot: str | None = None
    evidence: SecretText | None = None
    seen_at: datetime | None = None
    longest_life_days: int | None = None
    not_before: datetime | None = None
    pause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new credential."""

    key_id: str
    value: SecretText
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What is known of a mint whose outcome was not.

    Args:
        minted: It happened, and this is what it made.
        absent: Nothing of it is seen; repeated looks must agree, since Azure's reads may lag.
    """

    minted: Minted | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """An existing credential that an item begins with.

    Args:
        value: None: known by name only, there is no value before the first rotation.
    """

    key_id: str
    value: SecretText | None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a dry run looks at: an item that may not be stored yet, and the credential given for it.

    Args:
        acting: Who will do the work.
        given: The value given with the arguments, resolved.
    """

    item: RotatedSecret
    target: Target
    acting: Identity
    given: SecretText | None


class Rotator(Protocol):
    """The procedure for one kind of credential: every verb may run twice, each first asks whether it was done."""

    def examine(self, subject: Subject) -> Adoption | None:
        """Whether the rotation can work, by reads only: login, grants, ownership, the object, the given value.

        Returns: What the item begins with; None when its first credential is to be minted.

        Raises:
            Forbidden, NotFound, Rejected, Unavailable: Nothing was changed.
        """
        ...

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        """The value that Azure has now for this credential; None where Azure tells nobody.

        Raises:
            Forbidden, NotFound, Unavailable: It could not be asked.
        """
        ...

    def prepare(self, job: Job) -> Plan:
        """Read the object and clear it of this store's orphans."""
        ...

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        """Ask Azure for a new credential, stamped with this mint where Azure has room for a stamp.

        Raises:
            Unavailable: ``applied`` tells whether it may exist now.
            Forbidden, NotFound, Rejected: certain refusals; nothing was made.
        """
        ...

    def recover(self, job: Job, mint: Mint) -> Recovery:
        """After a mint whose outcome is unknown: find out, and where its value is lost, undo it."""
        ...

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        """That Azure accepts the new credential.

        Raises:
            Forbidden: It does not (yet).
            Unavailable: No usable answer.
        """
        ...

    def remove(self, job: Job, key_id: str) -> Removal: ...

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        """Whether ``remove`` would be let for these, by reads only; an object that is gone stands in nobody's way.

        Raises:
            Forbidden, NotFound, Unavailable: It would not, or that cannot be told.
        """
        ...

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        """A delete: remove what else carries this item's stamp."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An item as a checker sees it.

    Args:
        acting: Who would rotate it.
        current: Its current version, if it has one.
        present: That version's value.
    """

    item: RotatedSecret
    target: Target
    acting: Identity
    current: Version | None
    present: SecretText | None
    now: datetime


class Checker(Protocol):
    """What can be told about one kind of credential before it is rotated; reads only."""

    def need(self, target: Target, acting: Identity, grants: Grants) -> Finding:
        """Whether the Target may do what this kind takes, as far as that can be told without an item."""
        ...

    def caution(self, item: RotatedSecret, target: Target, acting: Identity) -> Sequence[Finding]:
        """What a person should know before a rotation of the item breaks something; reads no more than that takes.
        Raises: RotatorError, it could not be read."""
        ...

    def inspect(self, subject: Inspection) -> Sequence[Finding]:
        """Everything about an item's object and credential that its rotation depends on."""
        ...


# --- telling people -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One call to a receiver.

    Args:
        events: What it tells, oldest first; nothing else of the store is in it.
        url: Of a webhook, with ``signing_key`` and, by its ``auth_type``, ``credential``.
        at: The instant of the signature.
    """

    forwarder: Forwarder
    events: tuple[Event, ...]
    at: datetime
    url: SecretText | None = None
    credential: SecretText | None = None
    signing_key: SecretText | None = None


class Notifier(Protocol):
    """Sends events to the receivers of one type of forwarder. One call, nothing is repeated."""

    def send(self, notice: Notice) -> None:
        """Return when the receiver has taken it.

        Raises:
            Rejected: ``DeliveryRefused``: it does not take these very events; others may pass.
            Unavailable: ``DeliveryFailed``: nothing gets through for now; it may have been taken all the same.
        """
        ...


# --- watching -----------------------------------------------------------------------------------------------------


class Dispatcher(Protocol):
    """Who calls ``run(rotation_id)`` for what is due: at least once each; twice, at once or late does no harm."""

    @property
    def in_hand(self) -> int:
        """How many operations this process works on."""
        ...

    @property
    def waiting(self) -> int:
        """How many that were submitted wait for a worker, of this process or another one, since the last look."""
        ...

    @property
    def room(self) -> int:
        """How many more it takes, since the last look."""
        ...

    def look(self) -> None:
        """Find out what others have done meanwhile.

        Raises:
            Unavailable: ``StoreUnavailable``, what it keeps its work in does not answer.
        """
        ...

    def submit(self, rotation_ids: Sequence[str]) -> None:
        """Have these worked on; what there is no room for, or is in hand already, is left out: the rows are the truth,
        and it is named again.

        Raises:
            Unavailable: As ``look``.
        """
        ...

    def close(self) -> None:
        """Take no more, and return when this process works on nothing; what waits is left to others."""
        ...


class Span(Protocol):
    """A piece of work that goes on."""

    def set(self, **fields: object) -> None:
        """What is known of it only by now: its item's ``path``, how it ended, the ``code`` of what failed."""
        ...


class Unwatched:
    """Work that nobody looks at: a ``Span``, and the context manager that ``Observer.span`` answers with."""

    def set(self, **fields: object) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing."""


class Observer(Protocol):
    """Logs, progress, durations. Fields are ids, paths, states and instants; a credential is never passed."""

    def span(self, name: str, **fields: object) -> AbstractContextManager[Span]:
        """Work that begins now and lasts as long as the block: ``rotation``, a run of one, with the ``rotation_id``;
        ``step``, one of its steps. What is noted and told within belongs to it."""
        ...

    def note(self, event: str, **fields: object) -> None:
        """What helps to find a fault."""
        ...

    def tell(self, event: str, **fields: object) -> None:
        """What an operator follows: which rotation began, ended or failed, and why."""
        ...

    def say(self, message: str) -> None:
        """A line for the person who waits in the foreground."""
        ...

    def warn(self, message: str) -> None:
        """What the person must know, also one who wants to hear of nothing else."""
        ...
