"""``azure-storage-account``: an access key or a Kerberos key of a storage account.

regenerateKey has no guard against doing it twice, and the second time destroys a value that may have been handed out
(design/azure, trap 10). But keys can be read: before each regeneration the value and its creation time go into the
journal, sealed, and after a lost reply the two are compared with what the account has now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from azure_rotator.domain.errors import Forbidden, NotFound
from azure_rotator.domain.kinds import KERBEROS_KEYS, KERBEROS_PAUSE, other_key, storage_account
from azure_rotator.domain.model import Mint, RotatedSecret, StorageKeyMode
from azure_rotator.domain.ports import (
    Adoption,
    Job,
    Minted,
    Observer,
    PasswordCredential,
    Plan,
    Recovery,
    Removal,
    StorageKey,
    StorageKeys,
    Subject,
)
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.rotators.storage_checks import not_joined

_SIGNING_KEYS = frozenset({"key1", "key2"})


class StorageKeyRotator:
    """The ``Rotator`` for keys of storage accounts."""

    def __init__(self, *, keys: StorageKeys, observer: Observer) -> None:
        self._keys = keys
        self._observer = observer

    def examine(self, subject: Subject) -> Adoption | None:
        account = storage_account(subject.item, subject.target)
        key = _named(self._keys.list_keys(subject.acting, account), _first_key(subject.item), account.name)
        if key.name.lower() in KERBEROS_KEYS:
            settings = self._keys.settings(subject.acting, account)
            if settings is not None and settings.directory is None:
                raise not_joined(account.name, key.name)
        return Adoption(key_id=key.name, value=key.value)

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        account = storage_account(subject.item, subject.target)
        return _named(self._keys.list_keys(subject.acting, account), key_id, account.name).value

    def prepare(self, job: Job) -> Plan:
        account = storage_account(job.item, job.target)
        keys = self._keys.list_keys(job.acting, account)
        slot = self._slot(job)
        present = _find(keys, slot)
        if present is None and _find(keys, other_key(slot)) is None:
            _named(keys, slot, account.name)  # says so
        not_before = _kerberos_pause(keys, slot)
        return Plan(
            object_id=account.name,
            not_before=not_before,
            pause=f"{slot} of storage account {account.name} waits: {other_key(slot)} was regenerated less than "
            f"{KERBEROS_PAUSE // timedelta(hours=1)} hours ago, and tickets made with {slot} may still be in use"
            if not_before
            else "",
            slot=slot,
            evidence=present.value if present else None,
            seen_at=present.created_at if present else None,
        )

    @staticmethod
    def _slot(job: Job) -> str:
        """The key to regenerate; in alternate mode never the one that is published."""
        if job.item.storage_key_mode is StorageKeyMode.ALTERNATE and job.current is not None:
            return other_key(job.current.key_id)
        return _first_key(job.item)

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        slot = plan.slot or _first_key(job.item)
        made = self._keys.regenerate(job.acting, storage_account(job.item, job.target), slot)
        return Minted(key_id=made.name, value=made.value)

    def recover(self, job: Job, mint: Mint) -> Recovery:
        """Another value than before is the one that was made. The same value: it did not happen, and repeated reads
        must agree before the key is regenerated again."""
        slot = mint.slot or self._slot(job)
        key = _find(self._keys.list_keys(job.acting, storage_account(job.item, job.target)), slot)
        if key is None or (job.earlier is not None and key.value == job.earlier):
            return Recovery(absent=True)
        self._observer.note("regenerated key found", path=job.item.name, key_name=slot)
        return Recovery(minted=Minted(key_id=slot, value=key.value))

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        account = storage_account(job.item, job.target)
        key = _named(self._keys.list_keys(job.acting, account), key_id, account.name)
        if key.value != value:
            raise Forbidden(
                "AzureAuthFailed",
                f"{key_id} of storage account {account.name} has another value by now: somebody else regenerated it",
                hint="azure-rotator reconcile takes over the value it has now",
            )
        if key_id in _SIGNING_KEYS:
            self._keys.prove(job.acting, account, key)

    def remove(self, job: Job, key_id: str) -> Removal:
        """A key is not removed: its successor revoked it, or it stays as it is (features 3.10)."""
        return Removal.REMOVED

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        """Nothing is removed."""

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        return ()


def _kerberos_pause(keys: Sequence[StorageKey], slot: str) -> datetime | None:
    """Until when this key must stay, since the other one of the pair has just taken its place (F47). None: at once."""
    if slot not in KERBEROS_KEYS:
        return None
    present, other = _find(keys, slot), _find(keys, other_key(slot))
    if present is None or other is None or other.created_at is None:
        return None
    if present.created_at is not None and present.created_at >= other.created_at:
        return None
    return other.created_at + KERBEROS_PAUSE


def _first_key(item: RotatedSecret) -> str:
    return item.storage_key_name or "key1"


def _find(keys: Sequence[StorageKey], name: str) -> StorageKey | None:
    return next((key for key in keys if key.name.lower() == name), None)


def _named(keys: Sequence[StorageKey], name: str, account: str) -> StorageKey:
    key = _find(keys, name)
    if key is None:
        raise NotFound(
            "StorageKeyMissing",
            f"storage account {account} has no {name}; it has {', '.join(sorted(k.name for k in keys))}",
            hint="Kerberos keys exist on accounts with Active Directory authentication for Azure Files"
            if name.startswith("kerb")
            else "look at the account in the portal",
        )
    return key
