"""How a client proves at the token endpoint that it is the application: by a secret's value, as a front end sees it, by
a certificate's signature, or by a token of an issuer that the application trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from azure_sandbox.credential import Secret
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Call
from azure_sandbox.login_answers import refusal
from azure_sandbox.objects import Application, ServicePrincipal
from azure_sandbox.trust import NotTrusted, check_certificate, check_federated, is_certificate_assertion

_BY_JWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class ClientAuth:
    """Checks clients; each login request of an application is served by its next front end, in turn."""

    def __init__(
        self,
        directory: Directory,
        issuer_key: RSAPublicKey,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``issuer_key`` checks the tokens of every issuer outside of Entra; ``wall`` is the machine's clock."""
        self._directory = directory
        self._issuer_key = issuer_key
        self._wall = wall
        self._turns: dict[str, int] = {}

    def check(self, call: Call, form: Mapping[str, str], application: Application, principal: ServicePrincipal) -> None:
        """Check what a token request brings along.

        Raises:
            Refusal: nothing (7000218), a wrong or removed secret, or one that has not propagated (7000215), an expired
                one (7000222), or an assertion that proves nothing (see :mod:`azure_sandbox.trust`).
        """
        if form.get("client_assertion"):
            self._check_assertion(call, form, application)
            return
        if "client_secret" not in form:
            raise refusal(call, 7000218, app=application.app_id)
        turn = self._turns.get(application.object_id, 0)
        self._turns[application.object_id] = turn + 1
        behaviour = self._directory.behaviour_of(application)
        front_end = turn % len(behaviour.visible_after)
        call.entry.front_end = front_end
        visible_after = timedelta(seconds=behaviour.visible_after[front_end])
        removed_after = timedelta(seconds=behaviour.removed_after[front_end % len(behaviour.removed_after)])
        expired: Secret | None = None
        for secret in (*application.secrets, *principal.secrets):
            if not _is_seen(secret, call.now, visible_after, removed_after):
                continue
            if not secret.matches(form["client_secret"]):
                continue
            if secret.is_current(call.now):
                call.entry.key_id = secret.key_id
                return
            if call.now >= secret.ends_at:
                expired = secret
        if expired is not None:
            call.entry.key_id = expired.key_id
            raise refusal(call, 7000222, app=application.app_id)
        raise refusal(call, 7000215, app=application.app_id)

    def _check_assertion(self, call: Call, form: Mapping[str, str], application: Application) -> None:
        if form.get("client_assertion_type") != _BY_JWT:
            raise refusal(call, 900144, parameter="client_assertion_type")
        assertion, wall = form["client_assertion"], self._wall()
        try:
            if is_certificate_assertion(assertion):
                audiences = _audiences(call, application.tenant_id)
                call.entry.key_id = check_certificate(
                    assertion, application.certificates, application.app_id, audiences, wall
                )
            else:
                check_federated(assertion, application.federated, self._issuer_key, wall)
        except NotTrusted as reason:
            raise refusal(call, reason.number, reason=str(reason)) from None


def _audiences(call: Call, tenant_id: str) -> set[str]:
    """What a certificate's assertion may name as the one that it is for: the token endpoint, or the tenant."""
    host = call.headers.get("host", call.host)
    tenants = {tenant_id, call.params["tenant"]}
    hosts = {host, call.host}
    return {
        f"https://{at}/{tenant}{path}"
        for at in hosts
        for tenant in tenants
        for path in ("", "/v2.0", "/oauth2/token", "/oauth2/v2.0/token")
    }


def _is_seen(secret: Secret, now: datetime, visible_after: timedelta, removed_after: timedelta) -> bool:
    """Whether a front end with these delays knows of a secret now. What the seed made has long propagated."""
    if secret.origin != "seed" and now < secret.added_at + visible_after:
        return False
    return secret.removed_at is None or now < secret.removed_at + removed_after
