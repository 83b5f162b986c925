"""Commands on Targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure_rotator.cli.changes import changes_of
from azure_rotator.cli.credentials import with_credentials
from azure_rotator.cli.flags import name_flag, parameter_flags
from azure_rotator.cli.invocation import Invocation, command, refuse_at_once, required
from azure_rotator.cli.tables import pairs, table
from azure_rotator.domain.errors import Forbidden

if TYPE_CHECKING:
    from azure_rotator.engine.views import TargetView

_COLUMNS = {
    "target_name": "NAME",
    "connection_type": "CONNECTION",
    "azure_tenant_id": "TENANT",
    "azure_client_id": "CLIENT",
    "target_items_assoc": "ITEMS",
}


@command(
    about="Store an Azure Target: the tenant, and the privileged application or cloud identity to rotate as. "
    "Azure is not asked; `target test` does that.\n\nThe first Target on a machine makes the store, and its key.",
    flags=parameter_flags("target"),
)
def create_azure(call: Invocation, /, **given: object) -> None:
    values = with_credentials(call.console, "target", given)
    refuse_at_once("target", values)
    with call.engine(new_store=True) as engine:
        view = engine.targets.create(values)
    _tell(call, view)
    call.console.say(f"next: azure-rotator target test --name {view.target.name}")


@command(
    about="Change an Azure Target. What is not given stays; an empty text resets to the default.",
    flags=parameter_flags("target", update=True),
)
def update_azure(call: Invocation, /, name: str | None, new_name: str | None, **given: object) -> None:
    path = required("--name", name)
    changes = changes_of("target", with_credentials(call.console, "target", given), new_name)
    with call.engine() as engine:
        view = engine.targets.update(changes, name=path)
    _tell(call, view)


@command(about="List Targets.")
def list_all(call: Invocation, /) -> None:
    with call.engine() as engine:
        rows = [view.facts() for view in engine.targets.list_all()]
    call.console.result({"targets": rows}, lambda: table(rows, _COLUMNS, empty="no Targets"))


@command(about="Show a Target and the items that use it; never its credential.", flags=[name_flag("Target")])
def get(call: Invocation, /, name: str | None) -> None:
    path = required("--name", name)
    with call.engine() as engine:
        view = engine.targets.get(name=path)
    _tell(call, view)


@command(
    about="Log in as the Target and say for each need whether its grants allow it. Reads only.\n\n"
    "Fails when the login does, or when no need at all is met.",
    flags=[name_flag("Target")],
)
def test(call: Invocation, /, name: str | None) -> None:
    path = required("--name", name)
    with call.engine() as engine:
        findings = engine.targets.test(name=path)
    rows = [finding.facts() for finding in findings]
    columns = {"need": "NEED", "result": "RESULT", "message": "WHAT"}
    call.console.result({"target_name": path, "needs": rows}, lambda: table(rows, columns, empty="nothing to test"))
    refused = [finding for finding in findings if finding.result != "ok"]
    if refused and len(refused) == len(findings) - 1:  # the login itself is the one that went well
        raise Forbidden(refused[0].result, refused[0].message, hint=refused[0].hint)


@command(about="Forget a Target that no item uses. Azure is not touched.", flags=[name_flag("Target")])
def delete(call: Invocation, /, name: str | None) -> None:
    path = required("--name", name)
    with call.engine() as engine:
        view = engine.targets.delete(name=path)
    facts = {"target_id": view.target.target_id, "target_name": view.target.name, "deleted": True}
    call.console.result(facts, lambda: f"deleted {view.target.name}")


def _tell(call: Invocation, view: TargetView) -> None:
    facts = {"name": view.target.name, **view.facts()}
    call.console.result(facts, lambda: pairs(view.facts()))
