"""How a client proves at the token endpoint that it is the application: by a secret's value, as a front end sees it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from azure_sandbox.credential import Secret
from azure_sandbox.directory import Application, Directory, ServicePrincipal
from azure_sandbox.exchange import Call
from azure_sandbox.login_answers import refusal


class ClientAuth:
    """Checks clients; each login request of an application is served by its next front end, in turn."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._turns: dict[str, int] = {}

    def check(self, call: Call, form: Mapping[str, str], application: Application, principal: ServicePrincipal) -> None:
        """Check what a token request brings along.

        Raises:
            Refusal: nothing (7000218), a wrong or removed secret, or one that has not propagated (7000215), an expired
                one (7000222), an unknown certificate (700027).
        """
        if "client_secret" not in form:
            # Certificates and federated credentials are not in the directory yet, so no assertion can be right.
            raise refusal(call, 700027 if form.get("client_assertion") else 7000218, app=application.app_id)
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


def _is_seen(secret: Secret, now: datetime, visible_after: timedelta, removed_after: timedelta) -> bool:
    """Whether a front end with these delays knows of a secret now. What the seed made has long propagated."""
    if secret.origin != "seed" and now < secret.added_at + visible_after:
        return False
    return secret.removed_at is None or now < secret.removed_at + removed_after
