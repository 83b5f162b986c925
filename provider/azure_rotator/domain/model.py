"""The nouns of the product as frozen values (features 1.2).

Instants are aware UTC ``datetime`` truncated to seconds (``…_at``). What is sealed says so; what is open is a
``SecretText`` and is never a field of anything here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from azure_rotator.domain.secrettext import SealedBytes


class RotatorType(StrEnum):
    """The procedure for one kind of credential."""

    API_KEY = "api-key"
    TARGET = "target"
    PASSWORD = "password"  # noqa: S105 - the name of a kind, not a password
    STORAGE_ACCOUNT = "azure-storage-account"


class AuthMode(StrEnum):
    """Who acts in a rotation: the credential's own application, or the Target's."""

    USER = "use-user-creds"
    TARGET = "use-target-creds"


class ConnectionType(StrEnum):
    CREDENTIALS = "credentials"
    CLOUD_IDENTITY = "cloud-identity"


class StorageKeyMode(StrEnum):
    """``named``: always the same key. ``alternate``: the unpublished key of the pair, which then is published."""

    NAMED = "named"
    ALTERNATE = "alternate"


class GraceTiming(StrEnum):
    """Where the time lies in which both are valid: ``after`` a due date, or ``before`` it (features 3.6)."""

    AFTER = "after"
    BEFORE = "before"


class ItemState(StrEnum):
    """``creating``: name reserved, invisible. ``undoing``: a failed create, its name is free, reconcile finishes it.
    ``deleting``: a delete was begun; its credentials may be gone."""

    CREATING = "creating"
    ACTIVE = "active"
    DELETING = "deleting"
    UNDOING = "undoing"


class Stage(StrEnum):
    """Stage of a version. ``abandoned``: minted, never published, still to be removed; users never see it."""

    PENDING = "pending"
    CURRENT = "current"
    PREVIOUS = "previous"
    REVOKED = "revoked"
    ABANDONED = "abandoned"


class Origin(StrEnum):
    MINTED = "minted"
    ADOPTED = "adopted"


class Trigger(StrEnum):
    """What asked for the operation. ``delete`` is the operation that removes an item and its credentials,
    ``delete-version`` the one that retires and forgets a single version that is not current."""

    AUTOMATIC = "automatic"
    CATCH_UP = "catch-up"
    MANUAL = "manual"
    CREATE = "create"
    UPDATE = "update"
    READ = "read"
    DELETE = "delete"
    DELETE_VERSION = "delete-version"


class RotationState(StrEnum):
    PLANNED = "planned"
    MINTING = "minting"
    MINTED = "minted"
    PROVING = "proving"
    PUBLISHED = "published"
    RETIRING = "retiring"
    DONE = "done"
    FAILED = "failed"


class ForwarderType(StrEnum):
    WEBHOOK = "webhook"
    EMAIL = "email"


class RunnerType(StrEnum):
    """``immediate``: each event by itself, at once. ``periodic``: those of some hours as one list."""

    IMMEDIATE = "immediate"
    PERIODIC = "periodic"


class WebhookAuth(StrEnum):
    """How a webhook's receiver knows us, besides the signature."""

    USER_PASS = "user-pass"  # noqa: S105 - the name of a way, not a password
    BEARER_TOKEN = "bearer-token"  # noqa: S105 - see above
    CERTIFICATE = "certificate"


