"""``EntraUsers`` through msgraph-sdk and the password grant, against the sandbox."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from azure_rotator.cloud import EntraUsers
from azure_rotator.cloud.endpoints import CLOUDS
from azure_rotator.domain.errors import Forbidden, NotFound, Rejected, RotatorError, Unavailable
from azure_rotator.domain.ports import Identity, SignIn
from azure_rotator.domain.secrettext import SecretText
from azure_sandbox.testing import Control
from tests.plugins.azure import App
from tests.rows import row

GRANT = "User-PasswordProfile.ReadWrite.All"
NEW = SecretText("9xKq!made-up-for-this-test")
NOBODY = "nobody-of-this-name@example.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user in the sandbox."""

    upn: str
    object_id: str
    password: SecretText
    control: Control

    def has(self, password: SecretText) -> bool:
        """The truth, whatever front ends say."""
        return self.control.verify_password(self.upn, password.reveal()) == "present"

    def count(self, operation: str) -> int:
        return len(self.control.journal(user=self.upn, operation=operation))


@pytest.fixture
def users(azure) -> EntraUsers:
    return EntraUsers()


@pytest.fixture
def make_user(control, tenant):
    def make(**record: Any) -> Person:
        info = control.create_user(**{"tenant": tenant.tenant_id} | record)
        return Person(upn=info.upn, object_id=info.object_id, password=SecretText(info.password or ""), control=control)

    return make


@pytest.fixture
def user(make_user) -> Person:
    return make_user()


@pytest.fixture
def setter(make_application) -> App:
    """The least that sets passwords."""
    return make_application("setter", roles=[GRANT])


@pytest.fixture
def client(make_application) -> App:
    """An application through which users change their own passwords."""
    return make_application("client", delegated=[GRANT])


def refused(call) -> RotatorError:
    with pytest.raises(RotatorError) as caught:
        call()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert caught.value.hint
    return caught.value


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_user_is_read_with_his_roles(users, make_application, make_user):
    reader = make_application("reader", roles=[GRANT, "User.Read.All", "Directory.Read.All"])
    plain, admin, synchronised = make_user(), make_user(roles=["User Administrator"]), make_user(synchronised=True)
    found = users.get_user(reader.identity(), plain.upn)
    assert (found.object_id, found.username) == (plain.object_id, plain.upn)
    assert (found.synchronised, found.roles) == (False, ())
    assert users.get_user(reader.identity(), admin.upn).roles == ("User Administrator",)
    assert users.get_user(reader.identity(), synchronised.upn).synchronised is True


def test_roles_are_read_to_the_last_page_and_groups_are_none(users, control, make_application, make_user):
    reader = make_application("reader", roles=["User.Read.All", "Directory.Read.All"])
    user = make_user(roles=["User Administrator"])
    page = {
        "value": [
            {"@odata.type": "#microsoft.graph.group", "id": "G", "displayName": "everybody"},
            {"@odata.type": "#microsoft.graph.directoryRole", "id": "HIDDEN", "displayName": None},
        ],
        "@odata.nextLink": f"https://graph.microsoft.com/v1.0/users/{user.object_id}/memberOf",
    }
    control.add_fault("graph.listUserMemberOf", status=200, body=json.dumps(page))
    assert users.get_user(reader.identity(), user.upn).roles == ("hidden", "User Administrator")


def test_what_the_least_grant_may_not_read_is_unknown(users, setter, user):
    found = users.get_user(setter.identity(), user.upn)
    assert (found.object_id, found.synchronised, found.roles) == (None, None, None)
    assert found.username == user.upn


def test_who_reads_the_basics_learns_no_more(users, make_application, user):
    basics = make_application("basics", roles=["User.ReadBasic.All"])
    found = users.get_user(basics.identity(), user.upn)
    assert found.object_id == user.object_id
    assert (found.synchronised, found.roles) == (None, None)


def test_a_user_who_is_not_there(users, make_application, setter):
    reader = make_application("reader", roles=["User.Read.All"])
    error = refused(lambda: users.get_user(reader.identity(), NOBODY))
    assert isinstance(error, NotFound)
    assert error.code == "UserNotFound"
    assert NOBODY in error.message
    assert refused(lambda: users.set_password(setter.identity(), NOBODY, NEW)).code == "UserNotFound"


