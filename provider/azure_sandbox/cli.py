"""``azure-sandbox``: the command line.

Results go to stdout, talk to stderr. Exit codes: 0 done, 1 refused or failed, 2 wrong usage; ``run`` passes on the
command's own.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import update_wrapper
from pathlib import Path
from typing import Any, NoReturn

import click

from azure_sandbox import environment
from azure_sandbox.address import read_address
from azure_sandbox.client import Control, ControlError, JournalEntry, SecretInfo
from azure_sandbox.faults import PRESETS, FaultSpec
from azure_sandbox.process import STATE_VARIABLE, Running, StartFailed, default_state, find, start, stop


def _fail(message: str, hint: str | None = None) -> NoReturn:
    click.echo(f"azure-sandbox: error: {message}", err=True)
    if hint:
        click.echo(f"hint: {hint}", err=True)
    raise SystemExit(1)


def _state_option(function: Callable[..., None]) -> Callable[..., None]:
    """Add ``--state`` to a command, which gets it as its first argument, absolute."""

    @click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=STATE_VARIABLE,
        show_envvar=True,
        help="Folder that holds the sandbox; one sandbox runs on each. Default: the user's state folder.",
    )
    def with_state(*args: Any, state: Path | None, **kwargs: Any) -> None:
        function((state or default_state()).absolute(), *args, **kwargs)

    return update_wrapper(with_state, function)


_identity_option = click.option(
    "--identity",
    type=click.Choice(environment.IDENTITY_SOURCES),
    default="imds",
    show_default=True,
    help="Where programs find managed identities: a virtual machine's metadata service or App Service's endpoint.",
)


def _running(state: Path) -> Running:
    running = find(state)
    if running is None:
        _fail(f"no sandbox runs on {state}", "azure-sandbox start" + _state_flag(state))
    return running


def _control(state: Path) -> Control:
    return _running(state).control


def _state_flag(state: Path) -> str:
    return "" if state == default_state().absolute() else f" --state {shlex.quote(str(state))}"


def _table(rows: Iterable[tuple[object, ...]], header: tuple[str, ...]) -> None:
    lines = [header, *(tuple("-" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


class _Group(click.Group):
    """Turns the control API's refusals into the command line's one voice."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ControlError as error:
            _fail(str(error))
        except StartFailed as error:
            _fail(str(error))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="azure-rotator", prog_name="azure-sandbox")
def main() -> None:
    """A local Azure over TLS on 127.0.0.1: Entra login, Microsoft Graph, Resource Manager, blob services, key vaults.

    Programs meet it by environment alone: azure-sandbox run -- CMD. Nothing leaves the machine.
    """


