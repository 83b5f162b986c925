"""The control API's client, as far as it is about users."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from azure_sandbox.told import UserInfo, read


class UserControl:
    """A part of :class:`azure_sandbox.client.Control`. Users are named by user principal name or object id."""

    def request(self, method: str, path: str, body: Any = None, *, timeout_seconds: float = 30.0) -> Any:
        """Make one call."""
        raise NotImplementedError

    def create_user(self, **record: Any) -> UserInfo:
        """Make a user: ``upn``, ``tenant``, ``name``, ``password``, ``roles`` (of the directory), ``synchronised``,
        ``federated``, ``enabled``, ``mfa``, ``conditional_access``, ``force_change``, ``behaviour``, each optional, as
        in a seed. The answer carries the password."""
        return read(UserInfo, self.request("POST", "/users", record))

    def users(self, tenant: str | None = None) -> list[UserInfo]:
        """All users, or a tenant's."""
        path = "/users" + (f"?{urlencode({'tenant': tenant})}" if tenant else "")
        return [read(UserInfo, record) for record in self.request("GET", path)["users"]]

    def user(self, id_: str) -> UserInfo:
        """One user."""
        return read(UserInfo, self.request("GET", _path(id_)))

    def update_user(self, id_: str, **changes: Any) -> UserInfo:
        """Change anything but tenant and names of a user, as an administrator in the portal would; a ``password``
        needs no rules."""
        return read(UserInfo, self.request("PATCH", _path(id_), changes))

    def set_mfa(self, id_: str, on: bool = True) -> None:
        """Let sign-ins with a right password be asked for a second factor: AADSTS50076."""
        self.update_user(id_, mfa=on)

    def set_conditional_access(self, id_: str, on: bool = True) -> None:
        """Let a policy block sign-ins with a right password: AADSTS53003."""
        self.update_user(id_, conditional_access=on)

    def delete_user(self, id_: str) -> None:
        """Delete a user."""
        self.request("DELETE", _path(id_))

    def verify_password(self, id_: str, value: str) -> str | None:
        """``present`` for the user's password, propagated or not, ``earlier`` for one that he had, else None. No
        sign-in is counted, and the journal doesn't see it."""
        found = self.request("POST", f"{_path(id_)}/verify", {"value": value})["password"]
        return str(found) if found is not None else None


def _path(id_: str) -> str:
    return f"/users/{quote(id_, safe='')}"
