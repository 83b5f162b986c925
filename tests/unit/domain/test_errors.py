"""Codes and exit codes: the table of the feature contract, and that nothing else is raised."""

from __future__ import annotations

import ast
import json
import re
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from azure_rotator.domain.errors import (
    EXIT_CODES,
    Conflict,
    Corrupt,
    Forbidden,
    LeaseLost,
    NotFound,
    Rejected,
    RotatorError,
    Unavailable,
)

PROVIDER = Path(__file__).parents[3] / "provider" / "azure_rotator"

# Features 3.15, as it stands there.
CONTRACT: Mapping[int, str] = {
    1: "StoreUnavailable StoreCorrupt StoreKeyMissing StoreKeyWrong StoreSchemaMismatch StoreMismatch",
    2: "ParameterMissing ParameterIrrelevant ParameterImmutable RotatorTypeInvalid AuthModeInvalid TargetTypeMismatch "
    "TargetIncomplete TargetHasNoClientSecret TargetSecretExternal NameInvalid IntervalOutOfRange "
    "IntervalAboveAccountMax HourOutOfRange TimeZoneInvalid NotificationInvalid GraceIntervalInvalid LifetimeTooShort "
    "StorageKeyNameInvalid PasswordPolicyInvalid IdentifierMixedUp ReferenceUnresolved FormatNotAvailable",
    3: "AccessDenied",
    4: "ItemNotFound TargetNotFound VersionNotFound NoValueYet ProtectionKeyNotFound",
    5: "NameConflict TargetInUse TargetAlreadyRotated CredentialAlreadyManaged CredentialWouldBeRevoked "
    "DeleteProtected VersionIsCurrent ItemLocked ItemDisabled KeyInUse",
    6: "GatewayNotConfigured GatewayUnreachable CustomerFragmentMissing",
    7: "AzureAuthFailed AzurePermissionMissing ApplicationNotFound CredentialNotFound CredentialAmbiguous UserNotFound "
    "ResourceNotFound ResourceLocked StorageKeyMissing VerificationTimeout CredentialLimitReached LifetimeNotAllowed "
    "CredentialTypeNotAllowed AzureThrottled AzureUnavailable",
}
# Ours, beside the contract: what nobody foresaw, a value that no rule of its own names, and receivers of events.
BESIDE = {"InternalError": 1, "DeliveryFailed": 1, "DeliveryRefused": 1, "ParameterInvalid": 2, "AzureRefused": 7}
EXPECTED = {code: exit_ for exit_, codes in CONTRACT.items() for code in codes.split()}

ERRORS = {"Rejected", "Forbidden", "NotFound", "Conflict", "Unavailable", "Corrupt", "RotatorError"}
CLASSES = (Rejected, Forbidden, NotFound, Conflict, Unavailable, Corrupt)


def test_every_code_has_the_exit_code_of_the_contract():
    assert {code: exit_ for code, exit_ in EXIT_CODES.items() if code not in BESIDE} == {
        code: EXPECTED.get(code) for code in EXIT_CODES if code not in BESIDE
    }
    assert {code: EXIT_CODES[code] for code in BESIDE} == BESIDE


def _codes_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Codes that are raised or carried: the first argument of an error, or ``code=`` of a problem or failure."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in ERRORS and node.args and isinstance(node.args[0], ast.Constant):
            yield node.lineno, str(node.args[0].value)
        for keyword in node.keywords:
            if keyword.arg == "code" and name in {"Problem", "Failure", "GraphFault"}:
                for part in ast.walk(keyword.value):
                    if isinstance(part, ast.Constant) and re.fullmatch(r"[A-Z]\w*", str(part.value)):
                        yield part.lineno, str(part.value)


@pytest.mark.parametrize("file", sorted(PROVIDER.rglob("*.py")), ids=lambda file: str(file.relative_to(PROVIDER)))
def test_every_code_that_is_raised_is_in_the_table(file: Path):
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unknown = [(line, code) for line, code in _codes_in(tree) if code not in EXIT_CODES]
    assert unknown == []


def test_the_search_for_codes_finds_them():
    source = 'raise Rejected("A", "x")\nProblem(property="p", code="Bb", message="m")\nerrors.Conflict("C", "x")'
    assert [code for _, code in _codes_in(ast.parse(source))] == ["A", "Bb", "C"]
    found = {
        code for file in PROVIDER.rglob("*.py") for _, code in _codes_in(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert len(found) > 25


def test_every_message_and_hint_of_ours_is_lower_case_without_a_full_stop():
    """The voice of the product: `error: code: what happened`, `hint: what to do`."""
    offences = []
    for file in sorted(PROVIDER.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and len(node.args) > 1:
                hints = [k.value for k in node.keywords if k.arg == "hint"]
                for part in (node.args[1], *hints):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        text = part.value
                        if text.endswith(".") or re.match(
                            r"[A-Z][a-z]+ ", text.replace("Entra ", "").replace("Graph ", "")
                        ):
                            offences.append((file.name, node.lineno, text))
    assert offences == []


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_tells_code_message_hint_and_details(kind: type[RotatorError]):
    error = kind("NameConflict", "there is one already", hint="choose another", details={"id": "x"})
    assert str(error) == "there is one already"
    assert (error.code, error.exit_code, error.hint, error.details) == (
        "NameConflict",
        5,
        "choose another",
        {"id": "x"},
    )
    assert json.loads(json.dumps(error.details)) == {"id": "x"}
    assert "there is one already" in "".join(traceback.format_exception(error))


def test_what_has_no_code_of_the_table_is_an_internal_error():
    assert RotatorError("Nonsense", "x").exit_code == 1


def test_an_outage_says_when_to_come_back_and_whether_it_was_applied():
    plain = Unavailable("AzureUnavailable", "x")
    assert (plain.retry_after_seconds, plain.applied) == (None, "unknown")
    throttled = Unavailable("AzureThrottled", "x", retry_after_seconds=30, applied="no")
    assert (throttled.retry_after_seconds, throttled.applied) == (30, "no")


def test_a_lost_lease_names_the_rotation():
    lost = LeaseLost("abcdefghijklmnop")
    assert lost.exit_code == 5
    assert "abcdefghijklmnop" in str(lost)


def test_details_are_a_copy():
    details: dict[str, object] = {"a": 1}
    error = Rejected("ParameterMissing", "x", details=details)
    details["b"] = 2
    assert error.details == {"a": 1}
