"""Azure's JSON as values of the domain; a document that lacks what it must have is refused, never half read.

A list of client secrets that is cut short would look like secrets that are gone, so each of these raises ValueError
with the name of what is missing, and never with a value.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from azure_rotator.domain.ports import (
    AccountSettings,
    Application,
    CredentialLoad,
    Grants,
    NewPassword,
    PasswordCredential,
    ServicePrincipal,
    StorageKey,
    User,
)
from azure_rotator.domain.secrettext import SecretText

_SAS_PERIOD: Final = re.compile(r"(?:([0-9]{1,5})\.)?([0-9]{1,2}):([0-9]{2}):([0-9]{2})")


def application(body: Any) -> Application:
    """The answer of ``GET applications(appId='…')``."""
    fields = fields_of(body)
    return Application(
        object_id=_id(fields, "id"),
        app_id=_id(fields, "appId"),
        display_name=text_of(fields, "displayName") or "",
        passwords=tuple(_password(one) for one in list_of(fields, "passwordCredentials")),
    )


def new_password(body: Any) -> NewPassword:
    """The answer of addPassword: the only time the value is shown."""
    fields = fields_of(body)
    value = text_of(fields, "secretText")
    if not value:
        raise ValueError("secretText is missing")
    return NewPassword(
        key_id=_guid(fields, "keyId"),
        value=SecretText(value),
        hint=text_of(fields, "hint") or value[:3],
        start_at=_must(instant_of(fields, "startDateTime"), "startDateTime"),
        end_at=_must(instant_of(fields, "endDateTime"), "endDateTime"),
    )


def storage_keys(body: Any) -> tuple[StorageKey, ...]:
    """The keys in an answer of listKeys or regenerateKey."""
    return tuple(_storage_key(one) for one in list_of(fields_of(body), "keys"))


def storage_key(body: Any, name: str) -> StorageKey:
    """One key of an answer of regenerateKey, which holds the others of its kind as well."""
    for key in storage_keys(body):
        if key.name.lower() == name.lower():
            return key
    raise ValueError(f"{name} is missing")


def account_settings(body: Any) -> AccountSettings:
    """The answer of ``GET storageAccounts/{name}``. What an account has never been told is absent or null."""
    properties = fields_of(fields_of(body).get("properties"))
    shared = properties.get("allowSharedKeyAccess")
    if shared is not None and not isinstance(shared, bool):
        raise ValueError("allowSharedKeyAccess is neither true nor false")
    directory = text_of(_inner(properties, "azureFilesIdentityBasedAuthentication"), "directoryServiceOptions")
    days = _inner(properties, "keyPolicy").get("keyExpirationPeriodInDays")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int)):
        raise ValueError("keyExpirationPeriodInDays is no number")
    return AccountSettings(
        shared_key=shared is not False,
        directory=None if directory in {None, "None"} else directory,
        sas_period=_sas_period(text_of(_inner(properties, "sasPolicy"), "sasExpirationPeriod")),
        key_days=days,
    )


def read_only_locks(body: Any) -> tuple[str, ...]:
    """The ids of the locks in a page of ``…/locks`` that refuse writes."""
    rows = [fields_of(one) for one in list_of(fields_of(body), "value")]
    return tuple(
        text_of(row, "id") or "" for row in rows if text_of(fields_of(row.get("properties")), "level") == "ReadOnly"
    )


def is_federated(body: Any) -> bool:
    """The answer of ``GET common/userrealm/{name}``."""
    kind = text_of(fields_of(body), "account_type")
    if not kind:
        raise ValueError("account_type is missing")
    return kind.lower() == "federated"


def object_ids(body: Any) -> frozenset[str]:
    """The ids of a page of directory objects."""
    return frozenset(_id(fields_of(one), "id") for one in list_of(fields_of(body), "value"))


def user(body: Any) -> User:
    """The answer of ``GET users/{name}``, without directory roles, which are read elsewhere."""
    fields = fields_of(body)
    synchronised = fields.get("onPremisesSyncEnabled")
    if synchronised is not None and not isinstance(synchronised, bool):
        raise ValueError("onPremisesSyncEnabled is neither true nor false")
    return User(
        object_id=_id(fields, "id"),
        username=text_of(fields, "userPrincipalName") or "",
        # null is what a cloud-only user has; a name that was left out is one that may not be read.
        synchronised=bool(synchronised) if "onPremisesSyncEnabled" in fields else None,
        roles=None,
    )


def directory_roles(body: Any) -> tuple[str, ...]:
    """The directory roles in a page of memberOf, by display name; by id where the name may not be read."""
    found = []
    for one in list_of(fields_of(body), "value"):
        fields = fields_of(one)
        if text_of(fields, "@odata.type") == "#microsoft.graph.directoryRole":
            found.append(text_of(fields, "displayName") or _id(fields, "id"))
    return tuple(found)


def access_token(body: Any) -> SecretText:
    """The token in an answer of the login host."""
    token = text_of(fields_of(body), "access_token")
    if not token:
        raise ValueError("access_token is missing")
    return SecretText(token)


def next_link(body: Any) -> str | None:
    """Where the next page of a collection is."""
    return text_of(fields_of(body), "@odata.nextLink")


def service_principal(body: Any) -> ServicePrincipal:
    """The answer of ``GET servicePrincipals(appId='…')``."""
    fields = fields_of(body)
    enabled = fields.get("accountEnabled")
    if not isinstance(enabled, bool):
        raise ValueError("accountEnabled is missing")
    return ServicePrincipal(
        object_id=_id(fields, "id"),
        app_id=_id(fields, "appId"),
        display_name=text_of(fields, "displayName") or "",
        enabled=enabled,
        passwords=tuple(_password(one) for one in list_of(fields, "passwordCredentials")),
    )


def credential_load(body: Any) -> CredentialLoad:
    """How full an application is, from its credentials as Graph lists them."""
    fields = fields_of(body)
    passwords, keys = list_of(fields, "passwordCredentials"), list_of(fields, "keyCredentials")
    return CredentialLoad(
        passwords=len(passwords),
        certificates=len(keys),
        size_bytes=len(json.dumps([passwords, keys], separators=(",", ":")).encode()),
        most_passwords=2 if _is_for_personal_accounts(fields) else None,
    )


def created_at(body: Any) -> datetime | None:
    """When an object was made; None where Graph does not know."""
    return instant_of(fields_of(body), "createdDateTime")


def personal_audience_secrets(body: Any) -> int | None:
    """How many client secrets an application for personal accounts has; None for any other application."""
    fields = fields_of(body)
    if not _is_for_personal_accounts(fields):
        return None
    return len(list_of(fields, "passwordCredentials"))


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


def _inner(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    held = fields.get(name)
    return {} if held is None else fields_of(held)


def _sas_period(text: str | None) -> timedelta | None:
    """``DD.HH:MM:SS``; the days may be missing."""
    if text is None:
        return None
    found = _SAS_PERIOD.fullmatch(text)
    if found is None:
        raise ValueError("sasExpirationPeriod is no period")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _is_for_personal_accounts(fields: Mapping[str, Any]) -> bool:
    return "personal" in (text_of(fields, "signInAudience") or "").lower()


def _storage_key(body: Any) -> StorageKey:
    fields = fields_of(body)
    name, value = text_of(fields, "keyName"), text_of(fields, "value")
    if not name:
        raise ValueError("keyName is missing")
    if not value:
        raise ValueError("a key's value is missing")
    return StorageKey(name=name, value=SecretText(value), created_at=instant_of(fields, "creationTime"))


def _password(body: Any) -> PasswordCredential:
    fields = fields_of(body)
    return PasswordCredential(
        key_id=_guid(fields, "keyId"),
        display_name=text_of(fields, "displayName"),
        hint=text_of(fields, "hint"),
        start_at=instant_of(fields, "startDateTime"),
        end_at=instant_of(fields, "endDateTime"),
    )


def fields_of(body: Any) -> Mapping[str, Any]:
    """The members of a JSON object."""
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return body


def list_of(fields: Mapping[str, Any], name: str) -> list[Any]:
    """A member that must be there and a list."""
    value = fields.get(name)
    if not isinstance(value, list):
        raise ValueError(f"{name} is missing")
    return value


def text_of(fields: Mapping[str, Any], name: str) -> str | None:
    """A member that is text, null or absent."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is no text")
    return value


def _id(fields: Mapping[str, Any], name: str) -> str:
    """GUIDs compare without case; here they are lower case."""
    value = text_of(fields, name)
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


def instant_of(fields: Mapping[str, Any], name: str) -> datetime | None:
    """Seven digits of fraction come from Graph; the domain counts whole seconds."""
    text = text_of(fields, name)
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