READS = {
    "503": {"preset": "unavailable-503"},
    "dropped": {"preset": "dropped"},
    "a page": {"preset": "html-200"},
    "a proxy's 403": {"status": 403, "body": "<html>", "content_type": "text/html"},
    "cut off": {"preset": "truncated-json"},
    "without the id": {"when": "after", "without": ["id"]},
    "a flag that is none": {"status": 200, "body": '{"id": "x", "onPremisesSyncEnabled": "yes"}'},
}


@pytest.mark.parametrize("fault", READS.values(), ids=READS)
def test_a_read_is_whole_or_an_outage(users, control, make_application, user, fault):
    reader = make_application("reader", roles=["User.Read.All", "Directory.Read.All"])
    control.add_fault("graph.getUser", path=f"*{user.upn}*", times=None, **fault)
    assert isinstance(refused(lambda: users.get_user(reader.identity(), user.upn)), Unavailable)


@pytest.mark.parametrize("fault", [{"preset": "unavailable-503"}, {"when": "after", "without": ["value"]}], ids=str)
def test_roles_that_cannot_be_read_now_are_an_outage_and_not_none(users, control, make_application, user, fault):
    reader = make_application("reader", roles=["User.Read.All", "Directory.Read.All"])
    control.add_fault("graph.listUserMemberOf", path=f"*{user.upn}*", times=None, **fault)
    assert isinstance(refused(lambda: users.get_user(reader.identity(), user.upn)), Unavailable)


# --- set by the target --------------------------------------------------------------------------------------------


def test_a_password_is_set_by_one_request_without_a_forced_change(users, control, setter, client, user):
    users.set_password(setter.identity(), user.upn, NEW)
    assert user.has(NEW)
    assert control.user(user.upn).force_change is False
    assert user.count("graph.updateUser") == 1
    assert users.sign_in(client.identity(), user.upn, NEW) is SignIn.ACCEPTED
    error = refused(lambda: users.sign_in(client.identity(), user.upn, user.password))
    assert error.details["aadsts"] == 50126


def test_setting_the_same_once_more_is_harmless(users, setter, user):
    for _ in range(2):
        users.set_password(setter.identity(), user.upn, NEW)
    assert user.has(NEW)


@row("F52")
@pytest.mark.parametrize("weak", ["short1!", "Password1!", "nodigitsatall"])
def test_a_password_that_entra_refuses_is_told_from_all_else(users, setter, user, weak):
    error = refused(lambda: users.set_password(setter.identity(), user.upn, SecretText(weak)))
    assert isinstance(error, Rejected)
    assert error.code == "PasswordPolicyInvalid"
    assert weak not in f"{error.message} {error.hint} {error.details}"
    assert user.has(user.password)


def test_a_user_mastered_on_premises_is_no_matter_of_the_password(users, make_application, make_user):
    acting = make_application("setter", roles=[GRANT, "User.Read.All"]).identity()
    user = make_user(synchronised=True)
    error = refused(lambda: users.set_password(acting, user.upn, NEW))
    assert isinstance(error, Rejected)
    assert error.code == "AzureRefused"
    assert "on-premises" in error.message
    assert user.count("graph.updateUser") == 1


@row("F49")
def test_an_administrators_password_names_the_role_that_is_missing(users, setter, make_user):
    admin = make_user(roles=["Global Administrator"])
    error = refused(lambda: users.set_password(setter.identity(), admin.upn, NEW))
    assert isinstance(error, Forbidden)
    assert error.code == "AzurePermissionMissing"
    assert error.details["permission"] == GRANT
    assert "Privileged Authentication Administrator" in error.hint
    assert admin.has(admin.password)


def test_a_role_above_the_administrators_is_enough(users, make_application, make_user):
    above = make_application("above", roles=[GRANT], directory_roles=["Privileged Authentication Administrator"])
    admin = make_user(roles=["User Administrator"])
    users.set_password(above.identity(), admin.upn, NEW)
    assert admin.has(NEW)


def test_the_missing_permission_is_named(users, make_application, user):
    nobody = make_application("nobody")
    error = refused(lambda: users.set_password(nobody.identity(), user.upn, NEW))
    assert error.code == "AzurePermissionMissing"
    assert GRANT in error.hint