@main.command("start")
@click.option("--seed", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Seed for a new folder.")
@click.option(
    "--azurite",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder in which npm installed azurite, to answer for the blob services.",
)
@click.option("--foreground", is_flag=True, help="Run in this process until Ctrl+C.")
@_state_option
def start_command(state: Path, seed: Path | None, azurite: Path | None, foreground: bool) -> None:
    """Start the sandbox in the background, and say where it listens."""
    if foreground:
        from azure_sandbox import server

        options = {"--state": state, "--seed": seed, "--azurite": azurite}
        raise SystemExit(server.main([part for name, path in options.items() if path for part in (name, str(path))]))
    running, started = start(state, seed=seed, azurite=azurite)
    if azurite and not running.control.status().get("azurite"):
        _fail("the sandbox runs already, without azurite", "azure-sandbox stop" + _state_flag(state))
    click.echo(f"sandbox {'started' if started else 'runs already'}: {running.address} (pid {running.pid})")
    if started:
        click.echo(f"hint: azure-sandbox run{_state_flag(state)} -- COMMAND", err=True)


@main.command("stop")
@_state_option
def stop_command(state: Path) -> None:
    """Stop the sandbox; its directory stays in the folder."""
    running = find(state)
    if running is None:
        click.echo("sandbox is not running")
        return
    stop(running)
    click.echo("sandbox stopped")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_state_option
def status(state: Path, as_json: bool) -> None:
    """Say whether the sandbox runs and what is in it. Exit code 1 when it does not run."""
    running = find(state)
    if as_json:
        click.echo(json.dumps({"running": running is not None, "state": str(state), **_public_status(running)}))
    elif running is None:
        click.echo(f"not running on {state}")
    else:
        told = running.control.status()
        click.echo(f"running on {state} (pid {running.pid})")
        click.echo(f"address  {running.address}")
        click.echo(f"proxy    {running.proxy}")
        click.echo(f"clock    {told['now']}")
        click.echo(f"faults   {told['faults']}")
        for host, times in told["refused_hosts"].items():
            click.echo(f"refused  {host} ({times} times)")
        for tenant in told["tenants"]:
            click.echo(f"tenant   {tenant['tenant_id']}  {tenant['name']} ({tenant['cloud']})")
        for item in running.control.applications():
            click.echo(f"app      {item.app_id}  {item.name}")
        for user in running.control.users():
            click.echo(f"user     {user.object_id}  {user.upn}")
        for account in running.control.accounts():
            click.echo(f"account  {account.name}  {account.resource_id}")
    if running is None:
        raise SystemExit(1)


def _public_status(running: Running | None) -> dict[str, Any]:
    if running is None:
        return {}
    applications = [
        {"name": item.name, "tenant_id": item.tenant_id, "app_id": item.app_id, "object_id": item.object_id}
        for item in running.control.applications()
    ]
    return {
        **running.control.status(),
        "address": running.address,
        "proxy": running.proxy,
        "applications": applications,
        "ca_file": str(running.ca_file),
        "ca_bundle": str(running.bundle_file),
    }


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@_identity_option
@_state_option
def run(state: Path, command: tuple[str, ...], identity: str) -> None:
    """Run COMMAND with the environment that leads to the sandbox, starting it first if need be."""
    running, started = start(state)
    if started:
        click.echo(f"azure-sandbox: started on {state}; it goes on running until: azure-sandbox stop", err=True)
    variables = environment.applied(os.environ, _variables(running, identity))
    sys.stdout.flush()
    try:
        os.execvpe(command[0], command, variables)  # noqa: S606 (the person's own command, as given, without a shell)
    except OSError as error:
        click.echo(f"azure-sandbox: error: {command[0]}: {error.strerror}", err=True)
        raise SystemExit(127 if isinstance(error, FileNotFoundError) else 126) from None


def _variables(running: Running, identity: str) -> dict[str, str]:
    address = read_address(running.state) or {}
    return {
        **environment.variables(proxy_port=running.proxy_port, ca_file=running.bundle_file),
        **environment.identity_variables(
            port=running.identity_port, header=str(address.get("identity_header")), source=identity
        ),
        STATE_VARIABLE: str(running.state),
    }


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON; null means unset.")
@_identity_option
@_state_option
def env(state: Path, as_json: bool, identity: str) -> None:
    """Print the environment as shell commands, for: eval "$(azure-sandbox env)"."""
    variables = _variables(_running(state), identity)
    unset = [name for name in environment.UNSET if name not in variables]
    if as_json:
        click.echo(json.dumps({**variables, **dict.fromkeys(unset)}))
        return
    for name, value in variables.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f"unset {' '.join(unset)}")


@main.group()
def seed() -> None:
    """The directory that the sandbox starts with."""


@seed.command("show")
@_state_option
def seed_show(state: Path) -> None:
    """Print the sandbox's seed."""
    click.echo(_control(state).seed(), nl=False)


@seed.command("default")
def seed_default() -> None:
    """Print the default seed, which documents every key."""
    from azure_sandbox.seed import default_seed

    click.echo(default_seed(), nl=False)


@seed.command("load")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_state_option
def seed_load(state: Path, file: Path) -> None:
    """Replace the directory by the one in FILE (TOML); journal and faults go."""
    _control(state).load_seed(file.read_text(encoding="utf-8"))
    click.echo(f"seed loaded from {file}")


@main.command()
@_state_option
def reset(state: Path) -> None:
    """Go back to the seed; journal and faults go, the clock stays."""
    _control(state).reset()
    click.echo("sandbox is back at its seed")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one request a line.")
@click.option("--counts", is_flag=True, help="Count requests, creations, removals and orphans instead.")
@click.option(
    "--managed", metavar="KEYID,...", help="Secrets that somebody answers for; the other minted ones are orphans."
)
@click.option("--secrets", "show_secrets", is_flag=True, help="Show the truth about every secret instead.")
@click.option("--app", help="Only requests about this application (its appId).")
@click.option("--account", help="Only requests about this storage account.")
@click.option("--user", help="Only requests about this user.")
@click.option("--last", type=click.IntRange(min=1), help="Only the last so many requests.")
@_state_option
def journal(
    state: Path,
    as_json: bool,
    counts: bool,
    managed: str | None,
    show_secrets: bool,
    app: str | None,
    account: str | None,
    user: str | None,
    last: int | None,
) -> None:
    """List the requests that the sandbox answered; secret values are never in it."""
    control = _control(state)
    names = [name.strip() for name in managed.split(",") if name.strip()] if managed is not None else None
    if counts:
        counted = control.counts(app=app, account=account, user=user)
        _show_counts(counted, control.secrets(app, managed=names), as_json, names is not None)
    elif show_secrets or names is not None:
        _show_secrets(control.secrets(app, managed=names), as_json)
    else:
        _show_requests(control.journal(app=app, account=account, user=user, limit=last), as_json)


