"""``kill -9`` of ``pulumi up`` in the middle of a create, and what the next one makes of it: one item, one secret.

Pulumi's children outlive it: the interrupted create may go on writing to Azure while the next ``up`` runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rows import row

pytestmark = [pytest.mark.e2e, pytest.mark.crash]


def descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from descendants(int(child))
            yield int(child)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def begun(stack, control, rotator, workload, tmp_path):
    """An ``up`` whose create is inside addPassword: Azure has made the secret, nobody has its value."""
    stack.environment["AZURE_ROTATOR_LEASE"] = "2"
    secret = tmp_path / "secret.txt"
    secret.write_text(rotator.secret)
    stack.declared["targets"]["contoso"] = {
        "name": "/shop/contoso",
        "tenant_id": rotator.info.tenant_id,
        "client_id": rotator.app_id,
        "client_secret": f"file:{secret}",
    }
    stack.declared["secrets"]["billing"] = {
        "name": "/shop/billing",
        "target": "contoso",
        "rotator_type": "api-key",
        "authentication_credentials": "use-target-creds",
        "app_id": workload.app_id,
    }
    held = control.add_fault("graph.addPassword", app=workload.app_id, when="after", hold=True)
    stack.write()
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(
            stack.command("up", "--yes", "--skip-preview"),
            cwd=stack.folder,
            env=stack.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    children: list[int] = []
    try:
        held.wait_reached(timeout_seconds=60)
        children = list(descendants(process.pid))
        yield process, children, held
    finally:
        process.kill()
        process.wait()
        for child in children:
            kill(child)


def one_item_one_secret(stack, beside, workload, foreign: set[str]) -> None:
    (item,) = beside.secrets.list_all()
    outputs = stack.outputs("billing")
    assert (outputs["item_id"], outputs["key_id"], outputs["version"]) == (item.item.item_id, item.key_id, 1)
    assert workload.live_key_ids() - foreign == {item.key_id}
    value = beside.secrets.get_value(name="/shop/billing").secret.reveal()
    assert workload.control.verify(workload.app_id, value).key_id == item.key_id


@row("AK-69", "F05")
@pytest.mark.full
@pytest.mark.parametrize(
    "survivors", [pytest.param(True, id="its children go on"), pytest.param(False, id="its children die too")]
)
def test_the_next_up_ends_with_one_item_and_one_secret(survivors, begun, stack, beside, workload):
    process, children, held = begun
    foreign = {secret.key_id for secret in workload.control.secrets(workload.app_id) if secret.origin != "minted"}
    process.kill()
    process.wait()
    if not survivors:
        for child in children:
            kill(child)
    assert "pulumi cancel" in stack.refused("up", "--yes", "--skip-preview")
    stack.run("cancel", "--yes")
    held.release()  # a child that goes on now writes while the next one runs
    stack.up()
    one_item_one_secret(stack, beside, workload, foreign)
    stack.up("--expect-no-changes")
    stack.run("destroy", "--yes", "--skip-preview")
    assert workload.live_key_ids() == foreign
