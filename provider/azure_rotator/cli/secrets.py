"""Commands on Rotated Secrets. ``get_value`` prints a credential; nothing else here ever holds one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from azure_rotator.cli.changes import changes_of
from azure_rotator.cli.credentials import with_credentials
from azure_rotator.cli.flags import Flag, name_flag, parameter_flags, truth, version_number
from azure_rotator.cli.grants import grants_text
from azure_rotator.cli.invocation import Invocation, command, refuse_at_once, required
from azure_rotator.cli.tables import pairs, table
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.instants import iso
from azure_rotator.domain.secrettext import SecretText

if TYPE_CHECKING:
    from azure_rotator.engine.views import Dependents, SecretView, Value

Facts = dict[str, object]

_OLD_CREATE = "create-rotated-secret"
_FORMATS = ("named", "json")
_LATER_FORMATS = ("akeyless", "env", "dotenv", "connection-string")
_VERSION_COLUMNS = {
    "version": "VERSION",
    "stage": "STAGE",
    "key_id": "KEY ID",
    "creation_date": "CREATED",
    "expires_at": "EXPIRES",
    "retire_at": "RETIRES",
}


@command(
    about="Put an Azure credential under rotation: adopt the client secret that --api-id names, or mint one when it is "
    "left out. A failed create leaves nothing behind, here or in Azure.",
    flags=parameter_flags("secret"),
    epilog=grants_text(),
)
def create_azure(call: Invocation, /, **given: object) -> None:
    if call.name == _OLD_CREATE:
        call.console.say(f"note: {_OLD_CREATE} is rotated-secret create azure under its old name")
    values = with_credentials(call.console, "secret", given)
    refuse_at_once("secret", values)
    with call.engine() as engine:
        view = engine.secrets.create(values)
    _tell(call, view)
    call.console.say(f"next: azure-rotator rotated-secret get-value --name {view.item.name}")


@command(
    about="Change an Azure Rotated Secret. What is not given stays; an empty text resets to the default. --api-id with "
    "--api-key adopts another secret of the application as a new version; --api-key alone corrects the value.",
    flags=parameter_flags("secret", update=True),
)
def update_azure(
    call: Invocation,
    /,
    name: str | None,
    new_name: str | None,
    add_tag: tuple[str, ...] | None,
    rm_tag: tuple[str, ...] | None,
    **given: object,
) -> None:
    path = required("--name", name)
    given = with_credentials(call.console, "secret", given)
    changes = changes_of("secret", given, new_name, beside=bool(add_tag or rm_tag))
    with call.engine() as engine:
        view = engine.secrets.update(changes, name=path, add_tags=add_tag or (), rm_tags=rm_tag or ())
    _tell(call, view)


@command(
    about="Show everything about an item but its value. Azure is not asked.",
    flags=[
        name_flag("item"),
        Flag("--item-id", "item_id", metavar="ID", about="its id, instead of its path"),
        Flag("--show-versions", "show_versions", switch=True, about="show every version that is kept"),
    ],
)
def describe(call: Invocation, /, name: str | None, item_id: str | None, show_versions: str | None) -> None:
    with_versions = truth("--show-versions", show_versions)
    if (name is None) == (item_id is None):
        raise Rejected("ParameterMissing", "one of --name and --item-id is needed", hint="give one of them")
    with call.engine() as engine:
        view = engine.secrets.describe(name=name, item_id=item_id)
    facts = view.facts(show_versions=with_versions)

    def human() -> str:
        versions = facts.pop("item_versions", None)
        shown = pairs(facts)
        if isinstance(versions, list):
            shown += "\n\n" + table(versions, _VERSION_COLUMNS, empty="no versions")
        return shown

    call.console.result(facts, human)


@command(
    about="Print the value of the current version, or of another one. It is read from the store; Azure is not asked, "
    "unless the item has rotate-on-read: then the current version is replaced first. "
    "This is the one command that prints a credential, and the audit log notes each use.",
    flags=[
        name_flag("item", "--names"),
        Flag("--version", "version", metavar="NUMBER", about="a version by its number; the current one unless given"),
        Flag("--format", "form", metavar="named|json", about="the form of the value [default: named]"),
    ],
)
def get_value(call: Invocation, /, name: str | None, version: str | None, form: str | None) -> None:
    path = required("--name", name)
    _refuse_format(form)
    number = version_number("--version", version)
    with call.engine() as engine:
        value = engine.secrets.get_value(name=path, version=number)
    named = _named(value)
    facts: Facts = {
        "name": value.name,
        "item_id": value.item_id,
        "version": value.version,
        "stage": value.stage,
        "rotator_type": value.rotator_type,
        "value": named,
    }
    if value.stage == "revoked":
        call.console.say(f"note: version {value.version} is revoked: Azure refuses it")
    call.console.result(facts, lambda: json.dumps(named, indent=2))


@command(
    about="Rotate now, or attach to the rotation that runs; a parked one goes on. Waits until the new credential is "
    "proven and published; the one before stays valid for --revoke-after of its item.",
    flags=[
        name_flag("item"),
        Flag(
            "--revoke-now",
            "revoke_now",
            switch=True,
            about="retire the replaced secret at once; on a terminal it is told who depends on it, and asked for the "
            "item's name",
        ),
        Flag("-y", "--yes", "yes", switch=True, about="do not ask"),
        Flag("--rotate-all-services", "rotate_all_services", switch=True, about="only false"),
    ],
)
def rotate(
    call: Invocation,
    /,
    name: str | None,
    revoke_now: str | None,
    yes: str | None,
    rotate_all_services: str | None,
) -> None:
    path = required("--name", name)
    at_once, agreed = truth("--revoke-now", revoke_now), truth("--yes", yes)
    if truth("--rotate-all-services", rotate_all_services):
        raise Rejected(
            "ParameterInvalid",
            "--rotate-all-services can only be false: an Azure item has no services",
            hint="leave it out",
        )
    with call.engine() as engine:
        if at_once and not agreed and call.console.has_person:
            _ask_for_name(call, engine.secrets.dependents(name=path))
        done = engine.secrets.rotate(name=path, revoke_now=at_once)
    facts = done.facts()
    call.console.result(facts, lambda: pairs({k: v for k, v in facts.items() if k != "notes"}))
    for note in done.notes:
        call.console.say(f"note: {note}")


@command(
    about="Delete an item with every secret that was minted for it; an adopted one that was never rotated stays in "
    "Azure. If Azure refuses, the item stays. With --version only that version: its secret is retired first.",
    flags=[
        name_flag("item"),
        Flag(
            "--version",
            "version",
            metavar="NUMBER",
            about="only this version, which must not be the current one; -1 is the whole item [default: -1]",
        ),
        Flag(
            "--force-delete",
            "force_delete",
            switch=True,
            about="delete the item although Azure refuses, and name what is left there",
        ),
    ],
)
def delete(call: Invocation, /, name: str | None, version: str | None, force_delete: str | None) -> None:
    path = required("--name", name)
    force = truth("--force-delete", force_delete)
    number = None if version == "-1" else version_number("--version", version)
    with call.engine() as engine:
        if number is None:
            done = engine.secrets.delete(name=path, force=force)
        else:
            done = engine.secrets.delete_version(number, name=path, force=force)
    facts = done.facts()
    call.console.result(facts, lambda: pairs(facts))
    if done.orphans:
        call.console.warn(f"left in Azure, and nobody's now: {', '.join(done.orphans)}; remove them by hand")
    if done.left_in_azure:
        call.console.say(f"note: left in Azure as it is: {', '.join(done.left_in_azure)}")


def _ask_for_name(call: Invocation, who: Dependents) -> None:
    """Say what will stop working, and have the item's name typed: the wrong item must not be confirmed by habit.

    Raises:
        Rejected: ``ParameterInvalid``, something else was typed.
    """
    call.console.warn(f"{who.name}: these secrets are refused by Azure as soon as the new one is published:")
    for version in who.versions:
        call.console.warn(f"  version {version.number} ({version.stage.value}), {version.key_id}")
    for reader, at in who.readers.items():
        call.console.warn(f"  {reader} read a value, last at {iso(at)}")
    if who.owner:
        call.console.warn(f"  made by the Pulumi program {who.owner}")
    if who.items:
        call.console.warn(f"  works for {', '.join(who.items)}")
    if call.console.asked(f"type {who.name} to rotate and revoke: ") != who.name:
        raise Rejected("ParameterInvalid", "another name was typed: nothing was rotated", hint="--yes does not ask")


def _tell(call: Invocation, view: SecretView) -> None:
    facts = {"name": view.item.name, **view.facts()}
    call.console.result(facts, lambda: pairs(view.facts()))


def _named(value: Value) -> dict[str, object]:
    return {name: field.reveal() if isinstance(field, SecretText) else field for name, field in value.fields.items()}


def _refuse_format(form: str | None) -> None:
    if form is None or form in _FORMATS:
        return
    later = form in _LATER_FORMATS
    raise Rejected(
        "FormatNotAvailable",
        f"the format {form} is not in this release" if later else f"there is no format {form!r}",
        hint=f"one of: {', '.join(_FORMATS)}; --jq-expression .value.client_secret prints the secret alone",
    )
