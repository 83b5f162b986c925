"""Users: who may set whose password, which ones Entra takes, and how users sign in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest

from azure_sandbox.testing import ApplicationInfo, ControlError, UserInfo
from tests.sandbox.azure import GRAPH, Azure, code

SET = "User-PasswordProfile.ReadWrite.All"
READ = "User.Read.All"
NEW = "Correct-horse-42-battery"
REFUSED_TEXT = (
    "The specified password does not comply with password complexity requirements. Please provide a different password."
)


@pytest.fixture
def setter(azure: Azure) -> ApplicationInfo:
    return azure.app(SET, READ)


@pytest.fixture
def user(azure: Azure) -> UserInfo:
    return azure.control.create_user(tenant=azure.tenant.tenant_id)


@pytest.fixture
def client(azure: Azure) -> ApplicationInfo:
    """A confidential client by which users sign in and change their passwords."""
    return azure.app(delegated=[SET, "User.Read"])


def reset(azure: Azure, user: UserInfo | str, caller: ApplicationInfo, **profile: object):
    id_ = user if isinstance(user, str) else user.object_id
    return azure.graph("PATCH", f"/users/{id_}", caller, json={"passwordProfile": profile})


def sign_in(azure: Azure, user: UserInfo | str, password: str, client: ApplicationInfo, **form: str | None):
    name = user if isinstance(user, str) else user.upn
    fields: dict[str, Any] = {
        "grant_type": "password",
        "username": name,
        "password": password,
        "scope": f"{GRAPH} openid",
        **form,
    }
    return azure.login(client, client.secrets["boot"], **fields)


def signs_in(azure: Azure, user: UserInfo, password: str, client: ApplicationInfo) -> int | None:
    """None, or the number of the refusal."""
    answer = sign_in(azure, user, password, client)
    return None if answer.status_code == 200 else answer.json()["error_codes"][0]


def change(azure: Azure, user: UserInfo, password: str, client: ApplicationInfo, **body: object):
    token = sign_in(azure, user, password, client).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    return azure.graph("POST", "/me/changePassword", None, headers=headers, json=body)


# Reading.


def test_a_read_shows_what_it_selects(azure: Azure, setter):
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, synchronised=True, name="Grace Hopper")
    plain = azure.graph("GET", f"/users/{user.upn}", setter).json()
    assert (plain["id"], plain["userPrincipalName"], plain["givenName"]) == (user.object_id, user.upn, "Grace")
    assert "onPremisesSyncEnabled" not in plain
    path = f"/users/{user.object_id.upper()}?$select=id,onPremisesSyncEnabled,accountEnabled"
    shown = azure.graph("GET", path, setter).json()
    shown.pop("@odata.context")
    assert shown == {"id": user.object_id, "onPremisesSyncEnabled": True, "accountEnabled": True}


def test_a_cloud_user_has_null_for_synchronised(azure: Azure, setter, user):
    shown = azure.graph("GET", f"/users/{user.object_id}?$select=onPremisesSyncEnabled", setter).json()
    assert shown["onPremisesSyncEnabled"] is None


def test_users_are_found_by_name(azure: Azure, setter, user):
    azure.control.create_user(tenant=azure.tenant.tenant_id)
    found = azure.graph("GET", f"/users?$filter=userPrincipalName eq '{user.upn}'&$select=id", setter).json()
    assert [row["id"] for row in found["value"]] == [user.object_id]


READS = {
    "User.Read.All": (200, 200),
    "User.ReadBasic.All": (200, 403),
    "Directory.Read.All": (200, 200),
    SET: (403, 403),
    "Application.ReadWrite.All": (403, 403),
}


@pytest.mark.parametrize("role", READS)
def test_who_may_read(azure: Azure, user, role):
    caller = azure.app(role)
    paths = (f"/users/{user.object_id}", f"/users/{user.object_id}/memberOf")
    assert tuple(azure.graph("GET", path, caller).status_code for path in paths) == READS[role]


def test_basic_reads_show_no_more_than_basics(azure: Azure, user):
    caller = azure.app("User.ReadBasic.All")
    shown = azure.graph("GET", f"/users/{user.object_id}?$select=id,accountEnabled", caller).json()
    assert "accountEnabled" not in shown


def test_directory_roles_are_memberships(azure: Azure, setter):
    admin = azure.control.create_user(tenant=azure.tenant.tenant_id, roles=["User Administrator"])
    for relation in ("memberOf", "transitiveMemberOf/microsoft.graph.directoryRole"):
        [role] = azure.graph("GET", f"/users/{admin.object_id}/{relation}", setter).json()["value"]
        assert role["@odata.type"] == "#microsoft.graph.directoryRole"
        assert (role["displayName"], role["roleTemplateId"]) == (
            "User Administrator",
            "fe930be7-5e62-47db-91af-98c3a49a38b1",
        )


@pytest.mark.parametrize("id_", ["nobody@example.com", "99999999-9999-4999-8999-999999999999"])
def test_an_unknown_user_is_404(azure: Azure, setter, id_):
    for answer in (azure.graph("GET", f"/users/{id_}", setter), reset(azure, id_, setter, password=NEW)):
        assert (answer.status_code, code(answer)) == (404, "Request_ResourceNotFound")


def test_another_tenants_user_is_unknown(azure: Azure, setter):
    other = azure.control.create_user(tenant=azure.control.create_tenant().tenant_id)
    assert azure.graph("GET", f"/users/{other.upn}", setter).status_code == 404


# Setting.


def test_a_set_password_signs_in_and_the_old_one_does_not(azure: Azure, setter, user, client):
    answer = reset(azure, user, setter, password=NEW, forceChangePasswordNextSignIn=False)
    assert (answer.status_code, answer.content) == (204, b"")
    assert signs_in(azure, user, NEW, client) is None
    assert signs_in(azure, user, user.password or "", client) == 50126
    told = azure.control.user(user.upn)
    assert (told.password_origin, told.force_change, told.passwords_set) == ("reset", False, 2)


def test_setting_the_same_once_more_is_harmless(azure: Azure, setter, user, client):
    azure.control.update_user(user.upn, behaviour={"password_history": 10})
    for _ in range(2):
        assert reset(azure, user, setter, password=NEW, forceChangePasswordNextSignIn=False).status_code == 204
    assert signs_in(azure, user, NEW, client) is None


@pytest.mark.parametrize("flag", [{}, {"forceChangePasswordNextSignIn": True}], ids=["left out", "true"])
def test_unless_told_otherwise_the_password_must_be_changed_first(azure: Azure, setter, user, client, flag):
    reset(azure, user, setter, password=NEW, **flag)
    assert azure.control.user(user.upn).force_change
    assert signs_in(azure, user, NEW, client) == 50055


def test_the_flag_alone_changes_nothing(azure: Azure, setter, user, client):
    assert reset(azure, user, setter, forceChangePasswordNextSignIn=True).status_code == 204
    assert signs_in(azure, user, user.password or "", client) is None
    assert azure.control.counts(user=user.upn)["password_changes"] == 0


COMPLEXITY = {
    "seven characters": ("Aa1-bcd", True),
    "eight characters": ("Zq1-bcdx", False),
    "two classes": ("abcdefghij1234567890", True),
    "three classes": ("xkcdhorseZ936", False),
    "an umlaut": ("Zäq1-bcdxyz", True),
    "256 characters": ("Zq1-" + "x" * 252, False),
    "257 characters": ("Zq1-" + "x" * 253, True),
    "a weak word with look-alikes": ("P@ssw0rd1!", True),
    "a weak word among others": ("P@ssw0rd-but-longer-41", False),
    "the tenant's own word": ("Fabrikam1!", True),
    "a space": ("Zq1 bcd xyz", False),
}


@pytest.mark.parametrize(("password", "refused"), COMPLEXITY.values(), ids=COMPLEXITY.keys())
def test_complexity(azure: Azure, client, password, refused):
    azure.tenant = azure.control.create_tenant(banned_passwords=["fabrikam"])
    setter, user = azure.app(SET), azure.control.create_user(tenant=azure.tenant.tenant_id)
    answer = reset(azure, user, setter, password=password, forceChangePasswordNextSignIn=False)
    assert answer.status_code == (400 if refused else 204)
    assert azure.control.verify_password(user.upn, password) == (None if refused else "present")
    if refused:
        assert answer.json()["error"]["message"] == REFUSED_TEXT
        assert password not in answer.text


def test_history_refuses_earlier_passwords(azure: Azure, setter, user):
    azure.control.update_user(user.upn, behaviour={"password_history": 1})
    first, second = "First-of-three-11", "Second-of-three-22"
    codes = [
        reset(azure, user, setter, password=value, forceChangePasswordNextSignIn=False).status_code
        for value in (first, second, first, "Third-of-three-33", first)
    ]
    assert codes == [204, 204, 400, 204, 204]
    assert azure.control.verify_password(user.upn, second) == "earlier"


GRANTS = {
    "the permission": ([SET], [], [], 204),
    "users' properties only": (["User.ReadWrite.All"], [], [], 403),
    "the whole directory": (["Directory.ReadWrite.All"], [], [], 403),
    "properties and a role that resets": (["User.ReadWrite.All"], ["Password Administrator"], [], 204),
    "an administrator": ([SET], [], ["Helpdesk Administrator"], 403),
    "an administrator, from below": ([SET], ["Password Administrator"], ["User Administrator"], 403),
    "an administrator, from above": ([SET], ["User Administrator"], ["Helpdesk Administrator"], 204),
    "a global administrator, from below": ([SET], ["User Administrator"], ["Global Administrator"], 403),
    "a global administrator": (
        [SET],
        ["Privileged Authentication Administrator"],
        ["Global Administrator"],
        204,
    ),
    "two roles, one too high": ([SET], ["User Administrator"], ["Reports Reader", "Security Administrator"], 403),
}


@pytest.mark.parametrize(("roles", "held", "targets", "status"), GRANTS.values(), ids=GRANTS.keys())
def test_who_may_set_whose_password(azure: Azure, roles, held, targets, status):
    caller = azure.app(*roles, directory_roles=held)
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, roles=targets)
    answer = reset(azure, user, caller, password=NEW, forceChangePasswordNextSignIn=False)
    assert answer.status_code == status
    assert azure.control.verify_password(user.upn, NEW) == ("present" if status == 204 else None)
    if status == 403:
        assert code(answer) == "Authorization_RequestDenied"


def test_a_synchronised_user_is_mastered_elsewhere(azure: Azure, setter, client):
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, synchronised=True)
    answer = reset(azure, user, setter, password=NEW)
    assert (answer.status_code, code(answer)) == (400, "Request_BadRequest")
    assert "on-premises mastered" in answer.json()["error"]["message"]


def test_the_permission_for_passwords_changes_nothing_else(azure: Azure, setter, user):
    body: dict[str, Any] = {"passwordProfile": {"password": NEW}, "displayName": "Somebody else"}
    assert azure.graph("PATCH", f"/users/{user.object_id}", setter, json=body).status_code == 403
    writer = azure.app("User.ReadWrite.All")
    body = {"displayName": "Somebody else", "accountEnabled": False}
    assert azure.graph("PATCH", f"/users/{user.object_id}", writer, json=body).status_code == 204
    told = azure.control.user(user.upn)
    assert (told.name, told.enabled) == ("Somebody else", False)
    assert azure.control.counts(user=user.upn)["password_changes"] == 0


@pytest.mark.parametrize(
    "body",
    [
        {"passwordProfile": "x"},
        {"passwordProfile": {"password": 1}},
        {"passwordProfile": {"password": NEW, "forceChangePasswordNextSignIn": {}}},
        {"nonsense": 1},
        [],
    ],
)
def test_a_body_that_makes_no_sense_is_400(azure: Azure, user, body):
    caller = azure.app(SET, "User.ReadWrite.All")
    assert azure.graph("PATCH", f"/users/{user.object_id}", caller, json=body).status_code == 400
    assert azure.control.user(user.upn).passwords_set == 1


# Signing in.


def test_a_sign_in_gives_a_token_that_acts_as_the_user(azure: Azure, user, client):
    answer = sign_in(azure, user, user.password or "", client).json()
    assert answer["scope"] == f"https://graph.microsoft.com/{SET} https://graph.microsoft.com/User.Read openid profile"
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert (claims["upn"], claims["oid"], claims["idtyp"]) == (user.upn, user.object_id, "user")
    assert set(claims["scp"].split()) == {SET, "User.Read", "openid", "profile"}
    identity = jwt.decode(answer["id_token"], options={"verify_signature": False})
    assert (identity["aud"], identity["preferred_username"]) == (client.app_id, user.upn)
    headers = {"authorization": f"Bearer {answer['access_token']}"}
    assert azure.graph("GET", "/me", None, headers=headers).json()["id"] == user.object_id
    assert azure.graph("GET", "/applications", None, headers=headers).status_code == 403
    assert azure.graph("GET", "/me", None, headers={"authorization": f"Bearer {answer['id_token']}"}).status_code == 401


REFUSALS = {
    "a wrong password": ({}, {"password": "wrong"}, 50126, 400, "invalid_grant"),
    "no password": ({}, {"password": None}, 900144, 400, "invalid_request"),
    "nobody": ({}, {"username": "nobody@example.com"}, 50034, 400, "invalid_grant"),
    "a disabled user": ({"enabled": False}, {}, 50057, 400, "invalid_grant"),
    "a second factor": ({"mfa": True}, {}, 50076, 400, "invalid_grant"),
    "a policy": ({"conditional_access": True}, {}, 53003, 400, "invalid_grant"),
    "a second factor after a wrong password": ({"mfa": True}, {"password": "wrong"}, 50126, 400, "invalid_grant"),
    "no secret": ({}, {"client_secret": None}, 7000218, 401, "invalid_client"),
    "a wrong secret": ({}, {"client_secret": "wrong"}, 7000215, 401, "invalid_client"),
    "a permission that was not granted": (
        {},
        {"scope": "https://graph.microsoft.com/User.ReadWrite"},
        65001,
        400,
        "invalid_grant",
    ),
    "two resources": (
        {},
        {"scope": "https://graph.microsoft.com/User.Read https://vault.azure.net/.default"},
        70011,
        400,
        "invalid_scope",
    ),
    "another grant": ({}, {"grant_type": "authorization_code"}, 70003, 400, "unsupported_grant_type"),
}


@pytest.mark.parametrize(("state", "form", "number", "status", "error"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refused_sign_in(azure: Azure, client, state, form, number, status, error):
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, **state)
    fields: dict[str, Any] = {
        "grant_type": "password",
        "username": user.upn,
        "password": user.password,
        "client_secret": client.secrets["boot"],
        **form,
    }
    answer = azure.login(client, fields.pop("client_secret"), **fields)
    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (status, error, [number])
    assert (user.password or "") not in answer.text


def test_a_client_without_consent_learns_that_the_password_was_right(azure: Azure, user):
    bare = azure.app()
    assert signs_in(azure, user, user.password or "", bare) == 65001
    assert signs_in(azure, user, "wrong", bare) == 50126
    assert sign_in(azure, user, user.password or "", bare, scope="openid").status_code == 200


def test_too_many_different_mistakes_lock_the_user_out(alone: Azure):
    azure = alone
    client = azure.app(delegated=["User.Read"])
    user = azure.control.create_user(tenant=azure.tenant.tenant_id)
    for _ in range(12):
        assert signs_in(azure, user, "the same mistake", client) == 50126
    for number in range(9):
        assert signs_in(azure, user, f"mistake {number}", client) == 50126
    assert signs_in(azure, user, user.password or "", client) == 50053
    azure.control.advance("61s")
    assert signs_in(azure, user, user.password or "", client) is None


def test_a_new_password_reaches_each_front_end_in_its_time(alone: Azure):
    azure = alone
    setter, client = azure.app(SET), azure.app(delegated=["User.Read"])
    user = azure.control.create_user(tenant=azure.tenant.tenant_id, behaviour={"visible_after": [0, 30]})
    reset(azure, user, setter, password=NEW, forceChangePasswordNextSignIn=False)
    assert [signs_in(azure, user, NEW, client) for _ in range(4)] == [None, 50126, None, 50126]
    assert [signs_in(azure, user, user.password or "", client) for _ in range(2)] == [50126, None]
    azure.control.advance("31s")
    assert [signs_in(azure, user, NEW, client) for _ in range(2)] == [None, None]


def test_home_realm_discovery(azure: Azure, user):
    federated = azure.control.create_user(tenant=azure.tenant.tenant_id, federated=True)
    found = {
        upn: azure.http.get(f"https://login.microsoftonline.com/common/userrealm/{upn}?api-version=1.0").json()
        for upn in (user.upn, federated.upn, "nobody@nowhere.example")
    }
    assert [realm["account_type"] for realm in found.values()] == ["Managed", "Federated", "Unknown"]
    assert found[user.upn]["domain_name"] == azure.tenant.domain
    assert found[federated.upn]["federation_protocol"] == "WSTrust"


# Changing one's own.


def test_a_user_changes_his_own_password(azure: Azure, user, client):
    old = user.password or ""
    answer = change(azure, user, old, client, currentPassword=old, newPassword=NEW)
    assert (answer.status_code, answer.content) == (204, b"")
    assert [signs_in(azure, user, value, client) for value in (old, NEW)] == [50126, None]
    assert azure.control.user(user.upn).password_origin == "change"
    again = change(azure, user, NEW, client, currentPassword=old, newPassword=NEW)
    assert (again.status_code, code(again)) == (400, "Request_BadRequest")


CHANGES = {
    "a wrong present one": {"currentPassword": "wrong", "newPassword": NEW},
    "the present one again": {"newPassword": None},
    "a weak one": {"newPassword": "short"},
    "no new one": {"newPassword": 1},
    "no present one": {"currentPassword": 1, "newPassword": NEW},
}


@pytest.mark.parametrize("body", CHANGES.values(), ids=CHANGES.keys())
def test_a_refused_change_changes_nothing(azure: Azure, user, client, body):
    old = user.password or ""
    filled = {"currentPassword": old, **body}
    filled["newPassword"] = filled["newPassword"] or old
    assert change(azure, user, old, client, **filled).status_code == 400
    assert azure.control.verify_password(user.upn, old) == "present"
    assert azure.control.user(user.upn).passwords_set == 1


def test_changing_takes_the_delegated_permission(azure: Azure, user, setter):
    bare = azure.app(delegated=["User.Read"])
    old = user.password or ""
    answer = change(azure, user, old, bare, currentPassword=old, newPassword=NEW)
    assert (answer.status_code, code(answer)) == (403, "Authorization_RequestDenied")
    as_app = azure.graph("POST", "/me/changePassword", setter, json={"currentPassword": old, "newPassword": NEW})
    assert as_app.status_code == 400


# What tests look at.


def test_the_journal_tells_of_password_changes_and_never_a_password(azure: Azure, setter, user, client):
    azure.control.add_fault("graph.updateUser", user=user.upn, when="after", drop=True)
    with pytest.raises(Exception, match="disconnected"):
        reset(azure, user, setter, password=NEW, forceChangePasswordNextSignIn=False)
    change(azure, user, NEW, client, currentPassword=NEW, newPassword="Another-of-mine-77")
    told = [
        (entry.operation, entry.status, entry.committed, entry.principal)
        for entry in azure.control.journal(user=user.object_id)
    ]
    assert told == [
        ("graph.updateUser", 0, True, setter.app_id),
        ("login.token", 200, False, client.app_id),
        ("graph.changePassword", 204, True, client.app_id),
    ]
    assert azure.control.counts(user=user.upn)["password_changes"] == 2
    assert NEW not in repr((azure.control.journal(), azure.control.users()))


def test_the_truth_about_a_password_counts_no_sign_in(azure: Azure, user):
    for _ in range(20):
        assert azure.control.verify_password(user.upn, "wrong") is None
    assert azure.control.verify_password(user.object_id, user.password or "") == "present"
    assert azure.control.journal(user=user.upn) == []


def test_passwords_are_hashes_on_disk(alone: Azure):
    user = alone.control.create_user(tenant=alone.tenant.tenant_id, password="Chosen-by-the-test-1")
    alone.control.load_seed(alone.control.seed() + '\n[[users]]\nupn = "x@y.example"\npassword = "Given-by-a-seed-1"\n')
    alone.sandbox.kill()
    for path in alone.sandbox.state.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"Chosen-by-the-test-1" not in content, path.name
        assert b"Given-by-a-seed-1" not in content, path.name
    alone.sandbox.start()
    assert alone.control.verify_password("x@y.example", "Given-by-a-seed-1") == "present"
    assert user.password == "Chosen-by-the-test-1"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"roles": ["King"]}, "unknown directory role 'King'"),
        ({"mfa": "yes"}, "mfa is true or false"),
        ({"colour": "red"}, "unknown key colour"),
        ({"tenant": "nowhere"}, "no tenant"),
    ],
)
def test_what_no_user_can_be(azure: Azure, record, message):
    with pytest.raises(ControlError, match=message):
        azure.control.create_user(**record)


def test_a_reset_while_a_change_is_inside_brings_nobody_back(alone: Azure):
    setter = alone.app(SET)
    user = alone.control.create_user(tenant=alone.tenant.tenant_id)
    alone.token(setter)
    fault = alone.control.add_fault("graph.updateUser", hold=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(reset, alone, user, setter, password=NEW)
        fault.wait_reached()
        alone.control.reset()
        assert answer.result(timeout=30).status_code == 404
    with pytest.raises(ControlError, match="no user"):
        alone.control.user(user.upn)
