"""Users at the login endpoint: home realm discovery and the password grant (ROPC) of a confidential client.

A right password comes first; what a tenant demands besides (a second factor, a policy, consent) is asked for only after
it, so that such an answer tells that the password was right. A new password propagates like a secret does. After too
many different wrong ones the account is locked for a while.

Sources: "OAuth 2.0 Resource Owner Password Credentials" and "Microsoft Entra smart lockout" on learn.microsoft.com;
``user_realm_discovery`` of MSAL for Python.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call
from azure_sandbox.login_answers import headers, refusal
from azure_sandbox.objects import Application, ServicePrincipal, Tenant
from azure_sandbox.people import User

_REMEMBERED_MISTAKES = 3
OIDC_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
"""Scopes that ask for no permission of a resource."""


@dataclass(slots=True)
class _Mistakes:
    """The wrong passwords of a user: how many different ones, and since when he is locked out."""

    count: int = 0
    recent: list[bytes] = field(default_factory=list)
    locked_at: datetime | None = None


class SignIn:
    """Checks users' passwords as the front end that serves the request knows them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._turns: dict[str, int] = {}
        self._mistakes: dict[str, _Mistakes] = {}

    def realm(self, call: Call) -> Answer:
        """Say who signs in the users of a domain: Entra itself, another provider, or nobody here."""
        upn = call.params["upn"]
        domain = upn.partition("@")[2].lower()
        user = self._directory.find_user(upn)
        tenant = self._directory.find_tenant(domain)
        cloud = tenant.cloud if tenant else call.cloud
        instance = cloud.login.partition(".")[2] if cloud else "microsoftonline.com"
        body: dict[str, Any] = {"ver": "1.0", "account_type": "Unknown", "cloud_instance_name": instance}
        if user is not None and user.federated:
            body |= {
                "account_type": "Federated",
                "federation_protocol": "WSTrust",
                "federation_metadata_url": f"https://fs.{domain}/adfs/services/trust/mex",
                "federation_active_auth_url": f"https://fs.{domain}/adfs/services/trust/2005/usernamemixed",
            }
        elif tenant is not None:
            body["account_type"] = "Managed"
        if body["account_type"] != "Unknown":
            body |= {"domain_name": domain, "cloud_audience_urn": "urn:federation:MicrosoftOnline"}
        return Answer(status=200, body=body, headers=headers(call))

    def check(self, call: Call, tenant: Tenant, form: Mapping[str, str], resource: str) -> User:
        """The user whose right password a token request brings along, and of whom nothing more is demanded.

        Raises:
            Refusal: 900144 for missing parts, 50034 no such user, 50053 locked, 50126 a wrong password; after a right
                one 50057 disabled, 50055 to be changed first, 53003 blocked by a policy, 50076 a second factor.
        """
        for parameter in ("username", "password"):
            if not form.get(parameter):
                raise refusal(call, 900144, parameter=parameter)
        user = self._directory.find_user(form["username"])
        if user is None or user.tenant_id != tenant.tenant_id:
            raise refusal(call, 50034, tenant=tenant.name)
        call.entry.object_id = user.object_id
        self._check_password(call, user, form["password"])
        if not user.enabled:
            raise refusal(call, 50057)
        if user.force_change:
            raise refusal(call, 50055)
        if user.conditional_access:
            raise refusal(call, 53003)
        if user.mfa:
            raise refusal(call, 50076, resource=resource)
        return user

    def granted(
        self, call: Call, form: Mapping[str, str], application: Application, principal: ServicePrincipal
    ) -> tuple[str, ...]:
        """The delegated permissions that a token for Graph carries.

        Raises:
            Refusal: 65001, one that was asked for was not granted.
        """
        asked = {scope.rpartition("/")[2] for scope in form.get("scope", "").split()} - OIDC_SCOPES
        wanted = asked - {".default"}
        if not wanted <= set(principal.delegated) or (asked and not principal.delegated):
            raise refusal(call, 65001, app=application.app_id, name=application.name)
        return principal.delegated

    def _check_password(self, call: Call, user: User, value: str) -> None:
        behaviour = self._directory.behaviour_of(user)
        mistakes = self._mistakes.setdefault(user.object_id, _Mistakes())
        lockout = timedelta(seconds=behaviour.lockout_seconds)
        if mistakes.locked_at is not None:
            if call.now < mistakes.locked_at + lockout:
                raise refusal(call, 50053)
            self._mistakes[user.object_id] = mistakes = _Mistakes()
        turn = self._turns.get(user.object_id, 0)
        self._turns[user.object_id] = turn + 1
        front_end = turn % len(behaviour.visible_after)
        call.entry.front_end = front_end
        known = user.seen_password(call.now, timedelta(seconds=behaviour.visible_after[front_end]))
        if known is not None and known.matches(value):
            self._mistakes.pop(user.object_id)
            return
        # The same mistake again is no guessing, and doesn't count.
        mark = hashlib.sha256(user.object_id.encode() + value.encode()).digest()
        if mark not in mistakes.recent:
            mistakes.count += 1
            mistakes.recent = [*mistakes.recent, mark][-_REMEMBERED_MISTAKES:]
        if mistakes.count >= behaviour.lockout_attempts:
            mistakes.locked_at = call.now
        raise refusal(call, 50126)


def token_claims(user: User, scopes: tuple[str, ...]) -> dict[str, Any]:
    """What an access token says about a user, besides what every token says."""
    return {
        "acct": 0,
        "amr": ["pwd"],
        "idtyp": "user",
        "name": user.name,
        "oid": user.object_id,
        "sub": user.object_id,
        "scp": " ".join(sorted({*scopes, "openid", "profile"})),
        "unique_name": user.upn,
        "upn": user.upn,
    }
