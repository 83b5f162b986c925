"""No secret in what the adapters raise or log, whatever Azure does and whoever looks: at the exception, at what it
came from, at the variables of its traceback, at any logger at DEBUG."""

from __future__ import annotations

import base64
import logging
import re
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import FrameType, TracebackType
from typing import Any

import pytest

from azure_rotator.cloud import ArmStorageKeys, EntraLogin, EntraUsers, GraphDirectory
from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.ports import StorageAccount, StorageKey
from azure_rotator.domain.secrettext import SecretText
from tests.plugins.azure import App

CANARY = "canary8Q~never-to-be-seen-0123456789abcd"
GRANT = "User-PasswordProfile.ReadWrite.All"
END = datetime.now(UTC) + timedelta(days=90)
# A token begins so: base64 of {"
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{20,}")


@pytest.fixture
def canary(make_application) -> App:
    """An application whose secret is the canary, and which may do everything."""
    secrets = [{"name": "boot", "value": CANARY}]
    return make_application("canary", roles=["Application.ReadWrite.All"], owners=["self"], secrets=secrets)


FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "refused": ("login.token", {"preset": "wrong-secret"}),
    "login 500": ("login.token", {"preset": "internal-500"}),
    "login dropped": ("login.token", {"preset": "dropped"}),
    "login, a page": ("login.token", {"preset": "html-200"}),
    "login, cut off": ("login.token", {"preset": "truncated-json"}),
    "login, no token": ("login.token", {"when": "after", "without": ["access_token"]}),
    "login, no end": ("login.token", {"when": "after", "without": ["expires_in"]}),
    "an echo of the login": (
        "login.token",
        {"status": 400, "body": f'{{"error": "{CANARY}", "error_description": "{CANARY}"}}'},
    ),
    "denied": ("graph.*", {"preset": "denied"}),
    "throttled": ("graph.*", {"preset": "throttled"}),
    "500": ("graph.*", {"preset": "internal-500"}),
    "dropped": ("graph.*", {"preset": "dropped"}),
    "lost": ("graph.*", {"preset": "dropped", "when": "after"}),
    "a page": ("graph.*", {"preset": "html-200"}),
    "an echo": ("graph.*", {"status": 400, "body": f'{{"error": {{"code": "{CANARY}", "message": "{CANARY}"}}}}'}),
    "an echo in a header": (
        "graph.*",
        {"preset": "throttled", "headers": {"Retry-After": CANARY, "request-id": CANARY}},
    ),
    "cut off": ("graph.*", {"preset": "truncated-json"}),
    "no secret": ("graph.*", {"preset": "no-secret-text"}),
    "no end": ("graph.*", {"when": "after", "without": ["endDateTime"]}),
    "an end that is none": (
        "graph.*",
        {"status": 200, "body": f'{{"keyId": "k", "secretText": "{CANARY}", "endDateTime": "{CANARY}"}}'},
    ),
}


@pytest.mark.parametrize("id", FAULTS)
def test_no_error_holds_a_secret(azure, control, canary, caplog, id):
    operation, fault = FAULTS[id]
    caplog.set_level(logging.DEBUG)
    control.add_fault(operation, app=canary.app_id, times=None, **fault)
    acting = canary.identity()
    calls = (
        lambda: EntraLogin().prove(acting),
        lambda: EntraLogin().grants(acting),
        lambda: GraphDirectory().get_application(acting, canary.app_id),
        lambda: GraphDirectory().add_password(acting, canary.object_id, "stamp", END),
        lambda: GraphDirectory().remove_password(acting, canary.object_id, "0c0fee00-1111-4222-8333-444455556666"),
    )
    errors = [error for error in map(error_of, calls) if error is not None]
    assert errors
    for error in errors:
        assert isinstance(error, RotatorError)
        assert error.__cause__ is None
        assert error.__context__ is None
        show_nothing(everything_about(error))
    # What a server says, the SDKs log; Azure does not say our secrets, and our own errors repeat nothing even then.
    if not id.startswith("an echo"):
        show_nothing(caplog.text)


KEY = base64.b64encode(f"{CANARY}{'-' * 24}".encode()).decode()


