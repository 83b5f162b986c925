"""Commands on Targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from azure_rotator.cli.changes import changes_of
from azure_rotator.cli.credentials import with_credentials
from azure_rotator.cli.flags import Flag, Repeated, name_flag, parameter_flags, truth, version_number
from azure_rotator.cli.invocation import Invocation, command, refuse_at_once, required
from azure_rotator.cli.tables import pairs, table
from azure_rotator.domain.errors import Forbidden, Rejected
from azure_rotator.domain.findings import Outcome
from azure_rotator.domain.model import RotatorType

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


@command(
    about="List Targets.",
    flags=[
        Flag("--filter", "text", metavar="TEXT", about="only names that contain it, or fit it with * and ?"),
        Flag(
            "--for-rotator",
            "for_rotator",
            metavar="|".join(RotatorType),
            about="only Targets that can serve this kind of credential",
        ),
        Flag("--pagination-token", "pagination_token", metavar="TEXT", about="next_page of the page before"),
    ],
)
def list_all(call: Invocation, /, text: str | None, for_rotator: str | None, pagination_token: str | None) -> None:
    kind = _rotator_type(for_rotator) if for_rotator is not None else None
    with call.engine() as engine:
        listing = engine.targets.list_page(text=text, for_rotator=kind, token=pagination_token)
    rows = [view.facts() for view in listing.targets]
    call.console.result(listing.facts(), lambda: table(rows, _COLUMNS, empty="no Targets"))


_VERSIONS = Flag("--show-versions", "show_versions", switch=True, about="show every version that is kept")


@command(about="Show a Target and the items that use it; never its credential.", flags=[name_flag("Target"), _VERSIONS])
def get(call: Invocation, /, name: str | None, show_versions: str | None) -> None:
    path = required("--name", name)
    with_versions = truth("--show-versions", show_versions)
    with call.engine() as engine:
        view = engine.targets.get(name=path)
    facts = {"name": view.target.name, **view.facts(show_versions=with_versions)}
    call.console.result(facts, lambda: _shown(facts))


@command(
    about="Show a Target with its client secret, or with one it had. This prints a credential, and the audit log notes "
    "each use.",
    flags=[
        name_flag("Target"),
        Flag("--target-version", "target_version", metavar="NUMBER", about="a version that is kept [default: present]"),
        _VERSIONS,
    ],
)
def get_details(call: Invocation, /, name: str | None, target_version: str | None, show_versions: str | None) -> None:
    path = required("--name", name)
    with_versions = truth("--show-versions", show_versions)
    number = version_number("--target-version", target_version)
    with call.engine() as engine:
        details = engine.targets.get_details(name=path, version=number)
    secret = details.secret.reveal() if details.secret is not None else None
    facts = {
        **details.view.facts(show_versions=with_versions),
        "version": details.version,
        "azure_client_secret": secret,
    }
    call.console.result(facts, lambda: _shown(facts))


@command(
    about="Log in as the Target and say for each kind of credential whether it may rotate it. Reads only.\n\n"
    "Fails when the login does, when what an item of the Target or --for-rotator needs is missing, or when there is "
    "neither and no need at all is met. What the least role may not read is unknown, and no failure.",
    flags=[
        name_flag("Target"),
        Repeated(
            "--for-rotator",
            "for_rotator",
            metavar="|".join(RotatorType),
            about="a kind that it must be able to rotate; the option may be repeated",
        ),
    ],
)
def test(call: Invocation, /, name: str | None, for_rotator: tuple[str, ...] | None) -> None:
    path = required("--name", name)
    wanted = [_rotator_type(kind) for kind in for_rotator or ()]
    with call.engine() as engine:
        findings = engine.targets.test(name=path, wanted=wanted)
    rows: list[dict[str, object]] = [
        {
            "need": one.check,
            "result": one.code or one.outcome.value,
            "outcome": one.outcome.value,
            "message": one.message,
            "hint": one.fix,
        }
        for one in findings
    ]
    columns = {"need": "NEED", "result": "RESULT", "message": "WHAT"}

    def human() -> str:
        fixes = [f"fix for {one.check}: {one.fix}" for one in findings if one.outcome is Outcome.FAILED]
        return "\n".join([table(rows, columns, empty="nothing to test"), *fixes])

    call.console.result({"target_name": path, "needs": rows}, human)
    for one in findings:
        if one.outcome is Outcome.FAILED:
            raise Forbidden(one.code, one.message, hint=one.fix)


_FORCE = Flag(
    "--force-deletion",
    "force_deletion",
    switch=True,
    about="although items use it: they can be read, and no longer be rotated",
)


@command(about="Forget a Target that no item uses. Azure is not touched.", flags=[name_flag("Target"), _FORCE])
def delete(call: Invocation, /, name: str | None, force_deletion: str | None) -> None:
    path = required("--name", name)
    force = truth("--force-deletion", force_deletion)
    with call.engine() as engine:
        view = engine.targets.delete(name=path, force=force)
    _warn_stranded(call, [view])
    facts = {"target_id": view.target.target_id, "target_name": view.target.name, "deleted": True}
    call.console.result(facts, lambda: f"deleted {view.target.name}")


@command(
    about="Forget several Targets, or all below a path. Every check passes before the first deletion.",
    flags=[
        Flag("-p", "--path", "path", metavar="PATH", about="all Targets below this path"),
        Repeated("-n", "--name", "name", metavar="PATH", about="a Target; the option may be repeated"),
        _FORCE,
    ],
)
def delete_many(
    call: Invocation, /, path: str | None, name: tuple[str, ...] | None, force_deletion: str | None
) -> None:
    if (path is None) == (name is None):
        raise Rejected("ParameterMissing", "one of --path and --name is needed", hint="give one of them")
    force = truth("--force-deletion", force_deletion)
    with call.engine() as engine:
        views = engine.targets.delete_many(names=name or (), path=path, force=force)
    _warn_stranded(call, views)
    deleted = [view.target.name for view in views]
    call.console.result({"targets": deleted}, lambda: "\n".join(f"deleted {one}" for one in deleted))


def _rotator_type(text: str) -> RotatorType:
    """Raises: Rejected ``RotatorTypeInvalid``."""
    if text not in set(RotatorType):
        raise Rejected("RotatorTypeInvalid", f"{text!r} does not exist", hint=f"one of: {', '.join(RotatorType)}")
    return RotatorType(text)


def _warn_stranded(call: Invocation, views: Sequence[TargetView]) -> None:
    stranded = [item for view in views for item in view.items]
    if stranded:
        call.console.warn(f"these items have no Target now, and are not rotated: {', '.join(stranded)}")


def _shown(facts: dict[str, object]) -> str:
    versions = facts.get("target_versions")
    shown = pairs({name: value for name, value in facts.items() if name != "target_versions"})
    if isinstance(versions, list):
        columns = {"version": "VERSION", "client_secret_id": "KEY ID", "creation_date": "SINCE"}
        shown += "\n\n" + table(versions, columns, empty="no versions")
    return shown


def _tell(call: Invocation, view: TargetView) -> None:
    facts = {"name": view.target.name, **view.facts()}
    call.console.result(facts, lambda: pairs(view.facts()))
