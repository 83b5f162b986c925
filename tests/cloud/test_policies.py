"""App management policies: what they say about new client secrets. No network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from azure_rotator.cloud.policies import application_policy, tenant_policy
from azure_rotator.domain.ports import SecretPolicy

POLICY_ID = "0c0fee00-1111-4222-8333-444455556666"
MADE = datetime(2025, 6, 1, tzinfo=UTC)
FREE = SecretPolicy(may_add=True, max_lifetime_days=None)


def rule(kind: str = "passwordLifetime", **changes: Any) -> dict[str, Any]:
    return {
        "restrictionType": kind,
        "state": "enabled",
        "maxLifetime": "P90D" if kind == "passwordLifetime" else None,
        "restrictForAppsCreatedAfterDateTime": "2019-01-01T00:00:00Z",
    } | changes


def tenant(*rules: dict[str, Any], **changes: Any) -> dict[str, Any]:
    restrictions = {"passwordCredentials": list(rules), "keyCredentials": []}
    return {"id": POLICY_ID, "isEnabled": True, "applicationRestrictions": restrictions} | changes


def limited(days: int | None, *, may_add: bool = True) -> SecretPolicy:
    return SecretPolicy(may_add=may_add, max_lifetime_days=days, policy_id=POLICY_ID)


CASES = {
    "no rule": (tenant(), FREE),
    "no restrictions at all": (tenant(applicationRestrictions=None), FREE),
    "no list": (tenant(applicationRestrictions={"passwordCredentials": None}), FREE),
    "a lifetime": (tenant(rule()), limited(90)),
    "two lifetimes": (tenant(rule(), rule(maxLifetime="P30D")), limited(30)),
    "hours count as whole days": (tenant(rule(maxLifetime="P4DT23H59M59.5S")), limited(4)),
    "less than a day": (tenant(rule(maxLifetime="PT12H")), limited(0)),
    "years and months": (tenant(rule(maxLifetime="P1Y2M1W")), limited(432)),
    "no secrets": (tenant(rule("passwordAddition")), limited(None, may_add=False)),
    "both": (tenant(rule("passwordAddition"), rule()), limited(90, may_add=False)),
    "in another case": (tenant(rule("PasswordLifetime", maxLifetime="P90D")), limited(90)),
    "a rule about values that people choose": (tenant(rule("customPasswordAddition")), FREE),
    "a rule that is switched off": (tenant(rule(state="disabled")), FREE),
    "a rule without a state": (tenant({"restrictionType": "passwordLifetime", "maxLifetime": "P90D"}), limited(90)),
    "a policy that is switched off": (tenant(rule(), isEnabled=False), FREE),
    "a rule for later applications": (tenant(rule(restrictForAppsCreatedAfterDateTime="2025-06-01T00:00:00Z")), FREE),
    "a rule since just before": (
        tenant(rule(restrictForAppsCreatedAfterDateTime="2025-05-31T23:59:59Z")),
        limited(90),
    ),
}


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_what_the_tenants_policy_says(body, expected):
    assert tenant_policy(body).limits(MADE) == expected


def test_an_application_of_unknown_age_is_under_every_rule():
    body = tenant(rule(restrictForAppsCreatedAfterDateTime="2030-01-01T00:00:00Z"))
    assert tenant_policy(body).limits(None) == limited(90)


def test_an_applications_own_policy_is_read_like_the_tenants():
    own = {"id": POLICY_ID, "isEnabled": True, "restrictions": {"passwordCredentials": [rule(maxLifetime="P30D")]}}
    policy = application_policy({"value": [own]})
    assert policy is not None
    assert policy.limits(MADE) == limited(30)


@pytest.mark.parametrize("value", [[], [{"id": POLICY_ID, "isEnabled": False, "restrictions": None}]])
def test_without_an_enabled_policy_of_its_own_the_tenants_applies(value):
    assert application_policy({"value": value}) is None


HALF: list[Any] = [
    None,
    [],
    {},
    tenant() | {"isEnabled": "yes"},
    tenant(rule(maxLifetime="ninety days")),
    tenant(rule(maxLifetime="P")),
    tenant(rule(maxLifetime="")),
    tenant(rule(maxLifetime=90)),
    tenant(rule(restrictForAppsCreatedAfterDateTime="tomorrow")),
    tenant(applicationRestrictions=[]),
    tenant(applicationRestrictions={"passwordCredentials": {}}),
    tenant(applicationRestrictions={"passwordCredentials": [None]}),
]


@pytest.mark.parametrize("body", HALF)
def test_a_policy_that_cannot_be_read_is_never_taken_for_none(body):
    with pytest.raises(ValueError, match=r"missing|no "):
        tenant_policy(body)


@pytest.mark.parametrize("body", [None, {}, {"value": None}, {"value": [{}]}, {"value": [None]}])
def test_policies_of_an_application_that_cannot_be_read_are_never_taken_for_none(body):
    with pytest.raises(ValueError, match=r"missing|no "):
        application_policy(body)
