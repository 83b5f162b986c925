"""App management policies as Graph shows them: what they say about new client secrets of one application.

An enabled policy of the application's own takes the place of the tenant's ("tenantAppManagementPolicy resource type" on
learn.microsoft.com: applies "unless overridden when an appManagementPolicy is applied to the object").
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from azure_rotator.cloud import payloads
from azure_rotator.domain.ports import SecretPolicy

_ADDITION: Final = "passwordaddition"
_LIFETIME: Final = "passwordlifetime"
_PERIOD: Final = re.compile(
    r"P(?:(?P<years>[0-9]{1,4})Y)?(?:(?P<months>[0-9]{1,4})M)?(?:(?P<weeks>[0-9]{1,4})W)?(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?:(?P<hours>[0-9]{1,6})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """One rule. ``created_after``: it is for applications made later than this; None for all."""

    kind: str
    max_lifetime: timedelta | None
    created_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules about client secrets that are in force."""

    policy_id: str | None
    restrictions: tuple[Restriction, ...]

    def limits(self, created_at: datetime | None) -> SecretPolicy:
        """What they say about an application made at ``created_at``.

        Exempted callers (``excludeActors``) are not looked for: whether the acting identity is one cannot be read, and
        the limit is the safe side.
        """
        applying = [
            rule
            for rule in self.restrictions
            if rule.kind in {_ADDITION, _LIFETIME}
            and (rule.created_after is None or created_at is None or created_at > rule.created_after)
        ]
        lives = [rule.max_lifetime for rule in applying if rule.kind == _LIFETIME and rule.max_lifetime]
        return SecretPolicy(
            may_add=all(rule.kind != _ADDITION for rule in applying),
            max_lifetime_days=math.floor(min(lives) / timedelta(days=1)) if lives else None,
            policy_id=self.policy_id if applying else None,
        )


def application_policy(body: Any) -> Policy | None:
    """The answer of ``GET applications/{id}/appManagementPolicies``; None: it has no enabled policy of its own."""
    enabled = [one for one in map(payloads.fields_of, payloads.list_of(payloads.fields_of(body), "value")) if _on(one)]
    if not enabled:
        return None
    rules = tuple(rule for one in enabled for rule in _restrictions(one, "restrictions"))
    return Policy(policy_id=payloads.text_of(enabled[0], "id"), restrictions=rules)


def tenant_policy(body: Any) -> Policy:
    """The answer of ``GET policies/defaultAppManagementPolicy``."""
    fields = payloads.fields_of(body)
    if not _on(fields):
        return Policy(policy_id=None, restrictions=())
    return Policy(
        policy_id=payloads.text_of(fields, "id"), restrictions=_restrictions(fields, "applicationRestrictions")
    )


def _on(fields: Mapping[str, Any]) -> bool:
    enabled = fields.get("isEnabled")
    if not isinstance(enabled, bool):
        raise ValueError("isEnabled is missing")
    return enabled


def _restrictions(fields: Mapping[str, Any], name: str) -> tuple[Restriction, ...]:
    held = fields.get(name)
    rules = payloads.fields_of(held).get("passwordCredentials") if held is not None else None
    if rules is None:
        return ()
    if not isinstance(rules, list):
        raise ValueError("passwordCredentials is no list")
    return tuple(
        Restriction(
            kind=(payloads.text_of(one, "restrictionType") or "").lower(),
            max_lifetime=_period(payloads.text_of(one, "maxLifetime")),
            created_after=payloads.instant_of(one, "restrictForAppsCreatedAfterDateTime"),
        )
        for one in map(payloads.fields_of, rules)
        if one.get("state") != "disabled"
    )


def _period(text: str | None) -> timedelta | None:
    if text is None:
        return None
    found = _PERIOD.fullmatch(text)
    parts = {name: float(value) for name, value in found.groupdict().items() if value} if found else {}
    if not parts:
        raise ValueError("maxLifetime is no period")
    # Edm.Duration has neither years nor months; should they come all the same, these are .NET's lengths.
    days = 365 * parts.pop("years", 0.0) + 30 * parts.pop("months", 0.0)
    return timedelta(days=days) + timedelta(**parts)
