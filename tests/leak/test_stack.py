"""A stack through the real Pulumi CLI: no credential in what it prints, in its state, or in a process list."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azure_rotator.engine.service import Engine
from azure_sandbox.testing import Control
from tests.leak.evidence import Evidence, command_lines
from tests.leak.life import GIVEN, LITERAL, REFERENCED, WRONG
from tests.leak.search import Canaries
from tests.plugins.azure import App
from tests.pulumi.stack import Stack
from tests.rows import row

pytestmark = pytest.mark.e2e

UP = ("up", "--yes", "--skip-preview", "--diff")


@row("AK-29", "AK-65", "F66")
def test_no_credential_is_on_the_screen_in_the_state_or_in_a_process_list(
    stack: Stack, beside: Engine, control: Control, rotator: App, make_application, tmp_path: Path
):
    canaries, evidence = Canaries(), Evidence()
    (tmp_path / "given.txt").write_text(REFERENCED)
    workload = make_application("workload", owners=[rotator.app_id])
    given = control.add_secret(workload.app_id, value=canaries.add("the api_key", GIVEN))
    for name, value in {"the Target's secret": LITERAL, "the Target's secret by reference": REFERENCED}.items():
        control.add_secret(rotator.app_id, value=canaries.add(name, value))
    canaries.add("a wrong secret", WRONG)

    def said(what: str, text: str) -> str:
        evidence.add("screen", what, text)
        return text

    def looked_at(moment: str) -> None:
        """The state as it is: exported, and in the backend's files with history and backups."""
        evidence.add("state", f"export {moment}", stack.exported())
        evidence.add_files("state", stack.backend, moment=moment)

    # A literal from the configuration, one straight from the program that nobody marked, and a reference.
    stack.configure("clientSecret", LITERAL, secret=True)
    target = {"tenant_id": rotator.info.tenant_id, "client_id": rotator.app_id}
    stack.declared["targets"] = {
        "contoso": {**target, "name": "/contoso", "client_secret": "config:clientSecret"},
        "fabrikam": {**target, "name": "/fabrikam", "client_secret": f"file:{tmp_path / 'given.txt'}"},
    }
    item = {"rotator_type": "api-key", "authentication_credentials": "use-target-creds", "app_id": workload.app_id}
    adopted = {**item, "name": "/adopted", "target": "contoso", "api_id": given.key_id, "api_key": GIVEN}
    minted = {**item, "name": "/minted", "target": "fabrikam"}
    stack.declared["secrets"] = {"minted": minted, "adopted": adopted}

    # Looked at while the provider stands inside the call that mints.
    held = control.add_fault("graph.addPassword", app=workload.app_id, hold=True, when="after")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(stack.attempt, "up", "--yes", "--diff")
        held.wait_reached(timeout_seconds=100)
        for pid, line in command_lines().items():
            evidence.add("process list", str(pid), line)
        held.release()
        made = running.result()
    assert made.returncode == 0, made.stdout
    assert "[secret]" in said("the first preview and up", made.stdout)
    looked_at("after the first up")
    # With --show-secrets a person sees what the program was given, and nothing that was minted.
    shown = stack.run("stack", "export", "--show-secrets")
    evidence.add("state", "export --show-secrets", shown, but=["the Target's secret", "the api_key"])
    assert {leak.partition(" as ")[0] for leak in canaries.found(shown)} == {"the Target's secret", "the api_key"}
    for resource in json.loads(shown)["deployment"]["resources"]:
        if "__provider" in resource.get("inputs", {}):
            pickled = json.loads(resource["inputs"]["__provider"]["plaintext"])
            evidence.add("pickles", resource["type"], base64.b64decode(pickled))

    # A check that fails, and a create and an update that do.
    pasted = {**adopted, "name": "/pasted", "api_id": GIVEN, "api_key": given.key_id}
    stack.declared["secrets"] = {"minted": minted, "adopted": adopted, "pasted": pasted}
    assert "IdentifierMixedUp" in said("a failing check", stack.refused("preview", "--diff"))
    wrong = {**adopted, "name": "/wrong", "api_id": given.key_id, "api_key": GIVEN[:3] + WRONG}
    other = control.add_secret(workload.app_id).key_id
    changed = {**adopted, "api_id": other, "api_key": WRONG}
    stack.declared["secrets"] = {"minted": minted, "adopted": changed, "wrong": {**wrong, "api_id": given.key_id}}
    failed = said("a failing create and update", stack.refused(*UP, "--continue-on-error"))
    assert "AzureAuthFailed" in failed
    assert "IdentifierMixedUp" in failed
    looked_at("after a failure")

    # A rotation, and a program that hands the value on.
    stack.declared["secrets"] = {"minted": {**minted, "rotation_trigger": "now"}, "adopted": adopted}
    stack.declared["export"] = True
    said("the second up", stack.run(*UP))
    assert "[secret]" in said("outputs", stack.run("stack", "output"))
    looked_at("after a rotation")

    for version in (1, 2):
        value = beside.secrets.get_value(name="/minted", version=version).secret.reveal()
        assert control.verify(workload.app_id, value) is not None
        canaries.add(f"minted secret {version}", value)
    for place in ("screen", "state", "pickles", "process list"):
        assert evidence.leaks(place, canaries) == [], place

    # All of it was there to be looked at.
    lines = b"\n".join(
        finding.content for finding in evidence.found["process list"] if isinstance(finding.content, bytes)
    )
    for process in (b"azure_sandbox.server", b"pulumi\0up", b"pulumi.dynamic"):
        assert process in lines
    assert len(evidence.found["pickles"]) == 4
    assert any(".pulumi/history/" in finding.source for finding in evidence.found["state"])
