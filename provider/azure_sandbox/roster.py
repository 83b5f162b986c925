"""What a test may do to users: make them, change them as an administrator in the portal would, look at the truth."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from azure_sandbox.clock import Clock
from azure_sandbox.directory import Directory, Unknown
from azure_sandbox.people import User
from azure_sandbox.seed_reading import BadSeed, check_keys
from azure_sandbox.seed_users import SETTINGS, read_directory_roles, read_user

_CHANGEABLE = frozenset({*SETTINGS, "name", "roles", "password", "behaviour"})


class Roster:
    """The users of one world; reached over the control API only. Users are named by UPN or object id."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    def create(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a user (keys as in a seed; all may be left out); a password that is not given is made up.

        Returns:
            What :meth:`describe` tells, with the clear ``password``: here and never again.

        Raises:
            BadSeed: an unknown key or role, or a name that is taken.
        """
        home = next(iter(self._directory.tenants))
        tenant = self._directory.find_tenant(str(record.get("tenant", home)))
        if tenant is None:
            raise BadSeed(f"user: no tenant {record.get('tenant')!r}")
        made_up = {
            "upn": f"user-{uuid.uuid4().hex[:8]}@{tenant.domain}",
            "object_id": str(uuid.uuid4()),
            "password": f"Aa1-{secrets.token_urlsafe(18)}",
        }
        given = {**made_up, **record, "tenant": tenant.tenant_id}
        # What was there from the beginning has propagated, like what a seed makes.
        user = read_user(given, tenant.tenant_id, self._clock.now())
        if self._directory.find_user(user.upn) or self._directory.find_user(user.object_id):
            raise BadSeed(f"user {user.upn} exists already")
        self._directory.save(user)
        return {**self.describe(user), "password": given["password"]}

    def list(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """All users, or a tenant's.

        Raises:
            Unknown: no such tenant.
        """
        return [self.describe(one) for one in self._directory.within(tenant, self._directory.users.values())]

    def get(self, id_: str) -> User:
        """The user of this UPN or object id.

        Raises:
            Unknown: there is none.
        """
        user = self._directory.find_user(id_)
        if user is None:
            raise Unknown(f"no user {id_!r}")
        return user

    def update(self, id_: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change a user as an administrator in the portal would; a ``password`` propagates like any other.

        Raises:
            Unknown: no such user.
            BadSeed: an unknown key or role, or a value of the wrong kind.
            ValueError: an unknown setting in ``behaviour``.
        """
        user = self.get(id_)
        check_keys("user", changes, _CHANGEABLE)
        if wrong := [name for name in SETTINGS if not isinstance(changes.get(name, True), bool)]:
            raise BadSeed(f"{user.upn}: {wrong[0]} is true or false, not {changes[wrong[0]]!r}")
        roles = read_directory_roles(user.upn, changes.get("roles", user.roles))
        if "behaviour" in changes:
            self._directory.set_behaviour(changes["behaviour"], user)
        for name in SETTINGS:
            setattr(user, name, changes.get(name, getattr(user, name)))
        user.roles = roles
        user.name = str(changes.get("name", user.name))
        if changes.get("password"):
            force_change = changes.get("force_change", False)
            user.set_password(
                str(changes["password"]), at=self._clock.now(), origin="portal", force_change=force_change
            )
        self._directory.save(user)
        return self.describe(user)

    def delete(self, id_: str) -> None:
        """Delete a user.

        Raises:
            Unknown: no such user.
        """
        self._directory.delete(self.get(id_))

    def verify(self, id_: str, value: str) -> Literal["present", "earlier"] | None:
        """Whether a value is the user's present password, propagated or not, or an earlier one.

        Raises:
            Unknown: no such user.
        """
        user = self.get(id_)
        if user.password is not None and user.password.matches(value):
            return "present"
        return "earlier" if any(old.matches(value) for old in user.passwords) else None

    def describe(self, user: User) -> dict[str, Any]:
        """A user in a few words."""
        return {
            "object_id": user.object_id,
            "tenant_id": user.tenant_id,
            "upn": user.upn,
            "name": user.name,
            "roles": list(user.roles),
            "passwords_set": len(user.passwords),
            "password_set_at": user.password.set_at.isoformat() if user.password else None,
            "password_origin": user.password.origin if user.password else None,
            **{name: getattr(user, name) for name in SETTINGS},
        }
