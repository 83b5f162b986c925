"""Event forwarders at the terminal, and a process that is killed while it sends."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from azure_sandbox.testing import Sandbox
from tests.cli.conftest import PROGRAM, Place, Terminal, offline_target
from tests.plugins.receivers import Answer, Call, Mailbox, Webhook
from tests.rows import row
from tests.store.inspection import outside_of

KEY = "a-signing-key-of-thirty-two-bytes"
URL = "https://hooks.example/x?code=key-of-the-receiver"


def test_from_the_first_forwarder_to_its_deletion(terminal: Terminal):
    terminal.told(*offline_target())
    terminal.replay(
        """
$ event-forwarder list
no event forwarders
$ event-forwarder create webhook --name ops --runner-type periodic --auth-type user-pass --signing-key -
< short
! error: every is missing: runner_type periodic needs it (ParameterMissing)
! hint: set every (--every)
! error: url is missing: a webhook needs it (ParameterMissing)
! hint: set url (--url)
! error: signing_key has not the form it must have (ParameterInvalid)
! hint: at least 16 characters, else who sees one body can find it out
! error: username is missing: auth_type user-pass needs it (ParameterMissing)
! hint: set username (--username)
! error: password is missing: auth_type user-pass needs it (ParameterMissing)
! hint: set password (--password)
= 2
$ event-forwarder create webhook --name ops --url {url} --signing-key - --event-types rotation-parked
< a-signing-key-of-thirty-two-bytes
forwarder_id: ID
forwarder_name: /ops
forwarder_type: webhook
runner_type: immediate
every: -
event_types: rotation-parked
items_event_source_locations: -
targets_event_source_locations: -
url: https://hooks.example/x?***
auth_type: -
username: -
email_to: -
include_error: false
creation_date: INSTANT
modification_date: INSTANT
pending: 0
given_up: 0
last_delivery_date: -
last_error_code: -
last_error: -
$ event-forwarder create email --name /ops --email-to ops@example.org
! error: there is an event forwarder "/ops" already (NameConflict)
! hint: choose another name
= 5
$ event-forwarder create email --name mail --email-to ops@example.org --email-to ann@example.org --every 2
! error: every has no meaning with runner_type immediate (ParameterIrrelevant)
! hint: leave every out, or set runner_type periodic
= 2
$ event-forwarder create email --name mail --email-to ops@example.org --runner-type periodic --every 2 --json
{
"name": "/mail",
"forwarder_id": "ID",
"forwarder_name": "/mail",
"forwarder_type": "email",
"runner_type": "periodic",
"every": 2,
"event_types": [],
"items_event_source_locations": [],
"targets_event_source_locations": [],
"url": null,
"auth_type": null,
"username": null,
"email_to": [
"ops@example.org"
],
"include_error": false,
"creation_date": "INSTANT",
"modification_date": "INSTANT",
"pending": 0,
"given_up": 0,
"last_delivery_date": null,
"last_error_code": null,
"last_error": null
}
$ event-forwarder update --name mail --signing-key env:KEY
! error: signing_key is not a parameter of an e-mail forwarder (ParameterIrrelevant)
= 2
$ event-forwarder update --name mail --runner-type immediate --new-name post --jq-expression .every
null
$ event-forwarder update --name ops --event-types "" --jq-expression .event_types
[]
$ event-forwarder update --name ops
! error: there is nothing to change (ParameterMissing)
! hint: give what shall be different
= 2
$ event-forwarder list
NAME TYPE RUNS PENDING GIVEN UP LAST DELIVERY LAST ERROR
/ops webhook immediate 0 0 - -
/post email immediate 0 0 - -
$ event-forwarder delete --name post
deleted /post
$ event-forwarder delete --name post
! error: there is no event forwarder "/post" (ItemNotFound)
! hint: azure-rotator event-forwarder list shows them
= 4
$ event-forwarder deliver
sent: 0
failed: 0
given_up: 0
next_at: -
""",
        url=URL,
    )
    actions = [line["action"] for line in terminal.told("audit", "list", "--json").json["lines"]]
    assert actions[1:] == [
        "create_event_forwarder",
        "create_event_forwarder",
        "update_event_forwarder",
        "update_event_forwarder",
        "delete_event_forwarder",
    ]
    for said in (terminal("event-forwarder", "list", "--json"), terminal("audit", "list", "--json")):
        assert "key-of-the-receiver" not in said.out + said.err
        assert KEY not in said.out + said.err


@row("B-07")
def test_deliver_says_what_it_sent_and_fails_when_a_receiver_did(place: Place, webhook: Webhook, mailbox: Mailbox):
    terminal = place.terminal
    hook = ("event-forwarder", "create", "webhook", "-n", "ops", "--url", webhook.url, "--signing-key", "-", "--quiet")
    terminal.told(*hook, stdin=KEY)
    terminal.told("event-forwarder", "create", "email", "-n", "mail", "--email-to", "ops@example.org")
    terminal.told(*place.item())
    webhook.answers = [Answer(500)]
    said = terminal("event-forwarder", "deliver", "--json")
    assert said.code == 1
    assert (said.json["sent"], said.json["failed"]) == (1, 1)
    assert said.error["code"] == "DeliveryFailed"
    assert len(mailbox.mails) == 1
    (mail, ops) = terminal.told("event-forwarder", "list", "--json").json["forwarders"]
    assert (mail["pending"], ops["pending"], ops["last_error_code"]) == (0, 1, "DeliveryFailed")


@pytest.mark.crash
@row("B-07")
def test_a_process_that_is_killed_between_call_and_commit_is_followed_by_one_that_sends_it_again(
    place: Place, webhook: Webhook, sandbox: Sandbox
):
    terminal = place.terminal
    hook = ("event-forwarder", "create", "webhook", "-n", "ops", "--url", webhook.url, "--signing-key", "-", "--quiet")
    terminal.told(*hook, stdin=KEY)
    terminal.told(*place.item())
    running: list[subprocess.Popen[bytes]] = []
    webhook.during = lambda call: _kill(running[0], call)
    environment = {**os.environ, **sandbox.environment(), **terminal.settings}
    environment["SSL_CERT_FILE"] = os.environ["SSL_CERT_FILE"]
    with subprocess.Popen([PROGRAM, "event-forwarder", "deliver"], env=environment) as process:
        running.append(process)
        assert process.wait(60) == -signal.SIGKILL
    webhook.during = lambda call: None
    assert terminal.told("event-forwarder", "deliver", "--json").json["sent"] == 0
    outside_of(terminal.url).run_out_leases()
    assert terminal.told("event-forwarder", "deliver", "--json").json["sent"] == 1
    first, second = webhook.calls
    assert first.ids == second.ids
    assert [call.signed_at(KEY) > 0 for call in webhook.calls] == [True, True]


def _kill(process: subprocess.Popen[bytes], call: Call) -> None:
    process.kill()
    process.wait(60)


def test_a_credential_is_read_from_a_file_and_shown_nowhere(terminal: Terminal, tmp_path: Path):
    terminal.told(*offline_target())
    for name in ("signing", "token"):
        (tmp_path / name).write_text(f"{KEY}-{name}\n")
    said = terminal.told(
        *("event-forwarder", "create", "webhook", "-n", "ops", "--url", URL, "--auth-type", "bearer-token", "--json"),
        *("--signing-key", f"@{tmp_path}/signing", "--auth-token", f"@{tmp_path}/token"),
    )
    assert said.err == ""
    assert KEY not in said.out
    assert KEY.encode() not in b"".join(file.read_bytes() for file in terminal.store.parent.iterdir())