def test_a_login_that_is_refused_writes_nothing(users, setter, user):
    error = refused(lambda: users.set_password(setter.identity("nonsense"), user.upn, NEW))
    assert error.details["aadsts"] == 7000215
    assert user.count("graph.updateUser") == 0


BEFORE = {
    "500": ({"preset": "internal-500"}, "AzureUnavailable", "unknown"),
    "502, a page": ({"preset": "html-502"}, "AzureUnavailable", "unknown"),
    "503 with Retry-After": (
        {"preset": "unavailable-503", "headers": {"Retry-After": "1"}},
        "AzureUnavailable",
        "unknown",
    ),
    "504": ({"preset": "gateway-timeout-504"}, "AzureUnavailable", "unknown"),
    "429": ({"preset": "throttled"}, "AzureThrottled", "no"),
    "429 without Retry-After": ({"preset": "throttled-without-retry-after"}, "AzureThrottled", "no"),
    "429 with garbage": ({"preset": "throttled", "headers": {"Retry-After": "soon"}}, "AzureThrottled", "no"),
    "collision": ({"preset": "concurrency-409"}, "AzureUnavailable", "unknown"),
    "dropped": ({"preset": "dropped"}, "AzureUnavailable", "unknown"),
    "307 to somewhere else": (
        {"status": 307, "body": "", "headers": {"Location": "https://graph.microsoft.us/v1.0/x"}},
        "AzureUnavailable",
        "unknown",
    ),
    "a proxy's 403": ({"status": 403, "body": "<html>", "content_type": "text/html"}, "AzureUnavailable", "unknown"),
    "a proxy's 400": ({"status": 400, "body": "<html>", "content_type": "text/html"}, "AzureUnavailable", "unknown"),
}


@pytest.mark.parametrize(("fault", "code", "applied"), BEFORE.values(), ids=BEFORE)
def test_a_password_without_a_usable_answer_is_sent_once(users, control, setter, user, fault, code, applied):
    control.add_fault("graph.updateUser", path=f"*{user.upn}*", times=None, **fault)
    error = refused(lambda: users.set_password(setter.identity(), user.upn, NEW))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied) == (code, applied)
    assert user.count("graph.updateUser") == 1
    assert user.has(user.password)


LOST = {
    "dropped": {"preset": "dropped"},
    "500": {"preset": "internal-500"},
    "503": {"preset": "unavailable-503"},
    "504": {"preset": "gateway-timeout-504"},
    "a page": {"preset": "html-502"},
}


@row("F53")
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_password_whose_answer_is_lost_is_unknown_and_a_sign_in_tells(users, control, setter, client, user, fault):
    control.add_fault("graph.updateUser", path=f"*{user.upn}*", when="after", times=None, **fault)
    error = refused(lambda: users.set_password(setter.identity(), user.upn, NEW))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert user.count("graph.updateUser") == 1
    assert users.sign_in(client.identity(), user.upn, NEW) is SignIn.ACCEPTED


def test_a_password_that_is_not_answered_is_given_up_and_unknown(azure, control, setter, user):
    users = EntraUsers(request_seconds=0.5)
    fault = control.add_fault("graph.updateUser", path=f"*{user.upn}*", hold=True)
    started = time.monotonic()
    error = refused(lambda: users.set_password(setter.identity(), user.upn, NEW))
    assert time.monotonic() - started < 8
    assert users.call_seconds == 1.0
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    fault.release()


# --- signing in ---------------------------------------------------------------------------------------------------


def test_a_sign_in_is_one_request(users, client, user):
    assert users.sign_in(client.identity(), user.upn, user.password) is SignIn.ACCEPTED
    assert user.count("login.token") == 1
    assert user.count("login.userRealm") == 0


def test_a_sign_in_takes_no_permission_at_all(users, make_application, user):
    bare = make_application("bare")
    assert users.sign_in(bare.identity(), user.upn, user.password) is SignIn.ACCEPTED


@row("F50")
@pytest.mark.parametrize("demand", ["mfa", "conditional_access"])
def test_a_demand_after_a_correct_password_proves_it_and_not_after_a_wrong_one(users, control, client, user, demand):
    control.update_user(user.upn, **{demand: True})
    assert users.sign_in(client.identity(), user.upn, user.password) is SignIn.DEMANDED_MORE
    error = refused(lambda: users.sign_in(client.identity(), user.upn, NEW))
    assert isinstance(error, Forbidden)
    assert (error.code, error.details["aadsts"]) == ("AzureAuthFailed", 50126)


