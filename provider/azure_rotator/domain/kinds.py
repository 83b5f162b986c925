"""What the kinds of credential differ in, as facts: the Azure object, what is held, how many proofs, what becomes of
the replaced version. Pure.

    >>> retention(RotatorType.STORAGE_ACCOUNT, StorageKeyMode.NAMED)
    <Retention.REPLACED: 'replaced'>
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from azure_rotator.domain.errors import Reach, Rejected
from azure_rotator.domain.model import AuthMode, RotatedSecret, RotatorType, StorageKeyMode, Target
from azure_rotator.domain.ports import Identity, StorageAccount
from azure_rotator.domain.schedule import overlap
from azure_rotator.domain.secrettext import SecretText

CLIENT_SECRETS = frozenset({RotatorType.API_KEY, RotatorType.TARGET})
PROOFS_IN_A_ROW = 3
"""Of a client secret, on fresh connections (features, decision n)."""

KERBEROS_KEYS = frozenset({"kerb1", "kerb2"})
KERBEROS_PAUSE = timedelta(hours=10)
"""Between the two keys of a pair: a service ticket lives that long at most unless a domain says otherwise ("Maximum
lifetime for service ticket" on learn.microsoft.com). Azure's own words are "several hours" (F47)."""
STORAGE_SUFFIXES = {
    "AzureCloud": "core.windows.net",
    "AzureUSGovernment": "core.usgovcloudapi.net",
    "AzureChinaCloud": "core.chinacloudapi.cn",
}
"""The end of storage accounts' host names, by cloud ("National clouds" on learn.microsoft.com)."""

_PAIRS = {"key1": "key2", "key2": "key1", "kerb1": "kerb2", "kerb2": "kerb1"}


class Retention(StrEnum):
    """What becomes of a replaced credential in Azure."""

    OVERLAP = "overlap"  # both are valid until ``retire_at``, then the old one is removed
    REPLACED = "replaced"  # making the new one revoked the old one
    ALTERNATE = "alternate"  # the other key of the pair stays valid until its turn


def retention(kind: RotatorType, mode: StorageKeyMode | None) -> Retention:
    if kind in CLIENT_SECRETS:
        return Retention.OVERLAP
    return Retention.ALTERNATE if mode is StorageKeyMode.ALTERNATE else Retention.REPLACED


def retention_of(item: RotatedSecret) -> Retention:
    return retention(item.rotator_type, item.storage_key_mode)


def stays_until_the_next(item: RotatedSecret) -> bool:
    """Whether a replaced client secret has no date of its own: the next rotation retires it (features 3.6)."""
    return item.grace_rotation and item.grace_rotation_interval is None


def overlap_of(item: RotatedSecret) -> timedelta:
    """How long a replaced client secret of the item stays valid; the longest it may, where that has no date."""
    if not item.grace_rotation:
        return overlap(item.revoke_after, item.rotation_interval)
    return timedelta(days=item.grace_rotation_interval or item.rotation_interval or 0)


def proofs_in_a_row(item: RotatedSecret) -> int:
    """How many proofs make a credential current: several for client secrets, since front ends of the login endpoint
    learn of a new one at different times (design/azure 2.3). A storage key is listed by the service that made it, and
    of a password one sign-in is enough: each failed one counts towards a lock-out."""
    return PROOFS_IN_A_ROW if item.rotator_type in CLIENT_SECRETS else 1


def other_key(name: str) -> str:
    """The other key of the pair."""
    return _PAIRS[name]


def storage_account(item: RotatedSecret, target: Target) -> StorageAccount:
    """The account of an item: its own, or its Target's; the subscription is always the Target's.

    Raises:
        Rejected: ``TargetIncomplete`` listing what is missing.
    """
    group = item.resource_group_name or target.resource_group_name
    name = item.resource_name or target.resource_name
    subscription = target.subscription_id
    if subscription is None or group is None or name is None:
        parts = {"subscription_id": subscription, "resource_group_name": group, "resource_name": name}
        missing = [part for part, value in parts.items() if value is None]
        raise Rejected(
            "TargetIncomplete",
            f'Target "{target.name}" has no {", ".join(missing)}, which a storage account needs',
            hint="set them on the Target; group and account may also stand on the item, with explicitly_set_sa",
            details={"missing": missing},
        )
    return StorageAccount(subscription_id=subscription, resource_group=group, name=name)


def application_identity(target: Target, app_id: str, secret: SecretText) -> Identity:
    """An application of the Target's tenant with one secret."""
    return Identity(
        tenant_id=target.tenant_id,
        client_id=app_id,
        secret=secret,
        label=f"application {app_id}",
        azure_cloud=target.azure_cloud,
    )


def acts_as_itself(item: RotatedSecret) -> bool:
    """Whether the application logs in with the very secret that rotates."""
    return item.rotator_type is RotatorType.API_KEY and item.authentication is AuthMode.USER


def lane(item: RotatedSecret, target: Target) -> str:
    """The Azure object whose writes are serialised: ``<kind>:<where>:<object>``."""
    if item.rotator_type in CLIENT_SECRETS:
        return f"application:{target.tenant_id}:{item.app_id}"
    if item.rotator_type is RotatorType.PASSWORD:
        return f"user:{target.tenant_id}:{(item.username or '').lower()}"
    return _account_lane(storage_account(item, target), target)


def own_secret(target_id: str) -> str:
    """The holding of the item that rotates a Target's own secret."""
    return f"target:{target_id}"


def pauses(lane: str, tenant_id: str | None) -> dict[Reach, str]:
    """The names of the pauses that work in a lane obeys, by reach: its own, its tenant's, its subscription's.

    >>> pauses("storage:azurecloud:5ub/rg/blobs", "7enant")[Reach.SUBSCRIPTION]
    'subscription:azurecloud:5ub'

    Args:
        lane: As ``lane`` makes it.
        tenant_id: The Target's; a storage account's lane does not name it, and nobody may know it.
    """
    kind, where, what = lane.split(":", 2)
    names = {Reach.OBJECT: lane}
    tenant_id = where if kind in {"application", "user"} else tenant_id
    if tenant_id:
        names[Reach.TENANT] = f"tenant:{tenant_id.lower()}"
    if kind == "storage":
        names[Reach.SUBSCRIPTION] = f"subscription:{where}:{what.split('/', 1)[0]}"
    return names


def holdings(item: RotatedSecret, target: Target) -> tuple[str, ...]:
    """What no second item may manage; a client secret of an application is held by its keyId instead."""
    if item.rotator_type is RotatorType.TARGET:
        return (own_secret(target.target_id),)
    if item.rotator_type is RotatorType.PASSWORD:
        return (lane(item, target),)
    if item.rotator_type is RotatorType.STORAGE_ACCOUNT and item.storage_key_name is not None:
        names = {item.storage_key_name}
        if item.storage_key_mode is StorageKeyMode.ALTERNATE:
            names.add(other_key(item.storage_key_name))
        account = storage_account(item, target)
        return tuple(key_holding(account, target, name) for name in sorted(names))
    return ()


def key_holding(account: StorageAccount, target: Target, key_name: str) -> str:
    """The holding of the item that manages this key of an account in the Target's cloud."""
    return f"{_account_lane(account, target)}/{key_name.lower()}"


def _account_lane(account: StorageAccount, target: Target) -> str:
    # Azure compares the parts of a resource id without case.
    where = f"{account.subscription_id}/{account.resource_group}/{account.name}"
    return f"storage:{target.azure_cloud}:{where}".lower()