def _show_requests(entries: list[JournalEntry], as_json: bool) -> None:
    if as_json:
        for entry in entries:
            click.echo(json.dumps({name: getattr(entry, name) for name in entry.__dataclass_fields__}))
        return
    rows = (
        (
            entry.seq,
            entry.at[11:23],
            entry.status or ("cut" if entry.status == 0 else "inside"),
            entry.operation,
            entry.account or entry.user or entry.app_id,
            entry.error or ("committed" if entry.committed else None),
            entry.key_id,
        )
        for entry in entries
    )
    _table(rows, ("#", "time", "status", "operation", "about", "outcome", "secret"))


def _show_counts(counted: dict[str, int], secrets: list[SecretInfo], as_json: bool, judged: bool) -> None:
    alive = [secret for secret in secrets if secret.origin == "minted" and secret.is_alive]
    counted = {**counted, "minted_alive": len(alive), "never_told": sum(not secret.delivered for secret in alive)}
    if judged:
        counted["orphans"] = sum(bool(secret.orphan) for secret in secrets)
    if as_json:
        click.echo(json.dumps(counted))
        return
    for name, number in counted.items():
        click.echo(f"{name.replace('_', ' '):<16}{number}")


def _show_secrets(secrets: list[SecretInfo], as_json: bool) -> None:
    if as_json:
        for secret in secrets:
            line = {name: getattr(secret, name) for name in secret.__dataclass_fields__ if name != "value"}
            click.echo(json.dumps(line))
        return
    rows = (
        (
            secret.application,
            secret.key_id,
            secret.display_name,
            secret.origin,
            secret.state,
            secret.ends_at[:10],
            "orphan" if secret.orphan else "never told" if not secret.delivered else None,
        )
        for secret in secrets
    )
    _table(rows, ("application", "secret", "name", "origin", "state", "ends", "remark"))


@main.group()
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
@_state_option
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
    click.echo(_control(state).add_fault(operation, **given).id)


@fault.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one fault a line.")
@_state_option
def fault_list(state: Path, as_json: bool) -> None:
    """List the faults in force, spent ones included."""
    faults = _control(state).faults()
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
    _table(rows, ("id", "operation", "when", "hits", "inside", "effect"))


@fault.command("release")
@click.argument("fault_id")
@_state_option
def fault_release(state: Path, fault_id: str) -> None:
    """Let go of the requests that a fault holds."""
    _control(state).request("POST", f"/faults/{fault_id}/release")


@fault.command("clear")
@click.argument("fault_id", required=False)
@_state_option
def fault_clear(state: Path, fault_id: str | None) -> None:
    """Take one fault away, or all; whom they hold goes on."""
    _control(state).request("DELETE", f"/faults/{fault_id}" if fault_id else "/faults")


@main.group()
def behaviour() -> None:
    """How late and how strict the sandbox is: propagation, lags, throttles, limits."""


@behaviour.command("show")
@_state_option
def behaviour_show(state: Path) -> None:
    """Print the settings that hold where an object has none of its own."""
    for name, value in _control(state).behaviour().items():
        click.echo(f"{name:<20}{json.dumps(value)}")


@behaviour.command("set")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@click.option("--app", help="Only for this application (appId, object id or name).")
@click.option("--account", help="Only for this storage account.")
@click.option("--user", help="Only for this user.")
@_state_option
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
    control = _control(state)
    if account:
        control.update_account(account, behaviour=changes)
    elif user:
        control.update_user(user, behaviour=changes)
    else:
        control.set_behaviour(app, **changes)


@main.group()
def clock() -> None:
    """The sandbox's clock: wall time plus an offset."""


@clock.command("show")
@_state_option
def clock_show(state: Path) -> None:
    """Print the sandbox's time."""
    click.echo(_control(state).request("GET", "/clock")["now"])


@clock.command("advance", context_settings={"ignore_unknown_options": True})
@click.argument("duration")
@_state_option
def clock_advance(state: Path, duration: str) -> None:
    """Move the clock by DURATION: 90s, 2h, 1d12h."""
    click.echo(_control(state).request("POST", "/clock", {"advance": duration})["now"])


@clock.command("set")
@click.argument("instant")
@_state_option
def clock_set(state: Path, instant: str) -> None:
    """Make the clock show INSTANT: 2030-01-31T12:00:00Z."""
    click.echo(_control(state).request("POST", "/clock", {"set": instant})["now"])


if __name__ == "__main__":
    main()
