"""The journal and the truth about secrets: what happened, and that no value is ever in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from azure_sandbox.testing import Sandbox
from tests.sandbox.azure import Azure


def test_each_request_is_told_with_caller_object_and_outcome(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    made = azure.minted(app, rotator, displayName="mine")
    azure.login(app, made["secretText"])
    azure.login(app, "wrong")
    azure.remove(app, rotator, made["keyId"])
    told = [
        (entry.operation, entry.status, entry.principal, entry.key_id, entry.display_name, entry.committed, entry.error)
        for entry in azure.control.journal(app=app.app_id)
    ]
    assert told == [
        ("graph.addPassword", 200, rotator.app_id, made["keyId"], "mine", True, None),
        ("login.token", 200, app.app_id, made["keyId"], None, False, None),
        ("login.token", 401, app.app_id, None, None, False, "AADSTS7000215"),
        ("graph.removePassword", 204, rotator.app_id, made["keyId"], "mine", True, None),
    ]
    accepted = [entry.accepted for entry in azure.control.journal(app=app.app_id)]
    assert accepted == [None, True, False, None]


def test_counts_are_of_what_was_done_not_of_what_was_asked(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    made = [azure.minted(app, rotator) for _ in range(3)]
    azure.control.add_fault("graph.addPassword", app=app.app_id, when="after", status=504)
    azure.add(app, rotator)
    azure.remove(app, rotator, made[0]["keyId"])
    azure.remove(app, rotator, made[0]["keyId"])
    azure.add(app, app)
    assert azure.control.counts(app=app.app_id) == {
        "requests": 8,
        "creations": 4,
        "removals": 1,
        "regenerations": 0,
        "password_changes": 0,
        "undelivered": 1,
        "logins": 1,
        "refused_logins": 0,
        "faults": 1,
    }


def test_an_orphan_is_minted_alive_and_answered_for_by_nobody(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    kept, lost, removed = (azure.minted(app, rotator)["keyId"] for _ in range(3))
    by_hand = azure.control.add_secret(app.app_id, display_name="by hand")
    azure.remove(app, rotator, removed)
    found = {secret.key_id: secret for secret in azure.control.secrets(app.app_id, managed=[kept.upper()])}
    assert {key_id for key_id, secret in found.items() if secret.orphan} == {lost}
    assert found[by_hand.key_id].origin == "portal"
    assert (found[removed].state, found[removed].is_alive) == ("removed", False)
    assert all(secret.orphan is None for secret in azure.control.secrets(app.app_id))


def test_verify_tells_which_secret_a_value_is_at_any_age(azure: Azure):
    rotator, app = azure.rotator_and_workload(behaviour={"visible_after": [3600]})
    made = azure.minted(app, rotator)
    found = azure.control.verify(app.app_id, made["secretText"])
    assert found is not None
    assert (found.key_id, found.state) == (made["keyId"], "valid")
    azure.remove(app, rotator, made["keyId"])
    found = azure.control.verify(app.app_id, made["secretText"])
    assert found is not None
    assert found.state == "removed"
    assert azure.control.verify(app.app_id, "wrong") is None


def test_a_persons_secrets_come_and_go_through_the_control_api(azure: Azure):
    app = azure.app()
    made = azure.control.add_secret(app.app_id, display_name="by hand", days=10, value="chosen-by-hand")
    assert made.value == "chosen-by-hand"
    assert azure.accepts(app, "chosen-by-hand")
    azure.control.remove_secret(app.app_id, made.key_id)
    assert not azure.accepts(app, "chosen-by-hand")


def test_the_journal_can_be_read_in_pieces(azure: Azure):
    rotator, app = azure.rotator_and_workload()
    azure.minted(app, rotator)
    [first] = azure.control.journal(app=app.app_id)
    azure.minted(app, rotator)
    [second] = azure.control.journal(app=app.app_id, after=first.seq)
    assert second.seq > first.seq
    assert [entry.seq for entry in azure.control.journal(app=app.app_id, limit=1)] == [second.seq]


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_no_secret_value_is_on_disk_or_in_a_report(tmp_path: Path, http_for, ending):
    sandbox = Sandbox(tmp_path / "sandbox").start()
    azure = Azure(sandbox, http_for(sandbox), sandbox.control.create_tenant())
    rotator, app = azure.rotator_and_workload()
    values = [azure.minted(app, rotator)["secretText"], app.secrets["boot"], "a-wrong-secret-that-was-tried"]
    tokens = [azure.token(rotator)]
    azure.login(app, values[2])
    azure.control.add_fault("graph.addPassword", app=app.app_id, when="after", preset="truncated-json")
    reports = repr((azure.control.journal(), azure.control.secrets(), azure.control.faults(), azure.control.status()))
    assert not any(value in reports for value in values + tokens)
    getattr(sandbox, ending)()
    handed_over = sandbox.state / "secrets"
    files = [path for path in sandbox.state.rglob("*") if path.is_file() and handed_over not in path.parents]
    assert any(path.name == "state.db" for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(value.encode() in content for value in values + tokens), path.name
