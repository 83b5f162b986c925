"""Graph's JSON: read whole or refused."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from azure_rotator.cloud import payloads

KEY = {
    "customKeyIdentifier": None,
    "displayName": "key1",
    "endDateTime": "2024-05-07T06:52:43.3086381Z",
    "hint": "yXo",
    "keyId": "73C912D2-0000-4000-8000-000000000001",
    "secretText": None,
    "startDateTime": "2022-05-07T06:52:43Z",
}
APPLICATION = {"id": "OBJ", "appId": "APP", "displayName": "billing", "passwordCredentials": [KEY]}
NEW = KEY | {"secretText": "canary-value"}


def test_an_application_is_read():
    application = payloads.application(APPLICATION)
    assert (application.object_id, application.app_id, application.display_name) == ("obj", "app", "billing")
    (password,) = application.passwords
    assert password.key_id == "73c912d2-0000-4000-8000-000000000001"
    assert password.end_at == datetime(2024, 5, 7, 6, 52, 43, tzinfo=UTC)
    assert (password.display_name, password.hint) == ("key1", "yXo")


INSTANTS = [
    ("2024-05-07T06:52:43Z", datetime(2024, 5, 7, 6, 52, 43, tzinfo=UTC)),
    ("2024-05-07T06:52:43.9999999Z", datetime(2024, 5, 7, 6, 52, 43, tzinfo=UTC)),
    ("2024-05-07T06:52:43", datetime(2024, 5, 7, 6, 52, 43, tzinfo=UTC)),
    ("2024-05-07T08:52:43.1+02:00", datetime(2024, 5, 7, 6, 52, 43, tzinfo=UTC)),
]


@pytest.mark.parametrize(("text", "instant"), INSTANTS)
def test_an_instant_is_utc_in_whole_seconds(text, instant):
    assert payloads.new_password(NEW | {"endDateTime": text}).end_at == instant


def test_what_graph_may_leave_out_is_none():
    bare = {"keyId": KEY["keyId"], "displayName": None, "hint": None, "startDateTime": None, "endDateTime": None}
    (password,) = payloads.application(APPLICATION | {"displayName": None, "passwordCredentials": [bare]}).passwords
    assert (password.display_name, password.hint, password.start_at, password.end_at) == (None, None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "text",
        {},
        {name: value for name, value in APPLICATION.items() if name != "passwordCredentials"},
        {name: value for name, value in APPLICATION.items() if name != "id"},
        APPLICATION | {"passwordCredentials": None},
        APPLICATION | {"passwordCredentials": {}},
        APPLICATION | {"passwordCredentials": [None]},
        APPLICATION | {"passwordCredentials": [KEY, {}]},
        APPLICATION | {"passwordCredentials": [KEY | {"keyId": ""}]},
        APPLICATION | {"passwordCredentials": [KEY | {"keyId": "canary"}]},
        APPLICATION | {"passwordCredentials": [KEY | {"endDateTime": "tomorrow"}]},
        APPLICATION | {"passwordCredentials": [KEY | {"endDateTime": 5}]},
        APPLICATION | {"appId": 5},
    ],
)
def test_a_half_application_is_refused_and_never_looks_like_one_without_secrets(body):
    with pytest.raises(ValueError, match=r"missing|no "):
        payloads.application(body)


@pytest.mark.parametrize(
    "change",
    [
        {"secretText": None},
        {"secretText": ""},
        {"secretText": 5},
        {"keyId": None},
        {"keyId": "canary-value"},
        {"endDateTime": None},
        {"startDateTime": None},
        {"endDateTime": "canary-value"},
    ],
)
def test_a_new_secret_that_lacks_something_is_refused_without_being_shown(change):
    with pytest.raises(ValueError, match=r"missing|no ") as caught:
        payloads.new_password(NEW | change)
    assert "canary" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_a_new_secret_is_read_and_does_not_show_itself():
    new = payloads.new_password(NEW)
    assert new.value.reveal() == "canary-value"
    assert "canary" not in repr(new)


def token(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.c2ln"


def test_grants_are_the_tokens_roles_and_object_id():
    grants = payloads.grants(token({"roles": ["A.All", "B.All", 5], "oid": "OID"}))
    assert grants.roles == {"A.All", "B.All"}
    assert grants.principal_id == "oid"


def test_a_token_without_roles_grants_nothing():
    assert payloads.grants(token({"oid": "OID"})).roles == frozenset()


@pytest.mark.parametrize(
    "text",
    ["", "canary", "a.canary", "a.can~ary.c", "a.!!!!.c", token([]), token({}), token({"oid": "x", "roles": "y"})],
)
def test_a_token_that_cannot_be_read_is_refused_without_being_shown(text):
    with pytest.raises(ValueError, match=r"missing|no ") as caught:
        payloads.grants(text)
    assert "canary" not in repr(caught.value)
    assert caught.value.__context__ is None
