"""Users as a seed writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure_sandbox.directory_roles import DIRECTORY_ROLES
from azure_sandbox.people import Origin, User
from azure_sandbox.seed_reading import BadSeed, check_keys, derived, guid, need

SETTINGS = ("enabled", "synchronised", "federated", "mfa", "conditional_access", "force_change")
"""What is true or false of a user."""

_USER = frozenset({"tenant", "upn", "name", "object_id", "password", "roles", "behaviour", *SETTINGS})


def read_user(record: Mapping[str, Any], home: str, now: datetime, origin: Origin = "seed") -> User:
    """Read a user; without a ``password`` nobody can sign in as him.

    Raises:
        BadSeed: an unknown or missing key, or an unknown role.
    """
    check_keys("user", record, _USER)
    upn = need("user", record, "upn")
    tenant_id = str(record.get("tenant", home)).lower()
    settings: dict[str, Any] = {name: _truth(upn, name, record[name]) for name in SETTINGS if name in record}
    user = User(
        object_id=guid(upn, record.get("object_id")) or derived(tenant_id, "user", upn),
        tenant_id=tenant_id,
        upn=upn,
        name=record.get("name", upn),
        created_at=now,
        roles=read_directory_roles(upn, record.get("roles", ())),
        behaviour=dict(record.get("behaviour", {})),
        **settings,
    )
    password = record.get("password")
    if password is not None and not isinstance(password, str):
        raise BadSeed(f"{upn}: password is no text")
    if password:
        user.set_password(password, at=now, origin=origin, force_change=user.force_change)
    return user


def read_directory_roles(where: str, names: Any) -> tuple[str, ...]:
    """Directory roles by display name.

    Raises:
        BadSeed: an unknown one.
    """
    roles = tuple(names)
    if unknown := [role for role in roles if role not in DIRECTORY_ROLES]:
        raise BadSeed(f"{where}: unknown directory role {unknown[0]!r}; known: {', '.join(DIRECTORY_ROLES)}")
    return roles


def _truth(where: str, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadSeed(f"{where}: {name} is true or false, not {value!r}")
    return value