@pytest.mark.parametrize("number", [50072, 50074, 50076, 50079, 50158, 53000, 53003, 530003, 65001])
def test_each_demand_counts(users, control, client, user, number):
    body = {"error": "interaction_required", "error_codes": [number], "error_description": f"AADSTS{number}: x"}
    control.add_fault("login.token", app=client.app_id, status=400, body=json.dumps(body))
    assert users.sign_in(client.identity(), user.upn, user.password) is SignIn.DEMANDED_MORE


def test_a_demand_that_comes_with_an_outage_proves_nothing(users, control, client, user):
    body = {"error": "interaction_required", "error_codes": [50076], "error_description": "AADSTS50076: x"}
    control.add_fault("login.token", app=client.app_id, status=503, body=json.dumps(body))
    assert isinstance(refused(lambda: users.sign_in(client.identity(), user.upn, user.password)), Unavailable)


def test_each_sign_in_asks_anew(users, control, client, setter, user):
    control.update_user(user.upn, behaviour={"visible_after": [0, 3600]})  # two front ends, in turn; one is late
    users.set_password(setter.identity(), user.upn, NEW)
    answers: list[object] = []
    for _ in range(4):
        try:
            answers.append(users.sign_in(client.identity(), user.upn, NEW))
        except Forbidden as error:
            answers.append(error.details["aadsts"])
    assert answers == [SignIn.ACCEPTED, 50126, SignIn.ACCEPTED, 50126]


def test_a_locked_account_is_waited_for(users, control, client, user):
    control.update_user(user.upn, behaviour={"lockout_attempts": 1})
    refused(lambda: users.sign_in(client.identity(), user.upn, NEW))
    error = refused(lambda: users.sign_in(client.identity(), user.upn, user.password))
    assert isinstance(error, Unavailable)
    assert (error.code, error.details["aadsts"], error.applied) == ("AzureThrottled", 50053, "no")
    assert error.retry_after_seconds == 60.0
    control.advance(61)
    assert users.sign_in(client.identity(), user.upn, user.password) is SignIn.ACCEPTED


def test_a_user_who_is_not_there_is_told_at_the_door_too(users, client):
    error = refused(lambda: users.sign_in(client.identity(), NOBODY, NEW))
    assert isinstance(error, NotFound)
    assert (error.code, error.details["aadsts"]) == ("UserNotFound", 50034)


def test_a_disabled_user_and_one_who_must_change_are_told(users, control, client, user):
    control.update_user(user.upn, force_change=True)
    assert refused(lambda: users.sign_in(client.identity(), user.upn, user.password)).details["aadsts"] == 50055
    control.update_user(user.upn, force_change=False, enabled=False)
    assert refused(lambda: users.sign_in(client.identity(), user.upn, user.password)).details["aadsts"] == 50057


CLIENTS = {
    "a wrong secret": ({"secret": SecretText("nonsense")}, Forbidden, 7000215),
    "an application of no tenant": ({"client_id": "0c0fee00-1111-4222-8333-444455556666"}, Forbidden, 700016),
    "no such tenant": ({"tenant_id": "0c0fee00-1111-4222-8333-444455556666"}, Forbidden, 90002),
    "no secret": ({"secret": None}, Forbidden, None),
    "no client": ({"client_id": None}, Rejected, None),
    "no tenant": ({"tenant_id": None}, Rejected, None),
    "a tenant that leads elsewhere": ({"tenant_id": "common/../x"}, Rejected, None),
}


@pytest.mark.parametrize(("change", "error", "number"), CLIENTS.values(), ids=CLIENTS)
def test_a_client_that_cannot_be_used_is_told(users, client, user, change, error, number):
    acting = replace(client.identity(), **change)
    for call in (
        lambda: users.sign_in(acting, user.upn, user.password),
        lambda: users.change_password(acting, user.upn, user.password, NEW),
    ):
        told = refused(call)
        assert isinstance(told, error)
        assert told.details.get("aadsts") == number
    assert user.has(user.password)
    if number is None:
        assert user.count("login.token") == 0


