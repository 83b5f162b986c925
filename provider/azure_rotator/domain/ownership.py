"""Which of an application's secrets are this store's orphans. Pure.

An orphan is a secret with *this store's* id, of an operation in *this store's* journal that is not minting, whose keyId
no version holds. A stamp of another store, or of an operation the journal does not know (another store, a restored
backup), is somebody else's credential: listed as such, never removed (features 3.2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from azure_rotator.domain.model import Rotation, RotationState
from azure_rotator.domain.names import Stamp, parse_stamp
from azure_rotator.domain.ports import PasswordCredential

SWEPT_AFTER = timedelta(days=1)
"""An application is looked at for orphans so long after somebody began to work on it. Where nobody has, there are none
that were not there at the last look."""

# An operation in one of these may be about to store what it minted: its own recovery decides, nobody else.
_MINTING = frozenset({RotationState.PLANNED, RotationState.MINTING, RotationState.MINTED, RotationState.PROVING})


def own_stamps(passwords: Iterable[PasswordCredential], store_id: str) -> dict[str, Stamp]:
    """KeyId -> stamp for the secrets that carry this store's id."""
    found = ((p.key_id, parse_stamp(p.display_name)) for p in passwords)
    return {key_id: stamp for key_id, stamp in found if stamp is not None and stamp.store_id == store_id}


def orphans(
    passwords: Iterable[PasswordCredential],
    *,
    store_id: str,
    journal: Mapping[str, Rotation],
    held: Collection[str],
    own_operation: str | None = None,
    own_item: str | None = None,
) -> list[PasswordCredential]:
    """The secrets to remove.

    Args:
        journal: The rotations whose mints the stamps name, by mint id; unknown ones are missing.
        held: keyIds that some version holds; they compare without case.
        own_operation: The caller's own rotation, whose mint is over or undone.
        own_item: The caller deletes this item: its stamps are his, whatever the state of their operations.
    """
    listed = list(passwords)
    stamps = own_stamps(listed, store_id)
    kept = {key_id.lower() for key_id in held}
    result = []
    for password in listed:
        stamp = stamps.get(password.key_id)
        if stamp is None or password.key_id.lower() in kept:
            continue
        operation = journal.get(stamp.operation_id)
        if operation is None or operation.item_id != stamp.item_id:
            continue
        mine = operation.rotation_id == own_operation or stamp.item_id == own_item
        if mine or operation.state not in _MINTING:
            result.append(password)
    return result
