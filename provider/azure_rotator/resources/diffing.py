"""What a change of a property does: in place, replace, or nothing. Pure.

New inputs are compared with the inputs mirrored in the old outputs, and with nothing else: not with live values, dates
or what a rotation moves, so that a rotation between two deploys is no difference (features 4). A credential is compared
with the fingerprint of what was last sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.parameters import PARAMETERS, Kind, Parameter, Subject
from azure_rotator.resources.inputs import COMPUTED, CREDENTIALS, FILLED_IN, FINGERPRINT, Bag, is_unknown, matches


class Effect(StrEnum):
    """What a change of an input does to the resource."""

    UPDATE = "in place"
    REPLACE = "replace"
    IGNORE = "ignore"


EFFECTS: Mapping[Subject, Mapping[str, Effect]] = {
    subject: {
        **dict.fromkeys(COMPUTED[subject], Effect.IGNORE),
        **dict.fromkeys(FILLED_IN[subject], Effect.IGNORE),
        **{row.name: Effect.REPLACE if row.immutable else Effect.UPDATE for row in rows},
    }
    for subject, rows in ((subject, PARAMETERS[subject]) for subject in COMPUTED)
}
"""The table, by property."""

NOT_SENT = frozenset(
    {"adopt", "client_secret_version", "credential_version", "force_delete", "force_deletion", "rotation_trigger"}
)
"""Arguments that only say when or how to do something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What an update has to do.

    Args:
        updates: Properties that changed in place, the credential among them if it is to be sent.
        replaces: Changed properties that identify the credential.
        sent: Of ``updates`` what the engine is told.
        rotates: Whether ``rotation_trigger`` asks for a rotation.
        delete_first: Whether a replacement deletes before it creates: names are unique.
    """

    updates: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()
    rotates: bool = False
    delete_first: bool = False

    @property
    def is_change(self) -> bool:
        return bool(self.updates or self.replaces)


def compare(subject: Subject, olds: Bag, news: Bag) -> Difference:
    """The difference between the old outputs and the new, checked inputs."""
    changed = [row for row in PARAMETERS[subject] if _changed(subject, row, olds, news)]
    replaces = tuple(row.name for row in changed if EFFECTS[subject][row.name] is Effect.REPLACE)
    if replaces == ("target_name",) and _same_target(olds, news):
        replaces = ()
    updates = tuple(row.name for row in changed if row.name not in replaces)
    sent = {row.name for row in changed if EFFECTS[subject][row.name] is Effect.UPDATE} - NOT_SENT
    if _resends(subject, olds, news, sent):
        sent |= {name for name in CREDENTIALS[subject].arguments if news.get(name) is not None}
    if "client_secret" in sent and news.get("client_secret_id") is not None:
        sent.add("client_secret_id")  # a secret that is sent without it has an unknown keyId
    return Difference(
        updates=updates,
        replaces=replaces,
        sent=tuple(sorted(sent)),
        rotates="rotation_trigger" in updates and news.get("rotation_trigger") is not None,
        delete_first=bool(replaces) and _same(olds.get("name"), news.get("name")),
    )


def refuse_replacement(olds: Bag, news: Bag, difference: Difference) -> None:
    """Refuse a replacement that would do harm, before anything is made or deleted.

    Raises:
        Conflict: ``DeleteProtected``: the old item is. ``CredentialWouldBeRevoked``: the old item is deleted first, and
            with it the secret that the new one adopts.
    """
    if not difference.replaces:
        return
    name = olds.get("name")
    if olds.get("delete_protection"):
        raise Conflict(
            "DeleteProtected",
            f'"{name}" is protected against deletion, and a change of {", ".join(difference.replaces)} replaces it',
            hint="set delete_protection to false and run up, then make the change and run up again",
        )
    minted = not _is_current(olds, olds.get("api_id"))
    if difference.delete_first and minted and _is_current(olds, news.get("api_id")):
        raise Conflict(
            "CredentialWouldBeRevoked",
            f'"{name}" would be deleted first, and with it secret {olds.get("key_id")}, which the new item adopts',
            hint="leave api_id out to have a new secret minted",
        )


def _changed(subject: Subject, row: Parameter, olds: Bag, news: Bag) -> bool:
    new = news.get(row.name)
    if row.kind is Kind.SECRET:
        return _credential_changed(new, olds)
    if is_unknown(new):
        return True
    if row.name == "adopt":
        return False  # only how it began
    if row.name == "api_id" and (new is None or _is_current(olds, new)):
        return False  # removed, or what a rotation or an update made current by now
    old = olds.get(row.name)
    if row.name == "delete_protection" and old is False and new is None:
        return False  # an older release filled it in; now the account says what is not said
    # An older release did not write a property that it did not know: then it has its default.
    return not _same(row.default if old is None else old, row.default if new is None else new)


def _credential_changed(new: object, olds: Bag) -> bool:
    """Removed is no change: what was given stays. Without a fingerprint nobody can tell, and nothing old is sent."""
    known = olds.get(FINGERPRINT)
    if new is None or not isinstance(known, str):
        return False
    return is_unknown(new) or not matches(str(new), known)


def _resends(subject: Subject, olds: Bag, news: Bag, sent: set[str]) -> bool:
    """Whether the credential is sent although it is the same.

    Its version says so, or what it belongs to changed. A version that is only dropped says nothing: the secret in the
    program may long be replaced.
    """
    credential = CREDENTIALS[subject]
    if credential.given(news) is None:
        return False
    version = news.get(credential.version)
    asked = version is not None and (is_unknown(version) or not _same(olds.get(credential.version), version))
    return asked or bool(sent & {"api_id", "connection_type"})


def _is_current(olds: Bag, api_id: object) -> bool:
    """Azure compares keyIds without case, and so do we."""
    return isinstance(api_id, str) and api_id.lower() == str(olds.get("key_id")).lower()


def _same_target(olds: Bag, news: Bag) -> bool:
    old, new = olds.get("target_id"), news.get("target_id")
    return old is not None and not is_unknown(new) and old == new


def _same(old: object, new: object) -> bool:
    """Lists and tuples alike, ``30`` and ``30.0`` alike; what is unknown is not the same as anything."""
    if isinstance(old, list | tuple) and isinstance(new, list | tuple):
        return list(old) == list(new)
    return not is_unknown(new) and old == new