def test_a_client_without_a_secret_is_the_targets_kind(users, user):
    cloud = Identity(tenant_id=None, client_id=None, secret=None, label='target "/cloud"')
    assert refused(lambda: users.sign_in(cloud, user.upn, user.password)).code == "TargetHasNoClientSecret"


def test_a_replaced_secret_of_the_client_logs_in(users, client, user):
    acting = replace(client.identity("nonsense"), older=SecretText(client.secret))
    assert users.sign_in(acting, user.upn, user.password) is SignIn.ACCEPTED
    users.change_password(acting, user.upn, user.password, NEW)
    assert user.has(NEW)
    wrong = replace(client.identity("nonsense"), older=SecretText("no sense either"))
    assert refused(lambda: users.sign_in(wrong, user.upn, NEW)).details["aadsts"] == 7000215


SIGN_IN_OUTAGES = {
    "500": {"preset": "internal-500"},
    "503": {"preset": "unavailable-503"},
    "429": {"preset": "throttled"},
    "dropped": {"preset": "dropped"},
    "a page": {"preset": "html-200"},
    "a page, 403": {"status": 403, "body": "<html>", "content_type": "text/html"},
    "cut off": {"preset": "truncated-json"},
    "without a token": {"when": "after", "without": ["access_token"]},
    "a redirect": {"status": 302, "body": "", "headers": {"Location": "https://elsewhere/"}},
}


@pytest.mark.parametrize("fault", SIGN_IN_OUTAGES.values(), ids=SIGN_IN_OUTAGES)
def test_a_sign_in_without_a_usable_answer_is_neither_yes_nor_no_and_asked_for_once(
    users, control, client, user, fault
):
    control.add_fault("login.token", app=client.app_id, times=None, **fault)
    error = refused(lambda: users.sign_in(client.identity(), user.upn, user.password))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert len(client.requests("login.token")) == 1


# --- changed by the user ------------------------------------------------------------------------------------------


def test_a_user_changes_his_own_password_by_one_login_and_one_request(users, client, user):
    users.change_password(client.identity(), user.upn, user.password, NEW)
    assert user.has(NEW)
    assert user.count("login.token") == 1
    assert user.count("graph.changePassword") == 1


@pytest.mark.parametrize("demand", ["mfa", "conditional_access"])
def test_a_demand_at_the_door_leaves_the_password_and_says_what_to_do(users, control, client, user, demand):
    control.update_user(user.upn, **{demand: True})
    error = refused(lambda: users.change_password(client.identity(), user.upn, user.password, NEW))
    assert isinstance(error, Forbidden)
    assert error.code == "AzureAuthFailed"
    assert error.details["aadsts"] in {50076, 53003}
    assert "use-target-creds" in error.hint
    assert user.count("graph.changePassword") == 0


def test_a_client_nobody_consented_to_names_the_permission(users, make_application, user):
    bare = make_application("bare")
    error = refused(lambda: users.change_password(bare.identity(), user.upn, user.password, NEW))
    assert error.code == "AzurePermissionMissing"
    assert error.details["permission"] == GRANT
    assert "delegated" in error.hint
    other = make_application("other", delegated=["User.Read"])
    error = refused(lambda: users.change_password(other.identity(), user.upn, user.password, NEW))
    assert error.code == "AzurePermissionMissing"
    assert "delegated" in error.hint
    assert user.has(user.password)


def test_a_wrong_present_password_is_a_refused_sign_in(users, client, user):
    error = refused(lambda: users.change_password(client.identity(), user.upn, SecretText("nonsense"), NEW))
    assert error.details["aadsts"] == 50126
    assert user.count("graph.changePassword") == 0


def test_a_change_that_entra_refuses_is_the_new_passwords_fault(users, client, user):
    weak = SecretText("Password1!")
    error = refused(lambda: users.change_password(client.identity(), user.upn, user.password, weak))
    assert (type(error), error.code) == (Rejected, "PasswordPolicyInvalid")
    assert user.has(user.password)