@pytest.fixture
def account(control, canary) -> StorageAccount:
    """An account whose first key is a canary, operated by the application whose secret is the other."""
    tenant = canary.info.tenant_id
    info = control.create_account(tenant=tenant, operators=[canary.app_id], keys={"key1": KEY})
    return StorageAccount(subscription_id=info.subscription_id, resource_group=info.resource_group, name=info.name)


STORAGE_FAULTS: dict[str, dict[str, Any]] = {
    "denied": {"status": 403, "code": "AuthorizationFailed"},
    "key refused": {"preset": "key-refused"},
    "throttled": {"preset": "throttled"},
    "garbage": {"preset": "throttled", "headers": {"Retry-After": CANARY, "x-ms-request-id": CANARY}},
    "500": {"preset": "internal-500"},
    "dropped": {"preset": "dropped"},
    "lost": {"preset": "dropped", "when": "after"},
    "a page": {"preset": "html-200"},
    "an echo": {"status": 400, "body": f'{{"error": {{"code": "{KEY}", "message": "{KEY} {CANARY}"}}}}'},
    "cut off": {"preset": "truncated-json"},
    "another key": {"status": 200, "body": f'{{"keys": [{{"keyName": "{KEY}", "value": "{KEY}"}}]}}'},
    "no name": {"status": 200, "body": f'{{"keys": [{{"value": "{KEY}"}}]}}'},
    "a date that is none": {
        "status": 200,
        "body": f'{{"keys": [{{"keyName": "key1", "value": "{KEY}", "creationTime": "{KEY}"}}]}}',
    },
}


@pytest.mark.parametrize("id", STORAGE_FAULTS)
def test_no_error_holds_a_key(azure, control, canary, account, caplog, id):
    caplog.set_level(logging.DEBUG)
    for where in (f"*/storageAccounts/{account.name}/*", "/"):
        control.add_fault("*", path=where, tenant=canary.info.tenant_id, times=None, **STORAGE_FAULTS[id])
    acting, keys = canary.identity(), ArmStorageKeys()
    key = StorageKey(name="key1", value=SecretText(KEY), created_at=None)
    calls = (
        lambda: keys.regenerate(acting, account, "key1"),
        lambda: keys.list_keys(acting, account),
        lambda: keys.prove(acting, account, key),
    )
    errors = [error for error in map(error_of, calls) if error is not None]
    assert errors
    for error in errors:
        assert isinstance(error, RotatorError)
        assert error.__cause__ is None
        assert error.__context__ is None
        show_nothing(everything_about(error))
    for record in caplog.records:
        told = record.exc_info[1] if record.exc_info else None  # whoever collects records may look into it
        show_nothing(repr(vars(told)) if told else "")
    if id not in {"an echo", "garbage"}:
        show_nothing(caplog.text)


def test_no_log_holds_a_key_when_all_goes_well(azure, canary, account, caplog):
    caplog.set_level(logging.DEBUG)
    keys = ArmStorageKeys()
    listed = keys.list_keys(canary.identity(), account)
    assert KEY in {key.value.reveal() for key in listed}
    made = keys.regenerate(canary.identity(), account, "key2")
    assert keys.prove(canary.identity(), account, made)
    show_nothing(caplog.text + repr(listed) + repr(made))
    assert made.value.reveal() not in caplog.text + repr(made)
    assert "SharedKey" not in caplog.text


USER_FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "refused at the door": ("login.token", {"preset": "wrong-secret"}),
    "dropped at the door": ("login.token", {"preset": "dropped"}),
    "a page at the door": ("login.token", {"preset": "html-200"}),
    "half a token": ("login.token", {"preset": "truncated-json"}),
    "no token": ("login.token", {"when": "after", "without": ["access_token"]}),
    "an echo at the door": (
        "login.token",
        {"status": 400, "body": f'{{"error": "{CANARY}", "error_description": "{CANARY}", "error_codes": [50126]}}'},
    ),
    "an echo that demands more": (
        "login.token",
        {"status": 400, "body": f'{{"error": "{CANARY}", "error_description": "AADSTS50076 {CANARY}"}}'},
    ),
    "denied": ("graph.*", {"preset": "denied"}),
    "bad": ("graph.*", {"status": 400, "code": "Request_BadRequest"}),
    "throttled": ("graph.*", {"preset": "throttled"}),
    "500": ("graph.*", {"preset": "internal-500"}),
    "dropped": ("graph.*", {"preset": "dropped"}),
    "lost": ("graph.*", {"preset": "dropped", "when": "after"}),
    "a page": ("graph.*", {"preset": "html-502"}),
    "an echo": ("graph.*", {"status": 400, "body": f'{{"error": {{"code": "{CANARY}", "message": "{CANARY}"}}}}'}),
    "an echo in a header": ("graph.*", {"preset": "throttled", "headers": {"Retry-After": CANARY}}),
}


