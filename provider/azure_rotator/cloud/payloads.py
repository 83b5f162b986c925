"""Graph's JSON as values of the domain; a document that lacks what it must have is refused, never half read.

A list of client secrets that is cut short would look like secrets that are gone, so each of these raises ValueError
with the name of what is missing, and never with a value.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from azure_rotator.domain.ports import Application, Grants, NewPassword, PasswordCredential
from azure_rotator.domain.secrettext import SecretText


def application(body: Any) -> Application:
    """The answer of ``GET applications(appId='…')``."""
    fields = _object(body)
    return Application(
        object_id=_id(fields, "id"),
        app_id=_id(fields, "appId"),
        display_name=_text(fields, "displayName") or "",
        passwords=tuple(_password(one) for one in _list(fields, "passwordCredentials")),
    )


def new_password(body: Any) -> NewPassword:
    """The answer of addPassword: the only time the value is shown."""
    fields = _object(body)
    value = _text(fields, "secretText")
    if not value:
        raise ValueError("secretText is missing")
    return NewPassword(
        key_id=_guid(fields, "keyId"),
        value=SecretText(value),
        hint=_text(fields, "hint") or value[:3],
        start_at=_must(_instant(fields, "startDateTime"), "startDateTime"),
        end_at=_must(_instant(fields, "endDateTime"), "endDateTime"),
    )


def object_ids(body: Any) -> frozenset[str]:
    """The ids of a page of directory objects."""
    return frozenset(_id(_object(one), "id") for one in _list(_object(body), "value"))


def next_link(body: Any) -> str | None:
    """Where the next page of a collection is."""
    return _text(_object(body), "@odata.nextLink")


def personal_audience_secrets(body: Any) -> int | None:
    """How many client secrets an application for personal accounts has; None for any other application."""
    fields = _object(body)
    if "personal" not in (_text(fields, "signInAudience") or "").lower():
        return None
    return len(_list(fields, "passwordCredentials"))


def grants(token: str) -> Grants:
    """The claims of an access token that was issued to us.

    Its signature is not looked at: it came from the login host over TLS, and Graph checks it at each use.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("the token is no JWT")
    payload = parts[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        claims = None  # its message would quote the token
    if not isinstance(claims, dict):
        raise ValueError("the token's claims are no JSON object")
    roles = claims.get("roles", [])
    if not isinstance(roles, list):
        raise ValueError("the token's roles are no list")
    return Grants(roles=frozenset(role for role in roles if isinstance(role, str)), principal_id=_id(claims, "oid"))


def _password(body: Any) -> PasswordCredential:
    fields = _object(body)
    return PasswordCredential(
        key_id=_guid(fields, "keyId"),
        display_name=_text(fields, "displayName"),
        hint=_text(fields, "hint"),
        start_at=_instant(fields, "startDateTime"),
        end_at=_instant(fields, "endDateTime"),
    )


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return body


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is missing")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _id(fields: Mapping[str, Any], name: str) -> str:
    """GUIDs compare without case; here they are lower case."""
    value = _text(fields, name)
    if not value:
        raise ValueError(f"{name} is missing")
    return value.lower()


def _guid(fields: Mapping[str, Any], name: str) -> str:
    """A GUID in its one form; removePassword takes nothing else."""
    try:
        return str(UUID(_id(fields, name)))
    except ValueError:
        pass  # its message would quote what may be anything
    raise ValueError(f"{name} is missing or no GUID")


def _instant(fields: Mapping[str, Any], name: str) -> datetime | None:
    """Seven digits of fraction come from Graph; the domain counts whole seconds."""
    text = _text(fields, name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise ValueError(f"{name} is no instant")
    return at.replace(microsecond=0)


def _must(at: datetime | None, name: str) -> datetime:
    if at is None:
        raise ValueError(f"{name} is missing")
    return at
