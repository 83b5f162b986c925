"""``azure-sandbox fault``, ``behaviour`` and ``clock``: what goes wrong, how late things are, and what time it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from azure_sandbox.faults import PRESETS, FaultSpec
from azure_sandbox.terminal import control_of, state_option, table


@click.group()
def fault() -> None:
    """Let requests fail, wait or hang, before or after they did their work."""


@fault.command("add")
@click.argument("operation")
@click.option("--preset", type=click.Choice(sorted(PRESETS)), help="A ready-made fault.")
@click.option("--app", help="Only for this application: appId or object id; for logins the client id.")
@click.option("--account", help="Only for this storage account.")
@click.option("--user", help="Only for this user, as the request names him.")
@click.option("--principal", help="Only for this caller (appId).")
@click.option("--when", type=click.Choice(["before", "after"]), help="Before the work or after its commit.")
@click.option("--times", type=click.IntRange(min=0), help="How many requests it meets; 0 for all. Default: 1.")
@click.option("--skip", type=click.IntRange(min=0), help="How many matching requests pass first.")
@click.option("--status", type=click.IntRange(200, 599), help="Answer with this status.")
@click.option("--code", help="Error code of the answer.")
@click.option("--retry-after", help="Retry-After header of the answer.")
@click.option("--delay", "delay_seconds", type=click.FloatRange(min=0), help="Wait so many seconds.")
@click.option("--hold", is_flag=True, help="Wait until released.")
@click.option("--drop", is_flag=True, help="Cut the connection without an answer.")
@state_option
def fault_add(state: Path, operation: str, retry_after: str | None, times: int | None, **spec: Any) -> None:
    """Add a fault for OPERATION (graph.addPassword, login.token, or a glob: graph.*) and print its id."""
    given = {name: value for name, value in spec.items() if value is not None and value is not False}
    if retry_after is not None:
        given["headers"] = {"Retry-After": retry_after}
    if times is not None:
        given["times"] = times or None
    try:
        FaultSpec.from_record({"operation": operation, **given})
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(control_of(state).add_fault(operation, **given).id)


@fault.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one fault a line.")
@state_option
def fault_list(state: Path, as_json: bool) -> None:
    """List the faults in force, spent ones included."""
    faults = control_of(state).faults()
    if as_json:
        for record in faults:
            click.echo(json.dumps(record))
        return
    counted = {"id", "operation", "when", "seen", "hits", "inside", "held", "released"}
    rows = (
        (
            record["id"],
            record.get("operation", "*"),
            record["when"],
            record["hits"],
            record["inside"],
            " ".join(f"{name}={value}" for name, value in record.items() if name not in counted),
        )
        for record in faults
    )
    table(rows, ("id", "operation", "when", "hits", "inside", "effect"))


@fault.command("release")
@click.argument("fault_id")
@state_option
def fault_release(state: Path, fault_id: str) -> None:
    """Let go of the requests that a fault holds."""
    control_of(state).request("POST", f"/faults/{fault_id}/release")


@fault.command("clear")
@click.argument("fault_id", required=False)
@state_option
def fault_clear(state: Path, fault_id: str | None) -> None:
    """Take one fault away, or all; whom they hold goes on."""
    control_of(state).request("DELETE", f"/faults/{fault_id}" if fault_id else "/faults")


@click.group()
def behaviour() -> None:
    """How late and how strict the sandbox is: propagation, lags, throttles, limits."""


@behaviour.command("show")
@state_option
def behaviour_show(state: Path) -> None:
    """Print the settings that hold where an object has none of its own."""
    for name, value in control_of(state).behaviour().items():
        click.echo(f"{name:<20}{json.dumps(value)}")


@behaviour.command("set")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--app", help="Only for this application (appId, object id or name).")
@click.option("--account", help="Only for this storage account.")
@click.option("--user", help="Only for this user.")
@state_option
def behaviour_set(
    state: Path, settings: tuple[str, ...], app: str | None, account: str | None, user: str | None
) -> None:
    """Change settings: visible_after=[0,20], throttle_scale=0.01, throttle_scale=null. Values are JSON."""
    changes: dict[str, Any] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            raise click.UsageError(f"{setting!r} is not NAME=VALUE with a JSON value") from None
    if sum(map(bool, (app, account, user))) > 1:
        raise click.UsageError("one of --app, --account, --user")
    control = control_of(state)
    if account:
        control.update_account(account, behaviour=changes)
    elif user:
        control.update_user(user, behaviour=changes)
    else:
        control.set_behaviour(app, **changes)


@click.group()
def clock() -> None:
    """The sandbox's clock: wall time plus an offset."""


@clock.command("show")
@state_option
def clock_show(state: Path) -> None:
    """Print the sandbox's time."""
    click.echo(control_of(state).request("GET", "/clock")["now"])


@clock.command("advance", context_settings={"ignore_unknown_options": True})
@click.argument("duration")
@state_option
def clock_advance(state: Path, duration: str) -> None:
    """Move the clock by DURATION: 90s, 2h, 1d12h."""
    click.echo(control_of(state).request("POST", "/clock", {"advance": duration})["now"])


@clock.command("set")
@click.argument("instant")
@state_option
def clock_set(state: Path, instant: str) -> None:
    """Make the clock show INSTANT: 2030-01-31T12:00:00Z."""
    click.echo(control_of(state).request("POST", "/clock", {"set": instant})["now"])
