"""PATCH of an application: what may be changed so, and that its secrets may not.

Source: "Update application" and "application: addPassword" on learn.microsoft.com. Graph also takes a shortened list of
secrets for the wish to remove the others; here that is refused like any other list, because nobody should rotate so.
"""

from __future__ import annotations

from typing import Any

from azure_sandbox import graph_answers as answers
from azure_sandbox.exchange import Answer, Call
from azure_sandbox.objects import AUDIENCES, Application


def update_application(call: Call, application: Application) -> Answer:
    """Change an application as the body says; nothing is changed by a body that is refused.

    Raises:
        Refusal: 400, an unknown property, a value of the wrong kind, or secrets.
    """
    try:
        asked = {name: value for name, value in call.json_object().items() if not name.startswith("@")}
    except ValueError:
        raise answers.unreadable(call) from None
    if "passwordCredentials" in asked and not _are_known(application, asked.pop("passwordCredentials")):
        raise answers.bad_request(call, "New password credentials must be generated with service actions.")
    if unknown := sorted(set(asked) - {"displayName", "identifierUris", "signInAudience"}):
        raise answers.bad_request(call, f"Invalid property '{unknown[0]}'.")
    name = asked.get("displayName", application.name)
    uris = asked.get("identifierUris", list(application.identifier_uris))
    audience = asked.get("signInAudience", application.audience)
    for property_, good in (
        ("displayName", isinstance(name, str) and 0 < len(name) <= 256),
        ("identifierUris", isinstance(uris, list) and all(isinstance(uri, str) for uri in uris)),
        ("signInAudience", isinstance(audience, str) and audience in AUDIENCES),
    ):
        if not good:
            raise answers.bad_request(call, f"Invalid value specified for property '{property_}' of resource.")
    if asked:
        application.name, application.identifier_uris, application.audience = name, tuple(uris), audience
        call.entry.committed = True
    return Answer(status=204, headers=answers.headers(call))


def _are_known(application: Application, given: Any) -> bool:
    """Whether these are exactly the secrets that it has, which changes nothing."""
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        return False
    return {str(row.get("keyId")).lower() for row in given} == {item.key_id for item in application.live_secrets()}
