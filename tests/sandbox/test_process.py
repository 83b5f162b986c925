"""The process and its folder: starting, stopping, killing, and what is there afterwards."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from azure_sandbox import process
from azure_sandbox.testing import ApplicationInfo, ControlError, Sandbox
from tests.sandbox.azure import GRAPH, NOBODY, Azure

SEED = """
[[tenants]]
id = "aaaaaaaa-1111-4111-8111-111111111111"
name = "Mine"

[[applications]]
name = "first"
owners = ["second"]
secrets = [{ name = "known", value = "this-is-a-made-up-value", hand_over = true }, { name = "unknown", days = 3 }]

[[applications]]
name = "second"
roles = ["Application.ReadWrite.OwnedBy"]
"""


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_everything_that_was_answered_is_there_after_a_restart(alone: Azure, ending):
    rotator, app = alone.rotator_and_workload()
    kept, removed = alone.minted(app, rotator), alone.minted(app, rotator)
    alone.remove(app, rotator, removed["keyId"])
    alone.control.set_behaviour(app.app_id, removed_after=[5])
    alone.control.set_behaviour(read_lag_reads=1)
    alone.control.advance("2h")
    before = (alone.control.secrets(), alone.control.applications(), alone.control.behaviour(), alone.control.journal())
    ports = alone.control.status()["tls_port"], alone.control.status()["proxy_port"]
    getattr(alone.sandbox, ending)()
    alone.sandbox.start()
    after = (alone.control.secrets(), alone.control.applications(), alone.control.behaviour(), alone.control.journal())
    assert after == before
    assert (alone.control.status()["tls_port"], alone.control.status()["proxy_port"]) == ports
    assert alone.control.request("GET", "/clock")["offset_seconds"] == 7200
    assert alone.accepts(app, kept["secretText"])
    assert not alone.accepts(app, removed["secretText"])


def test_a_secret_is_on_disk_before_anyone_is_told_of_it(alone: Azure):
    rotator, app = alone.rotator_and_workload()
    alone.token(rotator)
    fault = alone.control.add_fault("graph.addPassword", app=app.app_id, when="after", hold=True)

    def lost() -> None:
        with pytest.raises(Exception, match=r".*"):
            alone.add(app, rotator)

    call = threading.Thread(target=lost)
    call.start()
    fault.wait_reached()
    alone.sandbox.kill()
    call.join()
    alone.sandbox.start()
    secret = alone.control.secrets(app.app_id)[-1]
    assert (secret.origin, secret.state, secret.delivered) == ("minted", "valid", False)
    [entry] = alone.control.journal(app=app.app_id, operation="graph.addPassword")
    assert (entry.committed, entry.status, entry.key_id) == (True, None, secret.key_id)


def test_tokens_and_roots_outlive_a_restart(alone: Azure, http_for):
    app = alone.app("Application.Read.All")
    alone.token(app)
    root = alone.sandbox.ca_file.read_bytes()
    alone.sandbox.restart()
    assert alone.sandbox.ca_file.read_bytes() == root
    assert alone.graph("GET", "/applications", app).status_code == 200


def test_a_restart_inside_its_own_environment_does_not_swell_the_roots(
    own_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    bundle = own_sandbox.state / "ca-bundle.pem"
    before = bundle.read_bytes()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    own_sandbox.restart()
    assert bundle.read_bytes() == before


def test_reset_goes_back_to_the_seed(alone: Azure):
    rotator, app = alone.rotator_and_workload()
    alone.minted(app, rotator)
    seeded = {item.name for item in alone.control.applications("11111111-1111-4111-8111-111111111111")}
    alone.control.set_behaviour(visible_after=[9])
    alone.control.add_fault("graph.*", status=503)
    alone.control.reset()
    assert {item.name for item in alone.control.applications()} == seeded
    assert alone.control.faults() == []
    assert alone.control.behaviour()["visible_after"] == [0]
    assert alone.control.journal() == []


def test_a_call_that_a_reset_overtook_brings_nothing_back(alone: Azure):
    # Seeded applications keep their ids over a reset, so a late write would land on the new one.
    [app, rotator] = (named(alone, name) for name in ("billing-api", "rotator"))
    alone.tenant = replace(alone.tenant, tenant_id=app.tenant_id)
    alone.tokens[rotator.app_id, GRAPH] = alone.login(rotator, alone.sandbox.demo_secret()).json()["access_token"]
    fault = alone.control.add_fault("graph.addPassword", app=app.app_id, when="after", hold=True)
    call = threading.Thread(target=alone.add, args=(app, rotator))
    call.start()
    fault.wait_reached()
    alone.control.reset()
    call.join()
    alone.sandbox.restart()
    assert [secret.origin for secret in alone.control.secrets(app.app_id)] == ["seed"]


def named(azure: Azure, name: str) -> ApplicationInfo:
    return next(app for app in azure.control.applications() if app.name == name)


def test_a_seed_of_ones_own(tmp_path: Path, http_for):
    seed = tmp_path / "seed.toml"
    seed.write_text(SEED)
    with Sandbox(seed=seed) as sandbox:
        first, second = sandbox.control.applications()
        assert (first.name, second.name) == ("first", "second")
        assert first.owners == [second.service_principal_id]
        assert sandbox.demo_secret("first") == "this-is-a-made-up-value"
        tenant = sandbox.control.status()["tenants"][0]["tenant_id"]
        form = {
            "grant_type": "client_credentials",
            "client_id": first.app_id,
            "client_secret": "this-is-a-made-up-value",
        }
        url = f"https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"
        answer = http_for(sandbox).post(url, data={**form, "scope": "https://graph.microsoft.com/.default"})
        assert answer.status_code == 200
        assert sandbox.control.seed() == SEED


BAD_SEEDS = {
    "no TOML": ("= what", "seed is not TOML"),
    "no tenants": ("", "no \\[\\[tenants\\]\\]"),
    "an unknown key": ('[[tenants]]\nname = "x"\ncolour = "red"', "tenant: unknown key colour"),
    "an unknown cloud": ('[[tenants]]\nname = "x"\ncloud = "mars"', "unknown cloud 'mars'"),
    "an id that is none": ('[[tenants]]\nname = "x"\nid = "1"', "'1' is no GUID"),
    "an owner that is nobody": (SEED.replace('"second"]', '"third"]'), "nobody is called 'third'"),
    "an unknown role": (SEED.replace("OwnedBy", "Everything"), "unknown role"),
    "an application without a name": (SEED + "\n[[applications]]\n", "name is missing"),
    "a tenant that is not there": (
        SEED + '\n[[applications]]\nname = "x"\ntenant = "bbbbbbbb-1111-4111-8111-111111111111"',
        "no tenant bbbbbbbb",
    ),
    "an instant without an offset": (
        SEED + '\n[[applications]]\nname = "x"\nsecrets = [{ ends_at = 2030-01-01T00:00:00 }]',
        "an instant needs",
    ),
    "a period of years": (
        SEED.replace('name = "Mine"', 'name = "Mine"\npolicy = { max_lifetime = "P1Y" }'),
        "not an ISO",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_SEEDS.values(), ids=BAD_SEEDS.keys())
def test_a_bad_seed_is_refused_and_changes_nothing(sandbox: Sandbox, text, message):
    before = sandbox.control.applications("11111111-1111-4111-8111-111111111111")
    with pytest.raises(ControlError, match=message):
        sandbox.control.load_seed(text)
    assert sandbox.control.applications("11111111-1111-4111-8111-111111111111") == before


def test_a_bad_seed_file_stops_the_start(tmp_path: Path):
    seed = tmp_path / "seed.toml"
    seed.write_text("= what")
    with pytest.raises(process.StartFailed, match="seed is not TOML"):
        Sandbox(tmp_path / "state", seed=seed).start()


def test_everything_in_the_folder_is_the_owners_alone(own_sandbox: Sandbox):
    assert stat.S_IMODE(own_sandbox.state.stat().st_mode) == 0o700
    for path in own_sandbox.state.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path.name


def test_a_second_sandbox_on_the_same_folder_is_refused(own_sandbox: Sandbox):
    with pytest.raises(process.StartFailed, match="another sandbox is running"):
        process.spawn(own_sandbox.state)


def test_many_starts_at_once_make_one_sandbox(tmp_path: Path):
    code_text = (
        "import sys; from pathlib import Path; from azure_sandbox.process import start;"
        "running, started = start(Path(sys.argv[1])); print(running.pid, started)"
    )
    command = [sys.executable, "-c", code_text, str(tmp_path / "state")]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [start.communicate(timeout=60)[0].split() for start in starts]
    running = process.find(tmp_path / "state")
    assert running is not None
    try:
        assert {pid for pid, _ in told} == {str(running.pid)}
        assert sorted(started for _, started in told) == ["False", "False", "False", "True"]
    finally:
        process.stop(running)
    assert process.find(tmp_path / "state") is None


def test_a_sandbox_ends_with_the_process_that_made_it(tmp_path: Path):
    code_text = (
        "import sys, os, signal; from pathlib import Path; from azure_sandbox.testing import Sandbox;"
        "Sandbox(Path(sys.argv[1])).start(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code_text, str(tmp_path / "state")], check=False)
    # It lets go of its folder when it has ended; a new one can only start there then.
    with Sandbox(tmp_path / "state") as again:
        assert again.control.status()["pid"]


def test_the_control_api_takes_its_token_only(own_sandbox: Sandbox):
    from azure_sandbox.client import Control

    port = own_sandbox.control.status()["control_port"]
    with pytest.raises(ControlError) as refused:
        Control(port, "guessed").status()
    assert refused.value.status == 401


def test_a_dead_sandbox_does_not_answer(tmp_path: Path):
    sandbox = Sandbox(tmp_path / "state").start()
    control = sandbox.control
    sandbox.kill()
    with pytest.raises(ControlError, match="does not answer"):
        control.status()
    assert process.find(sandbox.state) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"visible_after": []}, "at least one number"),
        ({"visible_after": "soon"}, "takes numbers"),
        ({"mood": 1}, "unknown setting mood"),
    ],
)
def test_settings_that_make_no_sense_are_refused(sandbox: Sandbox, settings, message):
    with pytest.raises(ControlError, match=message):
        sandbox.control.set_behaviour(**settings)


def test_an_unknown_tenant_or_application_is_404(sandbox: Sandbox):
    for call in (
        lambda: sandbox.control.secrets("nobody"),
        lambda: sandbox.control.update_application("nobody", enabled=False),
        lambda: sandbox.control.applications("nowhere"),
        lambda: sandbox.control.request("GET", "/faults/none"),
    ):
        with pytest.raises(ControlError) as refused:
            call()
        assert refused.value.status == 404


def test_a_folder_of_the_release_before_opens_with_what_was_in_it(tmp_path: Path):
    """Accounts had no keys then, users one password without a date, and the seed was not sealed."""
    sandbox = Sandbox(tmp_path / "state").start()
    seed = sandbox.control.seed()
    sandbox.stop()
    salt = b"0123456789abcdef"
    digest = hashlib.scrypt(b"Password-of-then-1", salt=salt, n=2**12, r=8, p=1).hex()
    tenant = "11111111-1111-4111-8111-111111111111"
    user = {"object_id": NOBODY, "tenant_id": tenant, "upn": "old@x.example", "name": "Old"}
    account = {"tenant_id": tenant, "subscription_id": NOBODY, "resource_group": "old", "name": "oldaccount"}
    documents = [
        ("user", NOBODY, user | {"salt": salt.hex(), "digest": digest}),
        ("account", "/old", account | {"location": "westeurope"}),
    ]
    with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as database, database:
        for kind, id_, body in documents:
            database.execute("INSERT INTO document VALUES (?, ?, ?)", (kind, id_, json.dumps(body)))
        for kind, gone in (
            ("tenant", "banned_passwords"),
            ("service_principal", "managed"),
            ("application", "federated"),
        ):
            database.execute("UPDATE document SET body = json_remove(body, ?) WHERE kind = ?", (f"$.{gone}", kind))
        database.execute("DELETE FROM setting WHERE name IN ('seed', 'sealed_seed')")
        database.execute("INSERT INTO setting VALUES ('seed', ?)", (json.dumps(seed),))
    sandbox.start()
    keys = sandbox.control.account("oldaccount").keys
    assert set(keys) == {"key1", "key2"}
    assert sandbox.control.verify_password("old@x.example", "Password-of-then-1") == "present"
    assert sandbox.control.seed() == seed
    sandbox.restart()
    assert sandbox.control.account("oldaccount").keys == keys
    sandbox.control.reset()
    assert [user.upn for user in sandbox.control.users()] == ["ada@contoso-sandbox.onmicrosoft.com"]
    sandbox.stop()
