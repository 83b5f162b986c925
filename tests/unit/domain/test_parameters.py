"""Every rule about parameters that needs neither store nor Azure: all failures at once, and no credential in any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.domain.errors import EXIT_CODES, Problem, Rejected, rejection
from azure_rotator.domain.parameters import (
    PARAMETERS,
    Kind,
    Subject,
    is_reference,
    literal_text,
    parameter,
    secret_parameters,
    validate,
)
from tests.rows import row
from tests.unit.domain.steady import steady

TENANT = "11111111-1111-4111-8111-111111111111"
APP = "22222222-2222-4222-8222-222222222222"
KEY = "33333333-3333-4333-8333-333333333333"
CANARY = "Ca7~nary.8Q~value-that-nobody-may-see"

TARGET: Mapping[str, object] = {
    "name": "/azure/prod",
    "tenant_id": TENANT,
    "client_id": APP,
    "client_secret": CANARY,
}
SECRET: Mapping[str, object] = {
    "name": "/prod/billing",
    "target_name": "/azure/prod",
    "rotator_type": "api-key",
    "authentication_credentials": "use-target-creds",
    "app_id": APP,
}
USER: Mapping[str, object] = {**SECRET, "authentication_credentials": "use-user-creds", "api_key": CANARY}
BASES: Mapping[Subject, Mapping[str, object]] = {"target": TARGET, "secret": SECRET}


def check(subject: Subject, changes: Mapping[str, object], base: Mapping[str, object] | None = None, **options: Any):
    given = {**(BASES[subject] if base is None else base), **changes}
    return validate(subject, {k: v for k, v in given.items() if v is not None}, **options)


def codes(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.property, problem.code) for problem in problems]


# --- what is accepted, and what becomes of it


@pytest.mark.parametrize(
    ("subject", "changes", "property_", "expected"),
    [
        pytest.param("secret", {"name": "prod/a"}, "name", "/prod/a", id="a leading slash is put in front of a name"),
        pytest.param("secret", {"target_name": "azure/prod"}, "target_name", "/azure/prod", id="a target's name too"),
        pytest.param("secret", {"app_id": APP.upper()}, "app_id", APP, id="a GUID in upper case"),
        pytest.param(
            "secret", {"auto_rotate": "TRUE", "rotation_interval": 7}, "auto_rotate", True, id="true, any case"
        ),
        pytest.param("secret", {"auto_rotate": "False"}, "auto_rotate", False, id="false in any case"),
        pytest.param("secret", {"rotation_interval": "30"}, "rotation_interval", 30, id="an integer from digits"),
        pytest.param("secret", {"rotation_interval": 30.0}, "rotation_interval", 30, id="a whole float is an integer"),
        pytest.param("secret", {"tags": ["a", "b"]}, "tags", ("a", "b"), id="tags become a tuple"),
        pytest.param("secret", {}, "tags", (), id="no tags"),
        pytest.param("secret", {}, "auto_rotate", False, id="no automatic rotation unless asked for"),
        pytest.param("secret", {"delete_protection": "true"}, "delete_protection", True, id="protection if asked for"),
        pytest.param("secret", {"revoke_after": "0"}, "revoke_after", "0", id="revoke at once"),
        pytest.param("secret", {"description": ""}, "description", "", id="an empty description"),
        pytest.param("target", {}, "connection_type", "credentials", id="a target has credentials"),
        pytest.param("target", {"client_secret": "literal:env:X"}, "client_secret", "literal:env:X", id="literal kept"),
        pytest.param("target", {"client_secret_version": 2.0}, "client_secret_version", 2, id="a version number"),
    ],
)
def test_accepted_values_are_made_canonical(
    subject: Subject, changes: dict[str, object], property_: str, expected: object
):
    values, problems = check(subject, changes)
    assert codes(problems) == []
    assert values[property_] == expected
    assert type(values[property_]) is type(expected)


@row("AK-19")
@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        ("use-user-creds", "use-user-creds"),
        ("use-self-creds", "use-user-creds"),
        (None, "use-user-creds"),
        ("use-target-creds", "use-target-creds"),
        ("target-rotator-creds", "use-target-creds"),
    ],
)
def test_authentication_modes_and_aliases_are_stored_canonically(given_: str | None, stored: str):
    values, problems = check("secret", {"authentication_credentials": given_}, {**USER, "api_id": KEY})
    assert codes(problems) == []
    assert values["authentication_credentials"] == stored


@row("AK-19")
@pytest.mark.parametrize("mode", ["USE-USER-CREDS", "use_user_creds", "user", "", "use-managed-identity"])
def test_any_other_authentication_mode_is_refused(mode: str):
    _, problems = check("secret", {"authentication_credentials": mode}, USER)
    assert codes(problems) == [("authentication_credentials", "AuthModeInvalid")]
    assert "use-user-creds" in problems[0].hint
    assert "use-target-creds" in problems[0].hint


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"name": None}, [("name", "ParameterMissing")], id="no name"),
        pytest.param({"name": "/a//b"}, [("name", "NameInvalid")], id="a malformed name"),
        pytest.param({"name": 7}, [("name", "ParameterInvalid")], id="a name that is no text"),
        pytest.param({"tenant_id": None}, [("tenant_id", "ParameterMissing")], id="no tenant"),
        pytest.param({"client_id": None}, [("client_id", "ParameterMissing")], id="no client"),
        pytest.param({"client_secret": None}, [("client_secret", "ParameterMissing")], id="no secret"),
        pytest.param({"client_secret": ""}, [("client_secret", "ParameterMissing")], id="an empty secret"),
        pytest.param({"client_secret": "literal:"}, [("client_secret", "ParameterMissing")], id="an empty literal"),
        pytest.param({"client_secret": KEY}, [("client_secret", "IdentifierMixedUp")], id="a GUID as the secret"),
        pytest.param({"client_secret": f"literal:{KEY}"}, [("client_secret", "IdentifierMixedUp")], id="literal GUID"),
        pytest.param({"tenant_id": "contoso"}, [("tenant_id", "IdentifierMixedUp")], id="a tenant's name"),
        pytest.param({"client_id": CANARY}, [("client_id", "IdentifierMixedUp")], id="the secret as the client id"),
        pytest.param(
            {"connection_type": "basic"}, [("connection_type", "ParameterInvalid")], id="an unknown connection"
        ),
        pytest.param(
            {"connection_type": "cloud-identity", "tenant_id": None, "client_id": None},
            [("client_secret", "ParameterIrrelevant")],
            id="a secret for a cloud identity",
        ),
        pytest.param(
            {"connection_type": "cloud-identity", "client_secret": None, "tenant_id": None, "client_id": None},
            [],
            id="a cloud identity needs nothing",
        ),
        pytest.param(
            {"rotation_interval": 7}, [("rotation_interval", "ParameterIrrelevant")], id="an item's parameter"
        ),
        pytest.param(
            {"name": None, "tenant_id": "x", "client_id": None, "client_secret": ""},
            [
                ("name", "ParameterMissing"),
                ("tenant_id", "IdentifierMixedUp"),
                ("client_id", "ParameterMissing"),
                ("client_secret", "ParameterMissing"),
            ],
            id="all failures at once, in the order of the table",
        ),
    ],
)
def test_rules_of_a_target(changes: dict[str, object], expected: list[tuple[str, str]]):
    _, problems = check("target", changes)
    assert codes(problems) == expected


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        pytest.param(SECRET, {"name": None}, [("name", "ParameterMissing")], id="no name"),
        pytest.param(SECRET, {"target_name": None}, [("target_name", "ParameterMissing")], id="no target"),
        pytest.param(SECRET, {"rotator_type": None}, [("rotator_type", "ParameterMissing")], id="no rotator"),
        pytest.param(
            SECRET, {"rotator_type": "apikey"}, [("rotator_type", "RotatorTypeInvalid")], id="no such rotator"
        ),
        pytest.param(
            SECRET, {"app_id": None}, [("app_id", "ParameterMissing")], id="api-key without app-id", marks=row("AK-30")
        ),
        pytest.param(
            USER, {"app_id": None}, [("app_id", "ParameterMissing")], id="app-id in the other mode", marks=row("AK-30")
        ),
        pytest.param(
            SECRET, {"app_id": "billing"}, [("app_id", "IdentifierMixedUp")], id="app-id no GUID", marks=row("AK-30")
        ),
        pytest.param(
            SECRET,
            {"api_id": APP},
            [("api_id", "IdentifierMixedUp")],
            id="api-id equal to app-id",
            marks=row("AK-27"),
        ),
        pytest.param(SECRET, {"api_id": APP.upper()}, [("api_id", "IdentifierMixedUp")], id="the same in upper case"),
        pytest.param(
            SECRET, {"api_id": CANARY}, [("api_id", "IdentifierMixedUp")], id="the secret where its id belongs"
        ),
        pytest.param(
            SECRET, {"api_id": KEY, "api_key": APP}, [("api_key", "IdentifierMixedUp")], id="an api-key that is a GUID"
        ),
        pytest.param(
            SECRET, {"api_key": CANARY}, [("api_id", "ParameterMissing")], id="target mode: a value without id"
        ),
        pytest.param(SECRET, {"api_id": KEY}, [], id="target mode: an id without value"),
        pytest.param(SECRET, {"api_id": KEY, "api_key": CANARY}, [], id="target mode: both"),
        pytest.param(USER, {}, [], id="user mode: first login, one is minted"),
        pytest.param(USER, {"api_id": KEY}, [], id="user mode: both"),
        pytest.param(
            USER,
            {"api_key": None},
            [("api_key", "ParameterMissing")],
            id="user mode: nothing to log in with",
            marks=row("AK-29"),
        ),
        pytest.param(
            USER,
            {"api_key": None, "api_id": KEY},
            [("api_key", "ParameterMissing")],
            id="user mode: an id without value",
            marks=row("AK-29"),
        ),
        pytest.param(USER, {"api_key": ""}, [("api_key", "ParameterMissing")], id="an empty value"),
        pytest.param(SECRET, {"tags": "blue"}, [("tags", "ParameterInvalid")], id="tags that are no list"),
        pytest.param(SECRET, {"tags": ["a", 1]}, [("tags", "ParameterInvalid")], id="a tag that is no text"),
        pytest.param(SECRET, {"skip_dry_run": 1}, [("skip_dry_run", "ParameterInvalid")], id="1 is not true"),
        pytest.param(
            SECRET,
            {"client_secret": CANARY},
            [("client_secret", "ParameterIrrelevant")],
            id="a target's parameter",
        ),
        pytest.param(
            SECRET, {"rotation_intervall": 7}, [("rotation_intervall", "ParameterIrrelevant")], id="a slip of the pen"
        ),
        pytest.param(
            SECRET,
            {"name": "a/", "app_id": "x", "api_id": KEY, "api_key": KEY, "rotation_interval": 0, "tags": 3},
            [
                ("name", "NameInvalid"),
                ("app_id", "IdentifierMixedUp"),
                ("api_key", "IdentifierMixedUp"),
                ("rotation_interval", "IntervalOutOfRange"),
                ("tags", "ParameterInvalid"),
            ],
            id="all failures at once, in the order of the table",
        ),
    ],
)
def test_rules_of_a_secret(base: Mapping[str, object], changes: dict[str, object], expected: list[tuple[str, str]]):
    _, problems = check("secret", changes, base)
    assert codes(problems) == expected


PASSWORD: Mapping[str, object] = {
    "name": "/prod/robot",
    "target_name": "/azure/prod",
    "rotator_type": "password",
    "authentication_credentials": "use-target-creds",
    "username": "robot@contoso.example",
}
STORAGE: Mapping[str, object] = {
    "name": "/prod/blobs",
    "target_name": "/azure/prod",
    "rotator_type": "azure-storage-account",
    "storage_account_key_name": "key1",
}
OWN: Mapping[str, object] = {"name": "/azure/own", "target_name": "/azure/prod", "rotator_type": "target"}
USER_CREDS = {"authentication_credentials": "use-user-creds"}


@row("AK-19", "AK-59")
@pytest.mark.parametrize(
    ("base", "mode"),
    [
        pytest.param({**SECRET, "api_key": CANARY, "api_id": KEY}, "use-user-creds", id="api-key"),
        pytest.param({**PASSWORD, "password": CANARY}, "use-user-creds", id="password"),
        pytest.param(STORAGE, "use-target-creds", id="azure-storage-account"),
        pytest.param(OWN, "use-target-creds", id="target"),
    ],
)
def test_who_acts_unless_it_is_said(base: Mapping[str, object], mode: str):
    values, problems = check("secret", {"authentication_credentials": None}, base)
    assert not problems
    assert values["authentication_credentials"] == mode


NOT_EXPLICIT = [("resource_group_name", "ParameterIrrelevant"), ("resource_name", "ParameterIrrelevant")]
ACCOUNT = {"resource_group_name": "rg", "resource_name": "acct"}


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        pytest.param(PASSWORD, {}, [], id="password"),
        pytest.param(
            PASSWORD, {"username": None}, [("username", "ParameterMissing")], id="no username", marks=row("AK-31")
        ),
        pytest.param(PASSWORD, USER_CREDS, [("password", "ParameterMissing")], id="the user acts, with no password"),
        pytest.param(PASSWORD, {**USER_CREDS, "password": CANARY}, [], id="the user acts"),
        pytest.param(
            PASSWORD, {"password_length": 7}, [("password_length", "PasswordPolicyInvalid")], id="shorter than Entra's"
        ),
        pytest.param(
            PASSWORD, {"password_length": 51}, [("password_length", "PasswordPolicyInvalid")], id="longer than ours"
        ),
        pytest.param(
            PASSWORD,
            {"use_numbers": False, "use_special_characters": False},
            [("use_numbers", "PasswordPolicyInvalid")],
            id="two classes",
            marks=row("B-20"),
        ),
        pytest.param(PASSWORD, {"use_numbers": False}, [], id="three classes"),
        pytest.param(
            PASSWORD,
            {"storage_account_key_name": "key1"},
            [("storage_account_key_name", "ParameterIrrelevant")],
            id="a storage key's name for a password",
            marks=row("AK-58"),
        ),
        pytest.param(STORAGE, {}, [], id="storage"),
        pytest.param(
            STORAGE,
            USER_CREDS,
            [("authentication_credentials", "AuthModeInvalid")],
            id="an account has no user",
            marks=row("AK-59"),
        ),
        pytest.param(
            STORAGE,
            {"storage_account_key_name": None},
            [("storage_account_key_name", "ParameterMissing")],
            id="named, and no name",
            marks=row("AK-60"),
        ),
        *(
            pytest.param(
                STORAGE,
                {"storage_account_key_name": name},
                [("storage_account_key_name", "StorageKeyNameInvalid")],
                id=name,
                marks=row("AK-60"),
            )
            for name in ("key3", "KEY1")
        ),
        pytest.param(
            STORAGE, {"storage_account_key_name": None, "storage_key_mode": "alternate"}, [], id="in turn, from key1"
        ),
        pytest.param(STORAGE, ACCOUNT, NOT_EXPLICIT, id="an account without saying so"),
        pytest.param(STORAGE, {**ACCOUNT, "explicitly_set_sa": True}, [], id="an account of its own"),
        pytest.param(
            STORAGE,
            {"explicitly_set_sa": True, "resource_name": "acct"},
            [("resource_group_name", "ParameterMissing")],
            id="half an account",
        ),
        pytest.param(STORAGE, {"revoke_after": "1h"}, [("revoke_after", "ParameterIrrelevant")], id="no overlap"),
        pytest.param(OWN, {}, [], id="target"),
        pytest.param(OWN, USER_CREDS, [("authentication_credentials", "AuthModeInvalid")], id="it always acts itself"),
        pytest.param(OWN, {"app_id": APP}, [("app_id", "ParameterIrrelevant")], id="its application is the Target's"),
        pytest.param(
            OWN,
            {"auto_rotate": True, "rotation_interval": 30, "credential_lifetime": 30},
            [("credential_lifetime", "LifetimeTooShort")],
            id="a lifetime without an overlap",
            marks=row("B-30"),
        ),
        pytest.param(
            OWN,
            {"auto_rotate": True, "rotation_interval": 30, "credential_lifetime": 31},
            [],
            id="the interval and the overlap",
            marks=row("B-30"),
        ),
        pytest.param(OWN, {"credential_lifetime": 0}, [("credential_lifetime", "LifetimeTooShort")], id="no life"),
    ],
)
def test_rules_of_the_other_kinds(
    base: Mapping[str, object], changes: dict[str, object], expected: list[tuple[str, str]]
):
    _, problems = check("secret", changes, base)
    assert codes(problems) == expected


@row("AK-31", "AK-32")
@pytest.mark.parametrize("rotator", ["target", "password", "azure-storage-account"])
@pytest.mark.parametrize("name", ["app_id", "api_id", "api_key"])
def test_a_parameter_of_another_rotator_is_irrelevant_and_named_with_its_type(rotator: str, name: str):
    given_ = {k: v for k, v in SECRET.items() if k != "app_id"} | {name: CANARY if name == "api_key" else KEY}
    _, problems = check("secret", {"rotator_type": rotator}, given_)
    found = next(problem for problem in problems if problem.property == name)
    assert found.code == "ParameterIrrelevant"
    assert rotator in found.message
    assert "--" + name.replace("_", "-") in found.hint


@row("AK-27")
def test_the_hint_says_what_an_api_id_is():
    _, problems = check("secret", {"api_id": APP})
    assert "api-id is the secret's keyId" in problems[0].hint


@row("AK-49")
@pytest.mark.parametrize("interval", [1, 365, "1", "365", 1.0, 365.0])
def test_intervals_from_1_to_365_days_are_accepted(interval: object):
    values, problems = check("secret", {"rotation_interval": interval})
    assert codes(problems) == []
    assert values["rotation_interval"] == int(str(interval).removesuffix(".0"))


@row("AK-49")
@pytest.mark.parametrize(
    "interval",
    [
        0,
        366,
        -1,
        1.5,
        "x",
        "",
        "1.5",
        " 7",
        "+7",
        "--7",
        "\N{ARABIC-INDIC DIGIT SEVEN}",
        True,
        [7],
        float("inf"),
        float("nan"),
        1e300,
        "9" * 5000,
    ],
    ids=lambda value: repr(value)[:12],
)
def test_any_other_interval_is_out_of_range(interval: object):
    _, problems = check("secret", {"rotation_interval": interval})
    assert codes(problems) == [("rotation_interval", "IntervalOutOfRange")]
    assert len(problems[0].message) < 200


@row("AK-33")
@pytest.mark.parametrize("auto_rotate", [True, "true", "TRUE"])
def test_automatic_rotation_needs_an_interval(auto_rotate: object):
    _, problems = check("secret", {"auto_rotate": auto_rotate})
    assert codes(problems) == [("rotation_interval", "ParameterMissing")]


@row("AK-33")
@pytest.mark.parametrize("auto_rotate", ["yes", "1", "", 1, 0, "on"])
def test_anything_but_true_and_false_is_refused(auto_rotate: object):
    _, problems = check("secret", {"auto_rotate": auto_rotate})
    assert codes(problems) == [("auto_rotate", "ParameterInvalid")]


@pytest.mark.parametrize(
    ("interval", "revoke_after", "accepted"),
    [
        (1, "12h", True),
        (1, "43201s", False),
        (1, "1d", False),
        (2, "24h", True),
        (2, "25h", False),
        (7, "6d", True),
        (7, "7d", False),
        (365, "364d", True),
        (365, "365d", False),
        (7, "0", True),
        (None, "364d", True),
        (None, "365d", False),
        (None, "999999999d", False),
    ],
)
def test_revoke_after_is_at_most_the_interval_less_a_day(interval: int | None, revoke_after: str, accepted: bool):
    _, problems = check("secret", {"rotation_interval": interval, "revoke_after": revoke_after})
    assert codes(problems) == ([] if accepted else [("revoke_after", "ParameterInvalid")])


@pytest.mark.parametrize(
    "text", ["", "24", "h", "1.5h", "-1h", "1w", "1h30m", " 1h", "1H", "\N{ARABIC-INDIC DIGIT THREE}h", "00", 24, None]
)
def test_what_is_no_duration_is_refused(text: object):
    _, problems = validate("secret", {**SECRET, "revoke_after": text})
    assert codes(problems) == ([] if text is None else [("revoke_after", "ParameterInvalid")])


# --- values that are not known yet


@pytest.mark.parametrize(
    ("base", "unknown", "expected"),
    [
        pytest.param(SECRET, ["name"], [], id="a required one"),
        pytest.param(SECRET, ["rotator_type"], [], id="the rotator: none of its rules is applied"),
        pytest.param(SECRET, ["app_id"], [], id="the application"),
        pytest.param(USER, ["api_key"], [], id="the value"),
        pytest.param({**SECRET, "api_key": CANARY}, ["api_id"], [], id="the id that a value needs"),
        pytest.param({**SECRET, "auto_rotate": True}, ["rotation_interval"], [], id="the interval"),
        pytest.param({**SECRET, "auto_rotate": True}, ["auto_rotate"], [], id="whether an interval is needed at all"),
        pytest.param(
            {**SECRET, "rotation_interval": 0}, ["name"], [("rotation_interval", "IntervalOutOfRange")], id="known"
        ),
    ],
)
def test_a_rule_that_needs_an_unknown_value_is_not_applied(
    base: Mapping[str, object], unknown: list[str], expected: list[tuple[str, str]]
):
    given_ = {name: value for name, value in base.items() if name not in unknown}
    values, problems = validate("secret", given_, unknown=unknown)
    assert codes(problems) == expected
    assert not set(values) & set(unknown)


def test_unknown_values_of_a_target_pass():
    _, problems = validate("target", {"name": "a"}, unknown=["tenant_id", "client_id", "client_secret"])
    assert codes(problems) == []


def test_without_defaults_only_what_was_given_is_returned():
    values, problems = validate("secret", dict(SECRET), defaults=False)
    assert codes(problems) == []
    assert values.keys() == SECRET.keys()


# --- references


@pytest.mark.parametrize(
    ("argument", "reference", "text"),
    [
        ("env:NAME", True, "env:NAME"),
        ("file:/run/secret", True, "file:/run/secret"),
        ("keyvault:https://vault/secrets/x", True, "keyvault:https://vault/secrets/x"),
        ("literal:env:NAME", False, "env:NAME"),
        ("literal:literal:x", False, "literal:x"),
        ("environment", False, "environment"),
        ("ENV:NAME", False, "ENV:NAME"),
    ],
)
def test_references_and_literals(argument: str, reference: bool, text: str):
    assert is_reference(argument) is reference
    assert literal_text(argument) == text


# --- the table itself


def test_every_credential_is_known_by_its_kind():
    assert secret_parameters("target") == {"client_secret"}
    assert secret_parameters("secret") == {"api_key", "password"}
    assert parameter("secret", "api_key").kind is Kind.SECRET


def test_flags_are_the_words_of_the_parameter():
    assert parameter("secret", "authentication_credentials").flag == "--authentication-credentials"
    with pytest.raises(KeyError):
        parameter("target", "app_id")


@pytest.mark.parametrize("subject", ["target", "secret"])
def test_every_parameter_is_complete(subject: Subject):
    rows = PARAMETERS[subject]
    assert len({one.name for one in rows}) == len(rows)
    flags = [name for one in rows for name in (one.name.replace("_", "-"), *one.aliases)]
    assert len(set(flags)) == len(flags)
    for one in rows:
        assert one.help
        assert bool(one.choices) is (one.kind is Kind.ENUM)
        assert set((one.choice_aliases or {}).values()) <= set(one.choices)
        if one.default is not None:
            assert validate(subject, {one.name: one.default})[0][one.name] == one.default


_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=40),
    st.sampled_from(["true", "api-key", "use-user-creds", "use-target-creds", TENANT, APP, KEY, CANARY, "24h", "/a"]),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


@pytest.mark.parametrize("subject", PARAMETERS)
@steady
@given(data=st.data())
def test_whatever_is_given_every_problem_has_a_code_and_no_credential(subject: Subject, data: st.DataObject):
    names = [one.name for one in PARAMETERS[subject]]
    credentials = secret_parameters(subject)
    given_: dict[str, object] = data.draw(
        st.fixed_dictionaries({}, optional={name: _JUNK for name in names if name not in credentials})
    )
    for name in credentials:
        given_[name] = data.draw(st.sampled_from([CANARY, f"literal:{CANARY}"]))
    mixed_up = sorted({"api_id", "client_id", "url"} & set(names))
    if data.draw(st.booleans()) and mixed_up:
        given_[data.draw(st.sampled_from(mixed_up))] = CANARY
    values, problems = validate(subject, given_)
    told = json.dumps([[p.property, p.code, p.message, p.hint] for p in problems])
    guids = {one.name for one in PARAMETERS[subject] if one.kind is Kind.GUID} | credentials | {"url"}
    if not any(value == CANARY for name, value in given_.items() if name not in guids):
        assert CANARY not in told
    for problem in problems:
        assert EXIT_CODES[problem.code] == 2
        assert problem.message
    assert {p.property for p in problems if p.property in names} <= set(names)
    if problems:
        error = rejection(problems)
        assert isinstance(error, Rejected)
        assert error.code == problems[0].code
        json.dumps(error.details)
    else:
        assert validate(subject, values)[1] == []


def test_one_problem_is_told_plainly_and_several_are_counted():
    _, one = check("secret", {"rotation_interval": 0})
    assert str(rejection(one)) == one[0].message
    assert rejection(one).details == {"property": "rotation_interval"}
    _, two = check("secret", {"rotation_interval": 0, "name": None})
    several = rejection(two)
    assert str(several).startswith("2 parameters are not acceptable: name: ")
    assert [p["property"] for p in several.details["problems"]] == ["name", "rotation_interval"]  # type: ignore[attr-defined]
    assert several.hint.count(";") == 1
