"""Microsoft Graph v1.0: users, their directory roles, and setting or changing their passwords.

An application sets the password of a user with User-PasswordProfile.ReadWrite.All; where the user holds directory
roles, the application's service principal needs one above them. A user changes his own with the present one at hand.

Sources: "Update user", "user: changePassword", "List memberOf" and "Privileged roles and permissions" on
learn.microsoft.com; microsoftgraph/microsoft-graph-docs-contrib 1548 and 4267. What the service says about a wrong
present password is not recorded anywhere; that text is ours.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from azure_sandbox import graph_answers as answers
from azure_sandbox import odata
from azure_sandbox.directory import Directory
from azure_sandbox.directory_roles import DIRECTORY_ROLES, RESETTERS, may_reset
from azure_sandbox.exchange import Answer, Call, Operation, operation
from azure_sandbox.journal import PASSWORD
from azure_sandbox.people import User, is_refused
from azure_sandbox.permissions import ENABLE_USERS, PASSWORD_PROFILE, UPDATE_USERS
from azure_sandbox.resources import directory_role_resource, user_resource
from azure_sandbox.tokens import Caller

COMPLEXITY = (
    "The specified password does not comply with password complexity requirements. Please provide a different password."
)
_MASTERED_ELSEWHERE = (
    "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently"
    " undergoing migration."
)
_FILTERABLE = frozenset({"id", "userPrincipalName", "displayName", "mail"})
_NAMES = {"displayName": "name"}
_IS_ROLE = "/microsoft.graph.directoryRole"


class Doorkeeper(Protocol):
    """What these operations ask of the Graph surface; see :class:`azure_sandbox.graph.Graph`."""

    def authenticate(self, call: Call) -> Caller: ...

    def authorize(self, call: Call) -> Caller: ...


class Users:
    """The users of all tenants."""

    def __init__(self, directory: Directory, doorkeeper: Doorkeeper) -> None:
        self._directory = directory
        self._doorkeeper = doorkeeper

    def operations(self) -> Iterator[Operation]:
        """Its part of Graph's table."""
        user = "/v1.0/users/{user}"
        yield operation("graph.listUsers", "GET", "/v1.0/users", self._list)
        yield operation("graph.getUser", "GET", user, self._get)
        yield operation("graph.updateUser", "PATCH", user, self._update, writes=True)
        for relation in ("memberOf", "transitiveMemberOf"):
            yield operation("graph.listUserMemberOf", "GET", f"{user}/{relation}", self._member_of)
            yield operation("graph.listUserMemberOf", "GET", f"{user}/{relation}{_IS_ROLE}", self._member_of)
        yield operation("graph.getMe", "GET", "/v1.0/me", self._get)
        yield operation("graph.changePassword", "POST", "/v1.0/me/changePassword", self._change, writes=True)

    def identify(self, call: Call) -> None:
        """Note the user that the path names or, for ``/me``, that the token speaks for."""
        name = call.params.get("user")
        if name is None and call.path.lower().startswith("/v1.0/me") and call.caller and call.caller.is_user:
            name = call.caller.object_id
        if name is None:
            return
        call.user = self._directory.find_user(name)
        call.entry.user = call.user.upn if call.user else name
        if call.user is not None:
            call.entry.object_id = call.user.object_id

    # Handlers.

    def _get(self, call: Call) -> Answer:
        caller = self._doorkeeper.authorize(call)
        user = self._user(call, caller)
        # Whoever reads the basics only is shown no more.
        basics = not caller.is_user and not caller.roles - {"User.ReadBasic.All"}
        return answers.entity(call, "users", user_resource(user, basics=basics, chosen=odata.selected(call.query)))

    def _list(self, call: Call) -> Answer:
        caller = self._doorkeeper.authorize(call)
        try:
            text = call.query.get("$filter")
            matches = odata.compile_filter(text, _FILTERABLE) if text else lambda _row: True
        except odata.UnsupportedQuery as unsupported:
            raise answers.bad_request(call, str(unsupported), "Request_UnsupportedQuery") from None
        except odata.InvalidQuery as invalid:
            raise answers.bad_request(call, str(invalid)) from None
        basics = not caller.roles - {"User.ReadBasic.All"}
        chosen = odata.selected(call.query)
        rows = [
            user_resource(user, basics=basics, chosen=chosen)
            for user in self._directory.users.values()
            if user.tenant_id == caller.tenant_id and matches(user_resource(user, basics=False))
        ]
        return answers.collection(call, "users", rows)

    def _member_of(self, call: Call) -> Answer:
        caller = self._doorkeeper.authorize(call)
        user = self._user(call, caller)
        rows = [
            directory_role_resource(role, str(uuid.uuid5(uuid.UUID(user.tenant_id), DIRECTORY_ROLES[role])))
            for role in user.roles
        ]
        return answers.collection(call, "directoryObjects", rows)

    def _update(self, call: Call) -> Answer:
        caller = self._doorkeeper.authorize(call)
        asked = {name: value for name, value in self._body(call).items() if not name.startswith("@")}
        self._check_grants(call, caller, asked)
        user = self._user(call, caller)
        if unknown := sorted(set(asked) - {"passwordProfile", "accountEnabled", *_NAMES}):
            raise answers.bad_request(call, f"Invalid property '{unknown[0]}'.")
        if not may_reset(self._directory_roles(caller), user.roles):
            raise answers.denied(call)
        if user.synchronised and asked:
            raise answers.bad_request(call, _MASTERED_ELSEWHERE)
        for name, kind in (("accountEnabled", bool), ("displayName", str)):
            if name in asked and not isinstance(asked[name], kind):
                raise answers.bad_request(call, f"Invalid value specified for property '{name}' of resource 'User'.")
        value, force_change = self._profile(call, user, asked)
        user.enabled = asked.get("accountEnabled", user.enabled)
        user.name = asked.get("displayName", user.name)
        if value is not None:
            user.set_password(value, at=call.now, origin="reset", force_change=force_change)
            call.entry.key_id = PASSWORD
        if value is not None or set(asked) - {"passwordProfile"}:
            self._directory.save(user)
            call.entry.committed = True
        return Answer(status=204, headers=answers.headers(call))

    def _change(self, call: Call) -> Answer:
        caller = self._doorkeeper.authorize(call)
        user = self._user(call, caller)
        body = self._body(call)
        for name in ("currentPassword", "newPassword"):
            if not isinstance(body.get(name), str):
                raise answers.bad_request(call, f"Invalid value specified for property '{name}' of resource.")
        if user.synchronised:
            raise answers.bad_request(call, _MASTERED_ELSEWHERE)
        present = user.password
        if present is None or not present.matches(body["currentPassword"]):
            raise answers.bad_request(call, "The current password is not correct.")
        if present.matches(body["newPassword"]):
            raise answers.bad_request(call, COMPLEXITY)
        self._check_password(call, user, body["newPassword"])
        user.set_password(body["newPassword"], at=call.now, origin="change", force_change=False)
        self._directory.save(user)
        call.entry.key_id = PASSWORD
        call.entry.committed = True
        return Answer(status=204, headers=answers.headers(call))

    # Parts.

    def _user(self, call: Call, caller: Caller) -> User:
        # Looked up again: a request that was held may find another directory than the one in which it came.
        user = self._directory.find_user(call.user.object_id) if call.user else None
        if user is None or user.tenant_id != caller.tenant_id:
            raise answers.not_found(call, call.params.get("user", "me"))
        return user

    def _directory_roles(self, caller: Caller) -> tuple[str, ...]:
        principal = self._directory.find_service_principal(caller.tenant_id, object_id=caller.object_id)
        return principal.directory_roles if principal else ()

    def _check_grants(self, call: Call, caller: Caller, asked: Mapping[str, Any]) -> None:
        """Each part of an update takes permissions of its own; a directory role stands in for the password's."""
        by_role = bool(RESETTERS & set(self._directory_roles(caller)))
        if "passwordProfile" in asked and PASSWORD_PROFILE not in caller.roles and not by_role:
            raise answers.denied(call)
        if "accountEnabled" in asked and not caller.roles & (UPDATE_USERS | {ENABLE_USERS}):
            raise answers.denied(call)
        if set(asked) - {"passwordProfile", "accountEnabled"} and not caller.roles & UPDATE_USERS:
            raise answers.denied(call)

    def _profile(self, call: Call, user: User, asked: Mapping[str, Any]) -> tuple[str | None, bool]:
        """The password to set, None for none, and whether it must be changed at the next sign-in.

        A profile without a password is answered like any other, and changes nothing.
        """
        wrong = answers.bad_request(call, "Invalid value specified for property 'passwordProfile' of resource 'User'.")
        profile = asked.get("passwordProfile")
        if profile is None:
            return None, False
        if not isinstance(profile, Mapping):
            raise wrong
        value, force_change = profile.get("password"), profile.get("forceChangePasswordNextSignIn")
        if value is None:
            return None, False
        if not isinstance(value, str) or not isinstance(force_change, bool | None):
            raise wrong
        # The same password once more is no repetition: an administrator whose reply was lost sets it again.
        if user.password is None or not user.password.matches(value):
            self._check_password(call, user, value)
        return value, force_change is not False

    def _check_password(self, call: Call, user: User, value: str) -> None:
        earlier = self._directory.behaviour_of(user).password_history
        repeated = earlier and any(old.matches(value) for old in user.passwords[:-1][-earlier:])
        if repeated or is_refused(value, user, self._directory.tenants[user.tenant_id].banned_passwords):
            raise answers.bad_request(call, COMPLEXITY)

    def _body(self, call: Call) -> dict[str, Any]:
        try:
            return call.json_object()
        except ValueError:
            raise answers.unreadable(call) from None
