"""Processes of their own: what an import costs, and that the environment alone leads to the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys, time
from datetime import UTC, datetime, timedelta
started = time.perf_counter()
from azure_rotator.cloud import EntraLogin, GraphDirectory, close
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText
ids = json.loads(sys.stdin.read())
acting = Identity(tenant_id=ids["tenant"], client_id=ids["app"], secret=SecretText(ids["secret"]), label="test")
new = GraphDirectory().add_password(acting, ids["object"], "stamp", datetime.now(UTC) + timedelta(days=9))
print(json.dumps({"key_id": new.key_id, "seconds": time.perf_counter() - started, "models": len(
    [name for name in sys.modules if name.startswith("msgraph.generated.models")])}))
"""


def run(program: str, sandbox, *, warnings: bool = True, more: dict[str, str] | None = None, **given):
    command = [sys.executable]
    if warnings:
        command += ["-W", "error", "-W", "ignore::DeprecationWarning"]
    return subprocess.run(
        [*command, "-c", program],
        env=sandbox.environment() | (more or {}),
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def ids(rotator, workload):
    return {
        "tenant": rotator.info.tenant_id,
        "app": rotator.app_id,
        "secret": rotator.secret,
        "object": workload.object_id,
    }


def test_the_environment_alone_leads_there_and_the_end_is_clean(sandbox, workload, ids):
    done = run(PROGRAM, sandbox, **ids)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["key_id"] in workload.live_key_ids()


def test_what_the_cloud_identity_keeps_is_closed_at_the_end(sandbox, workload, ids):
    machine = {
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "AZURE_TENANT_ID": ids["tenant"],
        "AZURE_CLIENT_ID": ids["app"],
        "AZURE_CLIENT_SECRET": ids["secret"],
    }
    program = PROGRAM.replace(
        "new = ", "acting = Identity(tenant_id=None, client_id=None, secret=None, label='m')\nnew = "
    )
    done = run(program, sandbox, more=machine, **ids)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["key_id"] in workload.live_key_ids()


STORAGE = """
import json, sys
from azure_rotator.cloud import ArmStorageKeys
from azure_rotator.domain.ports import Identity, StorageAccount
from azure_rotator.domain.secrettext import SecretText
ids = json.loads(sys.stdin.read())
acting = Identity(tenant_id=ids["tenant"], client_id=ids["app"], secret=SecretText(ids["secret"]), label="test")
account = StorageAccount(subscription_id=ids["subscription"], resource_group=ids["group"], name=ids["account"])
keys = ArmStorageKeys()
made = keys.regenerate(acting, account, "key2")
assert made in keys.list_keys(acting, account)
print(json.dumps([keys.prove(acting, account, made), "msgraph" in sys.modules]))
"""

USERS = """
import json, sys
from azure_rotator.cloud import EntraUsers
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText
ids = json.loads(sys.stdin.read())
acting = Identity(tenant_id=ids["tenant"], client_id=ids["app"], secret=SecretText(ids["secret"]), label="test")
users, new = EntraUsers(), SecretText("9xKq!made-up-for-this-test")
users.set_password(acting, ids["user"], new)
users.get_user(acting, ids["user"])
print(json.dumps([users.sign_in(acting, ids["user"], new).value, len(
    [name for name in sys.modules if name.startswith("msgraph.generated.models")])]))
"""


def test_keys_are_operated_by_the_environment_alone_and_the_end_is_clean(sandbox, control, rotator, ids):
    info = control.create_account(tenant=ids["tenant"], operators=[rotator.app_id])
    where = {"subscription": info.subscription_id, "group": info.resource_group, "account": info.name}
    done = run(STORAGE, sandbox, **ids, **where)
    assert (done.returncode, done.stderr) == (0, "")
    proven, with_graph = json.loads(done.stdout)
    assert proven is True
    assert not with_graph


def test_passwords_are_set_by_the_environment_alone_and_the_end_is_clean(sandbox, control, make_application, ids):
    user = control.create_user(tenant=ids["tenant"]).upn
    setter = make_application("setter", roles=["User-PasswordProfile.ReadWrite.All", "User.Read.All"])
    done = run(USERS, sandbox, **ids | {"app": setter.app_id, "secret": setter.secret, "user": user})
    assert (done.returncode, done.stderr) == (0, "")
    answer, models = json.loads(done.stdout)
    assert answer == "accepted"
    assert models < 60, "the SDK's big models are not needed"


def test_the_first_mint_of_a_process_is_cheap(sandbox, ids):
    told = json.loads(run(PROGRAM, sandbox, **ids).stdout)
    assert told["models"] < 60, "the SDK's big models are not needed: reading them in takes 1.5 s"
    assert told["seconds"] < 5


def test_a_child_of_a_fork_ends_cleanly_too(sandbox, ids):
    forking = PROGRAM + (
        "import os\n"
        "if os.fork() == 0:\n"
        "    GraphDirectory().add_password(acting, ids['object'], 'child', datetime.now(UTC) + timedelta(days=9))\n"
        "    sys.exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))\n"
    )
    done = run(forking, sandbox, warnings=False, **ids)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == "0"


HEAVY = (
    *("azure.core", "azure.identity", "azure.mgmt", "azure.keyvault", "aiohttp", "msal"),
    *("msgraph", "kiota_abstractions", "kiota_http", "httpx"),
)


def test_the_import_loads_no_sdk(sandbox):
    program = f"import sys, azure_rotator.cloud; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(program, sandbox).stdout.strip() == "[]"


def test_a_login_loads_no_graph(sandbox, ids):
    program = PROGRAM.partition("new = ")[0] + (
        "EntraLogin().prove(acting)\n"
        "print([name for name in ('msgraph', 'httpx', 'kiota_http') if name in sys.modules])"
    )
    assert run(program, sandbox, **ids).stdout.strip() == "[]"


def test_a_certificate_that_is_not_trusted_is_told_with_the_variable_to_set(sandbox, ids):
    program = PROGRAM.partition("new = ")[0] + (
        "from azure_rotator.domain.errors import Unavailable\n"
        "try:\n    EntraLogin().prove(acting)\n"
        "except Unavailable as error:\n    print(error.message, error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=sandbox.environment() | {"SSL_CERT_FILE": "/etc/hostname"},
        input=json.dumps(ids),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "certificate that is not trusted" in done.stdout
    assert "SSL_CERT_FILE" in done.stdout
