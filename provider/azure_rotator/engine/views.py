"""What the use cases answer: values with the names of features 2.6, never a credential but in ``Value``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime

from azure_rotator.domain import rotation as machine
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import (
    Account,
    Folder,
    Forwarder,
    Origin,
    RotatedSecret,
    RotatorType,
    Stage,
    Target,
    TargetVersion,
    Version,
)
from azure_rotator.domain.parameters import applies
from azure_rotator.domain.ports import Backlog
from azure_rotator.domain.schedule import DAY_SECONDS
from azure_rotator.domain.secrettext import SecretText

Facts = dict[str, object]
Field = str | SecretText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A Target as people and programs see it."""

    target: Target
    store_id: str
    items: tuple[str, ...] = ()
    versions: tuple[TargetVersion, ...] = ()

    def facts(self, *, show_versions: bool = False) -> Facts:
        t = self.target
        versions = [
            {"version": v.version, "client_secret_id": v.client_secret_id, "creation_date": iso(v.created_at)}
            for v in self.versions
        ]
        return {
            **({"target_versions": versions} if show_versions else {}),
            "target_id": t.target_id,
            "target_name": t.name,
            "target_type": "azure",
            "last_version": t.version,
            "target_items_assoc": list(self.items),
            "delete_protection": t.delete_protection,
            "description": t.description,
            "creation_date": iso(t.created_at),
            "modification_date": iso(t.modified_at),
            "owner": t.owner,
            "store_id": self.store_id,
            "azure_tenant_id": t.tenant_id,
            "azure_client_id": t.client_id,
            "azure_cloud": t.azure_cloud,
            "azure_subscription_id": t.subscription_id,
            "azure_resource_group_name": t.resource_group_name,
            "azure_resource_name": t.resource_name,
            "client_secret_id": t.client_secret_id,
            "connection_type": t.connection_type.value,
            "max_versions": t.max_versions,
            "keep_prev_version": t.keep_prev_version,
        }

    def arguments(self) -> Facts:
        """The live arguments that are no credentials, by parameter name."""
        t = self.target
        return {
            "name": t.name,
            "connection_type": t.connection_type.value,
            "tenant_id": t.tenant_id,
            "client_id": t.client_id,
            "client_secret_id": t.client_secret_id,
            "azure_cloud": t.azure_cloud,
            "subscription_id": t.subscription_id,
            "resource_group_name": t.resource_group_name,
            "resource_name": t.resource_name,
            "description": t.description,
            "delete_protection": t.delete_protection,
            "max_versions": t.max_versions,
            "keep_prev_version": t.keep_prev_version,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDetails:
    """A Target with a client secret of it; None for a cloud identity."""

    view: TargetView
    version: int
    secret: SecretText | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetListing:
    """A page of Targets.

    Args:
        next_page: The token of the next page; None: this was the last one.
    """

    targets: tuple[TargetView, ...]
    next_page: str | None = None

    def facts(self) -> Facts:
        rows = [view.facts() for view in self.targets]
        return {"targets": rows, "has_next": self.next_page is not None, "next_page": self.next_page}


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A Rotated Secret as people and programs see it: everything but its value."""

    item: RotatedSecret
    target_name: str
    versions: tuple[Version, ...]
    store_id: str
    next_attempt_at: datetime | None = None

    @property
    def current(self) -> Version | None:
        return machine.current_version(self.versions)

    @property
    def version(self) -> int:
        """The current version's number; 0 while there is no value."""
        return self.current.number if self.current else 0

    @property
    def key_id(self) -> str | None:
        return self.current.key_id if self.current else None

    def brief_facts(self) -> Facts:
        """What tells one item from another."""
        names = ("item_name", "item_id", "item_type", "item_state", "is_enabled", "modification_date")
        every = self.facts()
        return {**{name: every[name] for name in names}, "rotator_type": self.item.rotator_type.value}

    def facts(self, *, show_versions: bool = False) -> Facts:
        i = self.item
        facts: Facts = {
            "item_name": i.name,
            "item_id": i.item_id,
            "item_type": "ROTATED_SECRET",
            "item_metadata": i.description,
            "item_tags": list(i.tags),
            "item_state": i.state.value if i.enabled else "disabled",
            "is_enabled": i.enabled,
            "auto_rotate": i.auto_rotate,
            "rotation_interval": i.rotation_interval,
            "last_rotation_date": iso(i.last_rotation_at),
            "next_rotation_date": iso(i.next_rotation_at),
            "last_version": self.version,
            "delete_protection": i.delete_protection,
            "creation_date": iso(i.created_at),
            "modification_date": iso(i.modified_at),
            "access_date": iso(i.accessed_at),
            "item_targets_assoc": [self.target_name],
            "owner": i.owner,
            "store_id": self.store_id,
            "rotated_secret_details": self._details(),
        }
        if show_versions:
            facts["item_versions"] = [_version_facts(v) for v in self.versions if _shown(v)]
        return facts

    def _details(self) -> Facts:
        i, current = self.item, self.current
        origin = {Origin.MINTED: "platform", Origin.ADOPTED: "user"}
        return {
            "rotator_type": i.rotator_type.value,
            "rotator_creds_type": i.authentication.value,
            "rotator_status": i.rotator_status.value if i.rotator_status else None,
            "last_rotation_error": f"{i.error_code}: {i.error_text}" if i.error_code else None,
            "rotation_hour": i.rotation_hour,
            "time_zone": i.time_zone,
            "rotation_offset": i.rotation_offset,
            "next_rotation_events": [{"seconds_before": days * DAY_SECONDS} for days in i.rotation_event_in],
            "next_attempt_at": iso(self.next_attempt_at),
            "next_auto_rotate_type": self._comes_first(),
            "managed_by": origin[current.origin] if current else None,
            **self._credential(),
            "key_id": self.key_id,
            "expires_at": iso(current.expires_at) if current else None,
            "expires_note": current.expires_note if current else None,
            "max_versions": i.max_versions,
            "keep_prev_version": i.keep_prev_version,
            "skip_dry_run": i.skip_dry_run,
            "rotate_on_read": i.rotate_on_read,
            "password_policy": self._password_policy(),
        }

    def _comes_first(self) -> str | None:
        """What happens next by itself: a ``rotation``, or the end of a ``grace``; None: neither."""
        due = self.item.next_rotation_at
        ends = [v.retire_at for v in self.versions if v.stage is Stage.PREVIOUS and v.retire_at is not None]
        if ends and (due is None or min(ends) <= due):
            return "grace"
        return None if due is None else "rotation"

    def _credential(self) -> Facts:
        """What tells the item's credential from another one, and what only its kind has."""
        shown = {name: value for name, value in self._kind_arguments().items() if name != "api_id"}
        policy = self._password_policy() or {}
        return {name: value for name, value in shown.items() if name not in policy}

    def _password_policy(self) -> Facts | None:
        i = self.item
        if i.rotator_type is not RotatorType.PASSWORD:
            return None
        return {
            "password_length": i.password_length,
            "use_capital_letters": i.use_capital_letters,
            "use_lower_letters": i.use_lower_letters,
            "use_numbers": i.use_numbers,
            "use_special_characters": i.use_special_characters,
        }

    def arguments(self) -> Facts:
        """The live arguments that are no credentials, by parameter name."""
        i = self.item
        return {
            **self._kind_arguments(),
            "name": i.name,
            "target_name": self.target_name,
            "rotator_type": i.rotator_type.value,
            "authentication_credentials": i.authentication.value,
            "auto_rotate": i.auto_rotate,
            "rotation_interval": i.rotation_interval,
            "rotation_hour": i.rotation_hour,
            "time_zone": i.time_zone,
            "rotation_offset": i.rotation_offset,
            "rotation_event_in": list(i.rotation_event_in),
            "description": i.description,
            "tags": list(i.tags),
            "delete_protection": i.delete_protection,
            "max_versions": i.max_versions,
            "keep_prev_version": i.keep_prev_version,
            "skip_dry_run": i.skip_dry_run,
            "rotate_on_read": i.rotate_on_read,
        }

    def _kind_arguments(self) -> Facts:
        """Those of the item's kind."""
        i = self.item
        every: Facts = {
            "app_id": i.app_id or None,
            "api_id": i.api_id,
            "revoke_after": i.revoke_after,
            "grace_rotation": i.grace_rotation or None,
            "grace_rotation_interval": i.grace_rotation_interval,
            "grace_rotation_hour": i.grace_rotation_hour,
            "grace_rotation_timing": i.grace_rotation_timing.value if i.grace_rotation_timing else None,
            "credential_lifetime": i.credential_lifetime,
            "username": i.username,
            "storage_account_key_name": i.storage_key_name,
            "storage_key_mode": i.storage_key_mode.value if i.storage_key_mode else None,
            "explicitly_set_sa": True if i.resource_name else None,
            "resource_group_name": i.resource_group_name,
            "resource_name": i.resource_name,
            **(self._password_policy() or {}),
        }
        return {name: value for name, value in every.items() if applies("secret", name, i.rotator_type)}


def _shown(version: Version) -> bool:
    return version.number > 0 and version.stage is not Stage.ABANDONED


def _version_facts(version: Version) -> Facts:
    return {
        "version": version.number,
        "stage": version.stage.value,
        "key_id": version.key_id,
        "creation_date": iso(version.created_at),
        "expires_at": iso(version.expires_at),
        "retire_at": iso(version.retire_at),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What get-value answers.

    Args:
        secret: The credential itself.
        fields: The named form of features 3.3, it among them; all belong to one version.
    """

    name: str
    item_id: str
    version: int
    stage: str
    rotator_type: str
    secret: SecretText
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationResult:
    """What a rotation came to.

    Args:
        notes: For the person: an older secret that was retired early, until when the previous one stays valid.
    """

    name: str
    version: int
    rotation_id: str
    status: str | None
    key_id: str | None
    notes: tuple[str, ...] = ()

    def facts(self) -> Facts:
        return {
            "name": self.name,
            "version": self.version,
            "rotation_id": self.rotation_id,
            "status": self.status,
            "key_id": self.key_id,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderView:
    """A folder that somebody made.

    Args:
        items: How many items lie in it, at any depth.
    """

    folder: Folder
    items: int

    def facts(self) -> Facts:
        f = self.folder
        return {
            "folder_name": f.name,
            "folder_id": f.folder_id,
            "description": f.description,
            "tags": list(f.tags),
            "delete_protection": f.delete_protection,
            "creation_date": iso(f.created_at),
            "modification_date": iso(f.modified_at),
            "items": self.items,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Old names and the new ones."""

    moved: Mapping[str, str]

    def facts(self) -> Facts:
        return {"moved": [{"from": before, "to": after} for before, after in self.moved.items()]}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """The account's settings, and the items whose interval is above its cap."""

    account: Account
    above_max: tuple[str, ...]

    def facts(self) -> Facts:
        settings = {name: value for name, value in asdict(self.account).items() if name != "revision"}
        return {**settings, "items_above_max_rotation_interval": list(self.above_max)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of items and the folders they lie in.

    Args:
        next_page: The token of the next page; None: this was the last one.
    """

    items: tuple[SecretView, ...]
    folders: tuple[str, ...]
    next_page: str | None = None

    def facts(self, *, minimal: bool = False) -> Facts:
        return {
            "items": [view.brief_facts() if minimal else view.facts() for view in self.items],
            "folders": list(self.folders),
            "has_next": self.next_page is not None,
            "next_page": self.next_page,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """Who may still use the values of an item.

    Args:
        owner: The Pulumi program that made it; empty for the command line.
        versions: Those valid in Azure.
        readers: Who read a value, and when last.
        items: Other items that work with the Target whose secret this is.
    """

    name: str
    owner: str
    versions: tuple[Version, ...]
    readers: Mapping[str, datetime]
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """What a delete did: keyIds revoked in Azure, left there on purpose, and left there by force.

    Args:
        version: The one version that was deleted; -1: the whole item.
    """

    item_id: str
    item_name: str
    version: int = -1
    revoked: tuple[str, ...] = ()
    left_in_azure: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()

    def facts(self) -> Facts:
        return {
            "item_id": self.item_id,
            "item_name": self.item_name,
            "version_deleted": self.version,
            "revoked": list(self.revoked),
            "left_in_azure": list(self.left_in_azure),
            "orphans": list(self.orphans),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkDeletion:
    """What a delete of many did: of each item, and the folders that were made and are gone with them."""

    deletions: tuple[Deletion, ...]
    folders: tuple[str, ...] = ()

    def facts(self) -> Facts:
        return {"items": [one.facts() for one in self.deletions], "folders": list(self.folders)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A secret that reconcile found, or would remove."""

    app_id: str
    key_id: str
    display_name: str | None

    def facts(self) -> Facts:
        return {"app_id": self.app_id, "key_id": self.key_id, "display_name": self.display_name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What reconcile did, or would do.

    Args:
        rotations: Unfinished operations: id, path, state before and after, when the next step is due.
        orphans: Secrets removed (with ``dry_run``: found).
        drifted: Items whose value in Azure was not the stored one; it is their new version now (with ``dry_run``: would
            be).
        problems: What could not be looked at, and why.
    """

    dry_run: bool
    rotations: tuple[Facts, ...] = ()
    orphans: tuple[Orphan, ...] = ()
    drifted: tuple[Facts, ...] = ()
    problems: tuple[Facts, ...] = field(default=())

    def facts(self) -> Facts:
        return {
            "dry_run": self.dry_run,
            "rotations": list(self.rotations),
            "orphans": [o.facts() for o in self.orphans],
            "drifted": list(self.drifted),
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderView:
    """An event forwarder as people and programs see it, with what it has still to send."""

    forwarder: Forwarder
    backlog: Backlog

    def facts(self) -> Facts:
        f, b = self.forwarder, self.backlog
        return {
            "forwarder_id": f.forwarder_id,
            "forwarder_name": f.name,
            "forwarder_type": f.forwarder_type.value,
            "runner_type": f.runner_type.value,
            "every": f.every,
            "event_types": list(f.event_types),
            "items_event_source_locations": list(f.items_event_source_locations),
            "targets_event_source_locations": list(f.targets_event_source_locations),
            "url": f.url,
            "auth_type": f.auth_type.value if f.auth_type else None,
            "username": f.username,
            "email_to": list(f.email_to),
            "include_error": f.include_error,
            "creation_date": iso(f.created_at),
            "modification_date": iso(f.modified_at),
            "pending": b.pending,
            "given_up": b.given_up,
            "last_delivery_date": iso(b.delivered_at),
            "last_error_code": b.error_code,
            "last_error": b.error_text,
        }
