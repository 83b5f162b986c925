"""addPassword and removePassword: the rules about a directory object's client secrets.

Sources: "application: addPassword" and "removePassword" on learn.microsoft.com; refusals as recorded from the service
(terraform-provider-azuread 201, openshift-azure 1932, CIPP-API 1970).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from azure_sandbox import graph_answers as answers
from azure_sandbox.clock import parse_instant
from azure_sandbox.credential import DEFAULT_LIFE, Secret, make_secret
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Refusal
from azure_sandbox.faults import MESSAGES
from azure_sandbox.objects import PERSONAL_AUDIENCES, Application, Principal
from azure_sandbox.resources import credential_resource

_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_MAX_PERSONAL = 2
_MAX_ENTRIES = 1200
"""How many values an application's manifest holds ("Microsoft Entra service limits and restrictions")."""


class Passwords:
    """Adds, removes and shows the secrets of applications and service principals."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._reads: dict[str, int] = {}

    def add(self, call: Call, target: Principal) -> Answer:
        """Answer addPassword: the only moment at which the value is told.

        Raises:
            Refusal: 400 for bad dates, a policy or the two secrets of a personal audience, 403 for a full object.
        """
        wanted = _body(call).get("passwordCredential")
        wanted = {} if wanted is None else wanted
        if not isinstance(wanted, dict):
            raise answers.bad_request(call, "Invalid value specified for property 'passwordCredential' of resource.")
        display_name = wanted.get("displayName")
        if display_name is not None and not isinstance(display_name, str):
            raise answers.bad_request(call, "Invalid value specified for property 'displayName' of resource.")
        starts_at = _instant(call, wanted, "startDateTime") or call.now
        ends_at = self._end(call, target, starts_at, _instant(call, wanted, "endDateTime"))
        self._check_room(call, target)
        made = make_secret(
            origin="minted", added_at=call.now, display_name=display_name, starts_at=starts_at, ends_at=ends_at
        )
        self._directory.add_secret(target, made.secret)
        _note(call, made.secret)
        call.handed_out = made.secret
        root = answers.root(call)
        body = {
            "@odata.context": f"{root}/$metadata#microsoft.graph.passwordCredential",
            **credential_resource(made.secret, value=made.value),
        }
        return Answer(status=200, body=body, headers={**answers.headers(call), "location": root.removesuffix("/v1.0")})

    def remove(self, call: Call, target: Principal) -> Answer:
        """Answer removePassword.

        Raises:
            Refusal: 400, no such keyId on the object, or none yet.
        """
        key_id = _body(call).get("keyId")
        if not isinstance(key_id, str) or not _GUID.fullmatch(key_id):
            raise answers.bad_request(call, "Invalid value specified for property 'keyId' of resource.")
        secret = target.find_secret(key_id)
        lag = timedelta(seconds=self._directory.behaviour_of(target).remove_lag_seconds)
        if secret is None or (secret.origin != "seed" and call.now < secret.added_at + lag):
            raise answers.bad_request(call, f"No password credential found with keyId {key_id}.")
        self._directory.replace_secret(target, secret.removed(call.now))
        _note(call, secret)
        return Answer(status=204, headers=answers.headers(call))

    def shown(self, principal: Principal, now: datetime) -> list[Secret]:
        """The secrets that a read shows: it may miss new ones and still show removed ones."""
        behaviour = self._directory.behaviour_of(principal)
        lag = timedelta(seconds=behaviour.read_lag_seconds)
        seen: list[Secret] = []
        for secret in principal.secrets:
            if secret.origin != "seed" and now < secret.added_at + lag:
                continue
            if secret.removed_at is not None and now >= secret.removed_at + lag:
                continue
            if secret.origin == "minted" and self._reads.get(secret.key_id, 0) < behaviour.read_lag_reads:
                self._reads[secret.key_id] = self._reads.get(secret.key_id, 0) + 1
                continue
            seen.append(secret)
        return seen

    def _end(self, call: Call, target: Principal, starts_at: datetime, asked: datetime | None) -> datetime:
        """The new secret's end, checked against dates and policy, and cut where the service cuts."""
        invalid = answers.bad_request(call, "Key credential end date is invalid.", "KeyCredentialsInvalidEndDate")
        try:
            end = asked or starts_at + DEFAULT_LIFE
        except OverflowError:
            raise invalid from None
        if end <= starts_at or end <= call.now:
            raise invalid
        application = self._directory.find_application(target.tenant_id, app_id=target.app_id)
        policy = self._directory.policy_of(application) if application else None
        if policy is not None and (refused := policy.refusal(end - starts_at)):
            code, message = refused
            raise answers.bad_request(call, message, code)
        longest = self._directory.behaviour_of(target).shorten_to_seconds
        return end if longest is None else min(end, starts_at + timedelta(seconds=longest))

    def _check_room(self, call: Call, target: Principal) -> None:
        held = len(target.live_secrets())
        if isinstance(target, Application) and target.audience in PERSONAL_AUDIENCES and held >= _MAX_PERSONAL:
            raise answers.bad_request(
                call,
                f"Not allowed to add {held + 1} passwords. You can only add a maximum of {_MAX_PERSONAL} passwords.",
            )
        most = self._directory.behaviour_of(target).max_secrets
        entries = held
        if isinstance(target, Application):
            entries += len(target.certificates) + len(target.identifier_uris)
        if entries >= _MAX_ENTRIES or (most is not None and held >= most):
            code = "Directory_ResourceSizeExceeded"
            raise Refusal(answers.error(call, 403, code, MESSAGES[code]))


def _note(call: Call, secret: Secret) -> None:
    call.entry.committed = True
    call.entry.key_id = secret.key_id
    call.entry.display_name = secret.display_name


def _body(call: Call) -> dict[str, Any]:
    try:
        return call.json_object()
    except ValueError:
        raise answers.unreadable(call) from None


def _instant(call: Call, wanted: Mapping[str, Any], name: str) -> datetime | None:
    text = wanted.get(name)
    if text is None:
        return None
    try:
        return parse_instant(text)
    except (ValueError, TypeError):
        raise answers.bad_request(
            call, f"Cannot convert the value of '{name}' to the expected type 'Edm.DateTimeOffset'."
        ) from None