@pytest.mark.parametrize(("fault", "code", "applied"), BEFORE.values(), ids=BEFORE)
def test_a_change_without_a_usable_answer_is_sent_once(users, control, client, user, fault, code, applied):
    control.add_fault("graph.changePassword", principal=client.app_id, times=None, **fault)
    error = refused(lambda: users.change_password(client.identity(), user.upn, user.password, NEW))
    assert isinstance(error, Unavailable)
    assert (error.code, error.applied) == (code, applied)
    assert user.count("graph.changePassword") == 1
    assert user.has(user.password)


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
def test_a_change_whose_answer_is_lost_is_unknown_and_the_candidate_signs_in(users, control, client, user, fault):
    control.add_fault("graph.changePassword", principal=client.app_id, when="after", times=None, **fault)
    error = refused(lambda: users.change_password(client.identity(), user.upn, user.password, NEW))
    assert isinstance(error, Unavailable)
    assert error.applied == "unknown"
    assert user.count("graph.changePassword") == 1
    assert users.sign_in(client.identity(), user.upn, NEW) is SignIn.ACCEPTED


def test_a_slow_sign_in_leaves_no_time_for_the_change(azure, control, client, user):
    users = EntraUsers(request_seconds=0.4)
    fault = control.add_fault("login.token", app=client.app_id, hold=True)
    error = refused(lambda: users.change_password(client.identity(), user.upn, user.password, NEW))
    assert isinstance(error, Unavailable)
    assert error.applied == "no"
    assert user.count("graph.changePassword") == 0
    fault.release()


@row("B-14")
@pytest.mark.parametrize(
    ("cloud", "name"), [("public", "AzureCloud"), ("usgov", "AzureUSGovernment"), ("china", "AzureChinaCloud")]
)
def test_each_cloud_has_its_own_users(users, control, make_application, make_user, cloud, name):
    tenant = control.create_tenant(cloud=cloud).tenant_id
    app = make_application("setter", tenant=tenant, roles=[GRANT], delegated=[GRANT])
    user = make_user(tenant=tenant)
    acting = replace(app.identity(), azure_cloud=name)
    users.set_password(acting, user.upn, NEW)
    assert users.sign_in(acting, user.upn, NEW) is SignIn.ACCEPTED
    users.change_password(acting, user.upn, NEW, SecretText(f"{NEW.reveal()}-2"))
    hosts = {entry.host for entry in control.journal(user=user.upn)}
    assert hosts == {CLOUDS[name].login_host, CLOUDS[name].graph_host}


@pytest.mark.parametrize("name", ["guest_example.com#EXT#", "anna+test", "ünal", "100%", "$dollar"])
def test_a_name_arrives_as_it_is(users, tenant, setter, client, make_user, name):
    user = make_user(upn=f"{name}@{tenant.domain}")
    users.set_password(setter.identity(), user.upn, NEW)
    assert user.has(NEW)
    assert users.sign_in(client.identity(), user.upn, NEW) is SignIn.ACCEPTED


HARD = ["a b+c%26=&x;9Z", "Ünïcödé-9-xyz", "9" * 200 + "aB!", "\ud800-9aB-lone"]


@pytest.mark.parametrize("password", HARD)
def test_every_character_arrives_or_is_refused_and_none_is_shown(users, setter, client, user, password):
    value = SecretText(password)
    try:
        users.set_password(setter.identity(), user.upn, value)
    except RotatorError as error:
        assert password not in f"{error.message} {error.details} {error.args}"  # noqa: PT017 - either is fine
        assert error.__context__ is None  # noqa: PT017 - see above
        assert user.has(user.password)
    else:
        assert users.sign_in(client.identity(), user.upn, value) is SignIn.ACCEPTED


# --- where a user signs in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("federated", [True, False])
def test_a_federated_domain_is_told_without_a_login(users, make_user, make_application, federated):
    client, user = make_application("nobody in particular"), make_user(federated=federated)
    assert users.is_federated(client.identity(), user.upn) is federated
    assert client.requests("login.token") == []


@pytest.mark.parametrize(
    "fault", [{"preset": "html-200"}, {"preset": "dropped"}, {"status": 502, "body": "<html>"}], ids=str
)
def test_a_domain_that_cannot_be_asked_about_is_an_outage(users, control, make_user, make_application, fault):
    client, user = make_application("nobody in particular"), make_user()
    control.add_fault("login.userRealm", times=None, **fault)
    error = refused(lambda: users.is_federated(client.identity(), user.upn))
    assert isinstance(error, Unavailable)
    assert error.code == "AzureUnavailable"