@pytest.fixture
def person(control, canary) -> str:
    """A user whose password is a canary too."""
    return control.create_user(tenant=canary.info.tenant_id, password=CANARY).upn


@pytest.mark.parametrize("id", USER_FAULTS)
def test_no_error_holds_a_password(azure, control, canary, person, caplog, id):
    operation, fault = USER_FAULTS[id]
    caplog.set_level(logging.DEBUG)
    control.add_fault(operation, tenant=canary.info.tenant_id, times=None, **fault)
    acting, users, new = canary.identity(), EntraUsers(), SecretText(f"{CANARY}-new")
    calls = (
        lambda: users.get_user(acting, person),
        lambda: users.set_password(acting, person, new),
        lambda: users.change_password(acting, person, SecretText(CANARY), new),
        lambda: users.sign_in(acting, person, new),
    )
    errors = [error for error in map(error_of, calls) if error is not None]
    assert errors
    for error in errors:
        assert isinstance(error, RotatorError)
        assert error.__cause__ is None
        assert error.__context__ is None
        show_nothing(everything_about(error))
    if not id.startswith("an echo"):
        show_nothing(caplog.text)


def test_no_log_holds_a_password_when_all_goes_well(azure, control, canary, person, caplog):
    caplog.set_level(logging.DEBUG)
    control.update_application(canary.app_id, roles=[GRANT], delegated=[GRANT])
    acting, users, new = canary.identity(), EntraUsers(), SecretText(f"{CANARY}-new")
    users.set_password(acting, person, SecretText(f"{CANARY}-set"))
    users.change_password(acting, person, SecretText(f"{CANARY}-set"), new)
    users.sign_in(acting, person, new)
    assert control.verify_password(person, new.reveal()) == "present"
    show_nothing(caplog.text)


def test_no_log_holds_a_secret_when_all_goes_well(azure, canary, caplog):
    caplog.set_level(logging.DEBUG)
    directory = GraphDirectory()
    EntraLogin().prove(canary.identity())
    new = directory.add_password(canary.identity(), canary.object_id, "stamp", END)
    directory.get_application(canary.identity(), canary.app_id)
    directory.remove_password(canary.identity(), canary.object_id, new.key_id)
    assert {record.name.partition(".")[0] for record in caplog.records} >= {"azure", "httpx", "httpcore"}
    show_nothing(caplog.text)
    assert new.value.reveal() not in caplog.text
    assert new.value.reveal() not in repr(new)


def test_a_refused_login_is_not_written_to_a_bare_stderr(azure, canary, capfd):
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        assert error_of(lambda: EntraLogin().prove(canary.identity("nonsense"))) is not None
    finally:
        root.handlers = handlers
    assert capfd.readouterr().err == ""


def error_of(call) -> BaseException | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - any, to look at it
        return error
    return None


def everything_about(error: BaseException) -> str:
    """All that a logger with local variables would print, and what it would find one level deeper."""
    shown = [repr(error), str(error), repr(error.args), repr(vars(error))]
    shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    shown += [repr(value) for frame in frames(error.__traceback__) for value in deeper(frame)]
    return "\n".join(shown)


def frames(at: TracebackType | None) -> Iterator[FrameType]:
    while at is not None:
        # The test's own frames hold the canary, of course.
        if "azure_rotator" in at.tb_frame.f_code.co_filename:
            yield at.tb_frame
        at = at.tb_next


def deeper(frame: FrameType) -> Iterator[object]:
    for value in frame.f_locals.values():
        yield value
        yield getattr(value, "__dict__", None)
        yield [getattr(value, name, None) for name in getattr(type(value), "__slots__", ()) if name != "_value"]


def show_nothing(text: str) -> None:
    assert CANARY not in text
    assert KEY not in text
    assert not TOKEN.search(text)