class RotatorStatus(StrEnum):
    SUCCEEDED = "RotationSucceeded"
    PARTIAL = "RotationPartialSucceeded"
    FAILED = "RotationFailed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where and as whom to work: a tenant and a privileged application, or the process's cloud identity.

    Args:
        secret_reference: ``env:…``, ``file:…`` or ``keyvault:…``, resolved at each use; exclusive with
            ``sealed_secret``.
        version: Counts the client secrets given for it, from 1 (0 for a cloud identity).
        max_versions: How many of them are kept; with ``keep_prev_version`` as of an item.
        revision: Counts changes of the row; an update names the revision it read.
        deleted: A tombstone: the name is free, the journal still knows the id (features 3.16).
    """

    target_id: str
    name: str
    owner: str
    connection_type: ConnectionType
    tenant_id: str | None
    client_id: str | None
    secret_reference: str | None
    sealed_secret: SealedBytes | None
    description: str
    delete_protection: bool
    version: int
    created_at: datetime
    modified_at: datetime
    client_secret_id: str | None = None
    azure_cloud: str = "AzureCloud"
    subscription_id: str | None = None
    resource_group_name: str | None = None
    resource_name: str | None = None
    max_versions: int | None = None
    keep_prev_version: bool | None = None
    revision: int = 1
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetVersion:
    """A client secret that a Target has or had, as kept for people: what it was, never used by itself.

    Args:
        sealed_secret: Sealed for the Target's row and this version; exclusive with ``secret_reference``.
    """

    target_id: str
    version: int
    secret_reference: str | None
    sealed_secret: SealedBytes | None
    client_secret_id: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that somebody made; those that merely hold items have no row.

    Args:
        name: Its path, e.g. ``/prod``.
        delete_protection: It and everything in it are not deleted.
        revision: Counts changes of the row.
    """

    folder_id: str
    name: str
    description: str
    tags: tuple[str, ...]
    delete_protection: bool
    created_at: datetime
    modified_at: datetime
    revision: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The settings of features 2.5: what items and Targets have that say nothing themselves, and bounds for all.

    Args:
        default_versioning: Whether versions before the current one are kept.
        max_versions: How many are kept; caps every item.
        max_rotation_interval: Days; a bound while ``max_rotation_interval_enable``.
        invalid_characters: Refused in new names.
        usage_event_interval: Days without a read before an event says so; 90 at least.
        revision: Counts changes; 0 until the first one.
    """

    default_versioning: bool = True
    max_versions: int = 10
    items_deletion_protection: bool = False
    max_rotation_interval_enable: bool = False
    max_rotation_interval: int = 365
    password_length: int = 24
    use_capital_letters: bool = True
    use_lower_letters: bool = True
    use_numbers: bool = True
    use_special_characters: bool = True
    invalid_characters: str = ""
    usage_event_enable: bool = False
    usage_event_interval: int = 90
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedSecret:
    """One credential under rotation.

    Args:
        app_id: Application whose client secret rotates (``target``: the Target's own); empty for other kinds.
        api_id: keyId that the user named; None for an item that mints its own from the start.
        username: User principal name (``password``).
        storage_key_name: The key that rotates (``named``), or is published first (``alternate``).
        resource_group_name: With ``resource_name`` the account of the item; both None: the Target's.
        revoke_after: As given, e.g. ``"24h"``; None means the default of features 2.3.
        sealed_login: The secret a ``use-user-creds`` item logs in with before it has a version of its own. It is the
            user's and stays foreign; dropped at the first publication.
        arguments_digest: Digest of the create's arguments, so that a repeated create can be told from another one.
        enabled: Disabled: no read, no rotation, no due date; what was begun is finished.
        max_versions: How many versions are kept, 1-300; None: the account's.
        keep_prev_version: Whether versions before the current one are kept at all; None: as the account says.
        grace_rotation_interval: Days in which both are valid; None with ``grace_rotation``: until the next rotation.
        rotation_hour: 0-23 on the wall clock of ``time_zone`` (IANA name); None: none in particular.
        rotation_offset: The phase of the due days (features 3.5); None: none is kept.
        rotation_event_in: Days before a rotation at which an event reminds of it, the earliest first.
        counted_from: Where an interval with an hour begins: the due instant of a punctual automatic rotation, so that a
            cadence does not drift; else its publication.
        revision: Counts changes of the row.
    """

    item_id: str
    name: str
    owner: str
    state: ItemState
    target_id: str
    rotator_type: RotatorType
    authentication: AuthMode
    app_id: str
    api_id: str | None
    auto_rotate: bool
    rotation_interval: int | None
    revoke_after: str | None
    description: str
    tags: tuple[str, ...]
    delete_protection: bool
    skip_dry_run: bool
    created_at: datetime
    modified_at: datetime
    accessed_at: datetime | None = None
    last_rotation_at: datetime | None = None
    next_rotation_at: datetime | None = None
    rotator_status: RotatorStatus | None = None
    error_code: str | None = None
    error_text: str | None = None
    sealed_login: SealedBytes | None = None
    arguments_digest: str = ""
    username: str | None = None
    storage_key_name: str | None = None
    storage_key_mode: StorageKeyMode | None = None
    resource_group_name: str | None = None
    resource_name: str | None = None
    rotate_on_read: bool = False
    credential_lifetime: int | None = None
    password_length: int | None = None
    use_capital_letters: bool | None = None
    use_lower_letters: bool | None = None
    use_numbers: bool | None = None
    use_special_characters: bool | None = None
    enabled: bool = True
    max_versions: int | None = None
    keep_prev_version: bool | None = None
    grace_rotation: bool = False
    grace_rotation_interval: int | None = None
    grace_rotation_hour: int | None = None
    grace_rotation_timing: GraceTiming | None = None
    rotation_hour: int | None = None
    time_zone: str = "UTC"
    rotation_offset: int | None = None
    rotation_event_in: tuple[int, ...] = ()
    counted_from: datetime | None = None
    revision: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A stored value of an item.

    Args:
        number: From 1. 0 is the adopted credential of an item that has no value yet: known by keyId, never handed out.
            A version that is ``abandoned`` keeps the number it would have had; the number is free again.
        key_id: Client secrets: the keyId. Storage keys: the key's name. Passwords: the user principal name.
        rotation_id: The operation that minted or adopted it.
        expires_note: Why it ends earlier than was wanted.
        retire_at: When a previous version's credential is to be removed from Azure.
    """

    version_id: str
    item_id: str
    number: int
    stage: Stage
    origin: Origin
    key_id: str
    sealed_value: SealedBytes | None
    rotation_id: str
    created_at: datetime
    expires_at: datetime | None = None
    expires_note: str | None = None
    retire_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def in_azure(self) -> bool:
        """Whether its credential may still exist in Azure."""
        return self.stage is not Stage.REVOKED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A row of the journal: one operation, written before each Azure write it makes. Outlives its item.

    Args:
        rotation_id: The operation id; stamps what it mints.
        lane: The Azure object it works on, e.g. ``application:<tenant>:<app id>``; one worker a lane at a time.
        idempotency_key: Unique; a second request with the same key attaches to this row.
        mint_uncertain: An Azure mint may have happened that no version holds: it must be looked for.
        mint_id: The latest attempt to mint.
        confirmations: In ``proving`` the successes in a row; in ``retiring`` the reads in a row that no longer list it.
        attempts: Failures in a row; decides the back-off.
        proof_deadline_at: When an unproven credential is given up.
        replaced_version_id: The version that its publication made ``previous``; of a ``delete-version`` that version.
        revoke_now: Its publication retires the previous one at once (``rotate-secret --revoke-now``).
        closed: ``failed`` with nothing left to clean up and nothing to resume (a failed create, a refused delete).
        due_at: Of an automatic one the due instant that it serves.
        parked: ``failed``, cleaned up, and not tried again before ``next_attempt_at``: the item's next due date, or
            ``NEVER``, until somebody asks for it.
    """

    rotation_id: str
    item_id: str
    lane: str
    trigger: Trigger
    state: RotationState
    idempotency_key: str
    created_at: datetime
    updated_at: datetime
    next_attempt_at: datetime
    mint_uncertain: bool = False
    confirmations: int = 0
    attempts: int = 0
    proof_deadline_at: datetime | None = None
    replaced_version_id: str | None = None
    error_code: str | None = None
    error_text: str | None = None
    closed: bool = False
    fence: int = 0
    mint_id: str | None = None
    revoke_now: bool = False
    due_at: datetime | None = None
    parked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an item stands: beside it what decides about its next rotation. Nothing sealed is in it.

    Args:
        item: Without ``sealed_login``.
        current: Its current version, without the value.
        rotation: Its operation that is not published yet: running, waiting, or parked. There is one at most.
        versions: How many versions it has that people see.
    """

    item: RotatedSecret
    current: Version | None
    rotation: Rotation | None
    versions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mint:
    """An attempt to mint, written before it is made: by it a crash or a lost reply is told from a mint that never was.

    Args:
        mint_id: Stamps a client secret.
        slot: The storage key that is regenerated; ``ports.SERVICE_PRINCIPAL`` for a client secret that is made there.
        sealed_evidence: What tells afterwards whether it happened: of a password the candidate, of a storage key the
            value before.
        seen_at: Of a storage key the creation time before.
    """

    mint_id: str
    rotation_id: str
    slot: str | None = None
    sealed_evidence: SealedBytes | None = None
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """One line of the audit log: who did what to which path (features B-24).

    Args:
        action: ``create_item``, ``rotate_item``, ``get_rotated_secret_value``, … (``AuditAction``).
        result: ``ok`` or an error code.
    """

    at: datetime
    who: str
    action: str
    path: str
    result: str
    details: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A row of the outbox, written in the transaction that publishes or fails a rotation (features 3.8)."""

    event_id: str
    event_type: str
    item_id: str
    item_name: str
    occurred_at: datetime
    trigger: str
    version: int | None
    message: str
    error_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarder:
    """Where events are sent (features 2.4).

    Args:
        every: Hours, 1-24; of a periodic one.
        event_types: Which events; empty: all.
        items_event_source_locations: Globs over the paths of items; with the next one empty: from everywhere.
        targets_event_source_locations: Globs over the paths of Targets.
        url: A webhook's address as it may be shown, without its query, which often holds the receiver's key.
        sealed_url: The whole of it.
        username: With ``auth_type`` ``user-pass``.
        credential_reference: Of the password, token, or certificate with its key; exclusive with
            ``sealed_credential``.
        signing_reference: Of the key that signs a webhook's bodies; exclusive with ``sealed_signing_key``.
        email_to: Addresses.
        include_error: Whether a mail holds the text of an error.
        revision: Counts changes of the row.
    """

    forwarder_id: str
    name: str
    forwarder_type: ForwarderType
    runner_type: RunnerType
    every: int | None
    event_types: tuple[str, ...]
    items_event_source_locations: tuple[str, ...]
    targets_event_source_locations: tuple[str, ...]
    created_at: datetime
    modified_at: datetime
    url: str | None = None
    sealed_url: SealedBytes | None = None
    auth_type: WebhookAuth | None = None
    username: str | None = None
    credential_reference: str | None = None
    sealed_credential: SealedBytes | None = None
    signing_reference: str | None = None
    sealed_signing_key: SealedBytes | None = None
    email_to: tuple[str, ...] = ()
    include_error: bool = False
    revision: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event on its way to a forwarder: a row that was written together with the event.

    Args:
        attempts: Failures in a row; decides the back-off.
        first_attempt_at: When it was tried first, or stood behind another that was.
    """

    forwarder_id: str
    event_id: str
    next_attempt_at: datetime
    attempts: int = 0
    first_attempt_at: datetime | None = None
    attempted_at: datetime | None = None
    delivered_at: datetime | None = None
    given_up_at: datetime | None = None
    error_code: str | None = None
    error_text: str | None = None
