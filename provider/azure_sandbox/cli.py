"""``azure-sandbox``: the command line.

Results go to stdout, talk to stderr. Exit codes: 0 done, 1 refused or failed, 2 wrong usage; ``run`` passes on the
command's own.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from azure_sandbox import environment
from azure_sandbox.address import read_address
from azure_sandbox.cli_journal import journal
from azure_sandbox.cli_settings import behaviour, clock, fault
from azure_sandbox.process import STATE_VARIABLE, Running, find, start, stop
from azure_sandbox.terminal import Group, control_of, fail, running_on, state_flag, state_option

_identity_option = click.option(
    "--identity",
    type=click.Choice(environment.IDENTITY_SOURCES),
    default="imds",
    show_default=True,
    help="Where programs find managed identities: a virtual machine's metadata service or App Service's endpoint.",
)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
@state_option
def start_command(state: Path, seed: Path | None, azurite: Path | None, foreground: bool) -> None:
    """Start the sandbox in the background, and say where it listens."""
    if foreground:
        from azure_sandbox import server

        options = {"--state": state, "--seed": seed, "--azurite": azurite}
        raise SystemExit(server.main([part for name, path in options.items() if path for part in (name, str(path))]))
    running, started = start(state, seed=seed, azurite=azurite)
    if azurite and not running.control.status().get("azurite"):
        fail("the sandbox runs already, without azurite", "azure-sandbox stop" + state_flag(state))
    click.echo(f"sandbox {'started' if started else 'runs already'}: {running.address} (pid {running.pid})")
    if started:
        click.echo(f"hint: azure-sandbox run{state_flag(state)} -- COMMAND", err=True)


@main.command("stop")
@state_option
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
@state_option
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
@state_option
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
@state_option
def env(state: Path, as_json: bool, identity: str) -> None:
    """Print the environment as shell commands, for: eval "$(azure-sandbox env)"."""
    variables = _variables(running_on(state), identity)
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
@state_option
def seed_show(state: Path) -> None:
    """Print the sandbox's seed."""
    click.echo(control_of(state).seed(), nl=False)


@seed.command("default")
def seed_default() -> None:
    """Print the default seed, which documents every key."""
    from azure_sandbox.seed import default_seed

    click.echo(default_seed(), nl=False)


@seed.command("load")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@state_option
def seed_load(state: Path, file: Path) -> None:
    """Replace the directory by the one in FILE (TOML); journal and faults go."""
    control_of(state).load_seed(file.read_text(encoding="utf-8"))
    click.echo(f"seed loaded from {file}")


@main.command()
@state_option
def reset(state: Path) -> None:
    """Go back to the seed; journal and faults go, the clock stays."""
    control_of(state).reset()
    click.echo("sandbox is back at its seed")


for part in (journal, fault, behaviour, clock):
    main.add_command(part)


if __name__ == "__main__":
    main()
