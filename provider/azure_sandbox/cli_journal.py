"""``azure-sandbox journal``: what the sandbox answered, and the truth about secrets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from azure_sandbox.client import JournalEntry, SecretInfo
from azure_sandbox.terminal import control_of, state_option, table


@click.command()
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
@state_option
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
    control = control_of(state)
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
    table(rows, ("#", "time", "status", "operation", "about", "outcome", "secret"))


def _show_counts(counted: dict[str, int], secrets: list[SecretInfo], as_json: bool, judged: bool) -> None:
    alive = [secret for secret in secrets if secret.origin == "minted" and secret.is_alive]
    counted = {**counted, "minted_alive": len(alive), "never_told": sum(not secret.delivered for secret in alive)}
    if judged:
        counted["orphans"] = sum(bool(secret.orphan) for secret in secrets)
    if as_json:
        click.echo(json.dumps(counted))
        return
    for name, number in counted.items():
        click.echo(f"{name.replace('_', ' '):<18}{number}")


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
    table(rows, ("application", "secret", "name", "origin", "state", "ends", "remark"))
