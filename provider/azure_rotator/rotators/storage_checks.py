"""What can be told about a storage account's keys before they are rotated: ``Checker`` of ``azure-storage-account``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from azure_rotator.domain.errors import NotFound, Rejected, RotatorError
from azure_rotator.domain.findings import Finding, asked, failed, ok, unknown, warning
from azure_rotator.domain.kinds import KERBEROS_KEYS, storage_account
from azure_rotator.domain.model import RotatedSecret, StorageKeyMode, Target
from azure_rotator.domain.ports import (
    AccountSettings,
    Grants,
    Identity,
    Inspection,
    StorageAccount,
    StorageKey,
    StorageKeys,
)


class StorageKeyChecker:
    """The ``Checker`` of storage keys."""

    def __init__(self, *, keys: StorageKeys) -> None:
        self._keys = keys

    def need(self, target: Target, acting: Identity, grants: Grants) -> Finding:
        """The role is on the account, not in a token: it is tried by the list of the keys, if the Target names one."""
        subject, check = f'Target "{target.name}"', "storage keys"
        group, name = target.resource_group_name, target.resource_name
        if target.subscription_id is None or group is None or name is None:
            return unknown(
                subject,
                check,
                "the Target names no storage account to try the role on",
                "set subscription_id, resource_group_name and resource_name on the Target; accounts that only its "
                "items name are tried by azure-rotator doctor",
                code="TargetIncomplete",
            )
        account = StorageAccount(subscription_id=target.subscription_id, resource_group=group, name=name)
        try:
            self._keys.list_keys(acting, account)
        except RotatorError as refused:
            return failed(subject, check, refused)
        return ok(subject, check, f"may list the keys of {name}")

    def caution(self, item: RotatedSecret, target: Target, acting: Identity) -> Sequence[Finding]:
        """What the account's settings say, where they may be read (F44, F46, F47). Raises: RotatorError."""
        name = f'item "{item.name}"'
        account = storage_account(item, target)
        settings = self._keys.settings(acting, account)
        if settings is None:
            return ()
        return of_settings(name, item, account, (item.storage_key_name or "key1").lower(), settings)

    def inspect(self, subject: Inspection) -> Sequence[Finding]:
        name = f'item "{subject.item.name}"'
        try:
            account = storage_account(subject.item, subject.target)
            keys = self._keys.list_keys(subject.acting, account)
        except RotatorError as refused:
            return [self._refused(name, subject, refused)]
        key_name = _key_name(subject)
        key = next((one for one in keys if one.name.lower() == key_name), None)
        found = [ok(name, "keys", f"may list the keys of {account.name}"), _value(name, subject, key, account)]
        settings = asked(name, "account", lambda: self._keys.settings(subject.acting, account))
        if isinstance(settings, Finding):
            return [*found, settings]
        if settings is None:
            return [
                *found,
                unknown(
                    name,
                    "account",
                    f"the settings of {account.name} may not be read: whether it takes shared keys, how long its "
                    "shared access signatures live, and whether a directory uses its Kerberos keys",
                    f'give {subject.acting.label} the role "Reader" on the account to have them checked',
                ),
            ]
        return [*found, *of_settings(name, subject.item, account, key_name, settings)]

    def _refused(self, name: str, subject: Inspection, refused: RotatorError) -> Finding:
        if refused.code != "ResourceLocked":
            return failed(name, "keys", refused)
        locks = asked(
            name,
            "locks",
            lambda: self._keys.lock_ids(subject.acting, storage_account(subject.item, subject.target)),
        )
        if isinstance(locks, tuple) and locks:
            remove = f"az lock delete --ids {' '.join(locks)} (a CanNotDelete lock in its place does no harm)"
            refused = type(refused)(refused.code, refused.message, hint=remove)
        return failed(name, "locks", refused)


def of_settings(
    name: str, item: RotatedSecret, account: StorageAccount, key_name: str, settings: AccountSettings
) -> list[Finding]:
    """What the account's settings mean for an item that rotates this key of it."""
    if key_name in KERBEROS_KEYS:
        return [_directory(name, account, key_name, settings)]
    if not settings.shared_key:
        return [
            warning(
                name,
                "shared key access",
                f"storage account {account.name} takes no shared keys: a rotation is verified by the list of keys "
                f"alone, and whoever connects with {key_name} is refused, a Function App's AzureWebJobsStorage too",
                "let them use Entra identities and this item is not needed; or az storage account update --name "
                f"{account.name} --resource-group {account.resource_group} --allow-shared-key-access true",
            )
        ]
    return [ok(name, "shared key access"), _signatures(name, item, key_name, settings)]


def _signatures(name: str, item: RotatedSecret, key_name: str, settings: AccountSettings) -> Finding:
    """Shared access signatures die with the key that signed them, and nobody can list them (F44)."""
    check, period = "shared access signatures", settings.sas_period
    lives = "the account has no policy for how long they live" if period is None else f"they live up to {_told(period)}"
    if item.storage_key_mode is not StorageKeyMode.ALTERNATE:
        return warning(
            name,
            check,
            f"each rotation ends every signature made with {key_name} at once; {lives}",
            "sign with user delegation keys, or rotate the pair in turn: --storage-key-mode alternate",
        )
    interval = timedelta(days=item.rotation_interval) if item.auto_rotate and item.rotation_interval else None
    if period is not None and interval is not None and period <= interval:
        return ok(name, check, f"{lives}, and the key that made them for {_told(interval)} after its successor")
    return warning(
        name,
        check,
        f"a signature made with a key ends when it is that key's turn again; {lives}",
        "sign with user delegation keys, or give the account a SAS expiration period of at most the rotation interval",
    )


def _directory(name: str, account: StorageAccount, key_name: str, settings: AccountSettings) -> Finding:
    if settings.directory is None:
        return failed(name, "directory", not_joined(account.name, key_name))
    return warning(
        name,
        "directory",
        f"{key_name} is the password of the account's identity in its directory ({settings.directory}): shares stop "
        "working when it is rotated and the directory is not told",
        "set the new value as the computer account's password right after each rotation "
        "(Update-AzStorageAccountADObjectPassword does so)",
    )


def not_joined(account: str, key_name: str) -> RotatorError:
    """The error for a Kerberos key of an account that no directory knows (F47)."""
    return NotFound(
        "StorageKeyMissing",
        f"storage account {account} is joined to no directory: its {key_name} opens nothing",
        hint="switch on identity-based access for its file shares first (Active Directory or Entra Kerberos), or "
        "rotate key1 or key2",
    )


def _value(name: str, subject: Inspection, key: StorageKey | None, account: StorageAccount) -> Finding:
    check = "credential"
    if key is None:
        missing = NotFound(
            "StorageKeyMissing",
            f"storage account {account.name} has no {_key_name(subject)}",
            hint="an account has Kerberos keys once it authenticates its file shares by a directory",
        )
        return failed(name, check, missing)
    if subject.present is not None and subject.present != key.value:
        drift = Rejected(
            "AzureAuthFailed",
            f"{key.name} of {account.name} has another value than the one stored here: somebody regenerated it",
            hint=f"azure-rotator reconcile --target {subject.target.name}",
        )
        return failed(name, check, drift)
    return ok(name, check, key.name)


def _key_name(subject: Inspection) -> str:
    """The key that is published; before there is one, the first."""
    named = subject.current.key_id if subject.current else subject.item.storage_key_name
    return (named or "key1").lower()


def _told(period: timedelta) -> str:
    if period >= timedelta(days=1) and not period % timedelta(days=1):
        return f"{period // timedelta(days=1)} days"
    return str(period)
