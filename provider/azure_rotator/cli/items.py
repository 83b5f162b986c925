"""Commands on items and folders that have nothing to do with Azure, and the deletion of many."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from azure_rotator.cli.changes import changes_of
from azure_rotator.cli.flags import Flag, Repeated, account_flags, name_flag, some_flags, tag_flags, truth
from azure_rotator.cli.invocation import Invocation, command, required
from azure_rotator.cli.tables import pairs, table
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.model import RotatorType

if TYPE_CHECKING:
    from azure_rotator.engine.views import AccountView, FolderView, SecretView

Facts = dict[str, object]

_TYPE = "rotated-secret"
_FORCE = "delete items although Azure refuses, and name what is left there"
_PROTECTED = "the folder and everything in it is not deleted"


@command(
    about="List Rotated Secrets and the folders they lie in. Only what fits all that is given.",
    flags=[
        Flag("--type", "kind", metavar=_TYPE, about="the type of item: there is one"),
        Repeated(
            "--sub-types",
            "sub_types",
            metavar="|".join(RotatorType),
            about="only these kinds of credential; the option may be repeated",
        ),
        Flag("--filter", "text", metavar="TEXT", about="only names that contain it, or fit it with * and ?"),
        Flag("--tag", "tag", metavar="TEXT", about="only what has this tag"),
        Flag("--path", "path", metavar="PATH", about="only what lies below this folder"),
        Flag("--current-folder", "current_folder", switch=True, about="only what lies in this very folder"),
        Flag("--modified-after", "modified_after", metavar="SECONDS", about="only what changed since, in unix time"),
        Flag("--minimal-view", "minimal_view", switch=True, about="with --json only what tells items apart"),
        Flag(
            "--auto-pagination",
            "auto_pagination",
            metavar="enabled|disabled",
            about="disabled: 1,000 items, and next_page for the next [default: enabled]",
        ),
        Flag("--pagination-token", "pagination_token", metavar="TEXT", about="next_page of the page before"),
    ],
)
def list_all(
    call: Invocation,
    /,
    kind: str | None,
    sub_types: tuple[str, ...] | None,
    text: str | None,
    tag: str | None,
    path: str | None,
    current_folder: str | None,
    modified_after: str | None,
    minimal_view: str | None,
    auto_pagination: str | None,
    pagination_token: str | None,
) -> None:
    from azure_rotator.engine.queries import PAGE, Query

    if kind is not None and kind.lower().replace("_", "-") != _TYPE:
        raise Rejected("ParameterInvalid", f"there are no items of the type {kind!r}", hint=f"--type {_TYPE}")
    unknown = [sub for sub in sub_types or () if sub not in set(RotatorType)]
    if unknown:
        raise Rejected("RotatorTypeInvalid", f"{unknown[0]!r} does not exist", hint=f"one of: {', '.join(RotatorType)}")
    if auto_pagination not in {None, "enabled", "disabled"}:
        raise Rejected("ParameterInvalid", "--auto-pagination is neither enabled nor disabled", hint="give one of them")
    brief = truth("--minimal-view", minimal_view)
    paged = auto_pagination == "disabled" or pagination_token is not None
    query = Query(
        path=path,
        current_folder=truth("--current-folder", current_folder),
        rotator_types=frozenset(sub_types or ()),
        text=text,
        tag=tag,
        modified_after=_unix(modified_after),
        page_size=PAGE if paged else None,
        token=pagination_token,
    )
    with call.engine() as engine:
        listing = engine.secrets.list_page(query)
    rows = [_row(view) for view in listing.items]
    columns = {"name": "NAME", "type": "TYPE", "version": "VERSION", "status": "STATUS", "next": "NEXT ROTATION"}
    call.console.result(listing.facts(minimal=brief), lambda: table(rows, columns, empty="no Rotated Secrets"))
    if listing.next_page is not None:
        call.console.say(f"next: azure-rotator list-items --pagination-token {listing.next_page}")


@command(
    about="Change what an item is called and how it is kept. Azure is not asked, and no version is made.",
    flags=[
        name_flag("item"),
        Flag("--new-name", "new_name", metavar="PATH", about="a new path; the id stays"),
        *some_flags("secret", "description", "max_versions", "delete_protection"),
        *tag_flags(),
    ],
)
def update(
    call: Invocation,
    /,
    name: str | None,
    new_name: str | None,
    add_tag: tuple[str, ...] | None,
    rm_tag: tuple[str, ...] | None,
    **given: object,
) -> None:
    path = required("--name", name)
    changes = changes_of("secret", given, new_name, beside=bool(add_tag or rm_tag))
    with call.engine() as engine:
        view = engine.secrets.update(changes, name=path, add_tags=add_tag or (), rm_tags=rm_tag or ())
    call.console.result(view.facts(), lambda: pairs(view.facts()))


@command(
    about="Switch an item off, or on again. Disabled it is neither read nor rotated; on again its next rotation counts "
    "from the last one.",
    flags=[name_flag("item"), Flag("-s", "--state", "state", metavar="Enabled|Disabled", about="what it shall be")],
)
def set_state(call: Invocation, /, name: str | None, state: str | None) -> None:
    path = required("--name", name)
    wanted = required("--state", state).lower()
    if wanted not in {"enabled", "disabled"}:
        raise Rejected("ParameterInvalid", "--state is neither Enabled nor Disabled", hint="give one of them")
    with call.engine() as engine:
        view = engine.secrets.set_state(name=path, enabled=wanted == "enabled")
    call.console.result(view.facts(), lambda: pairs(view.facts()))


@command(
    about="Rename an item, or move a folder with everything in it: ids, versions and schedules stay. All of it, or "
    "nothing.",
    flags=[
        Flag("-s", "--source", "source", metavar="PATH", about="the item or folder"),
        Flag("-t", "--target", "target", metavar="PATH", about="its new path"),
    ],
)
def move(call: Invocation, /, source: str | None, target: str | None) -> None:
    old, new = required("--source", source), required("--target", target)
    with call.engine() as engine:
        done = engine.folders.move(source=old, target=new)
    rows = [{"from": before, "to": after} for before, after in done.moved.items()]
    call.console.result(done.facts(), lambda: table(rows, {"from": "FROM", "to": "TO"}, empty="nothing"))


@command(
    about="Delete several items, or a folder with everything in it: see `rotated-secret delete`. Every check passes "
    "before the first deletion.",
    flags=[
        Flag("-p", "--path", "path", metavar="PATH", about="a folder: all items below it"),
        Repeated("--item", "item", metavar="PATH", about="an item; the option may be repeated"),
        Flag("--force-delete", "force_delete", switch=True, about=_FORCE),
    ],
)
def delete_many(call: Invocation, /, path: str | None, item: tuple[str, ...] | None, force_delete: str | None) -> None:
    if (path is None) == (item is None):
        raise Rejected("ParameterMissing", "one of --path and --item is needed", hint="give one of them")
    force = truth("--force-delete", force_delete)
    with call.engine() as engine:
        done = engine.secrets.delete_many(names=item or (), path=path, force=force)
    rows = [one.facts() for one in done.deletions]
    columns = {"item_name": "NAME", "revoked": "REVOKED", "left_in_azure": "LEFT IN AZURE", "orphans": "ORPHANS"}
    call.console.result(done.facts(), lambda: table(rows, columns, empty="no items"))
    orphans = [key_id for one in done.deletions for key_id in one.orphans]
    if orphans:
        call.console.warn(f"left in Azure, and nobody's now: {', '.join(orphans)}; remove them by hand")


# --- folders


_FOLDER_SETTINGS = [
    Flag("--description", "description", metavar="TEXT", about="free text"),
    Flag("--delete-protection", "delete_protection", switch=True, about=_PROTECTED),
]


@command(
    about="Make a folder: it is there without items, has a description and tags, and may be protected.",
    flags=[
        name_flag("folder"),
        *_FOLDER_SETTINGS,
        Repeated("-t", "--tag", "--tags", "tags", metavar="TEXT", about="tags; the option may be repeated"),
    ],
)
def create_folder(
    call: Invocation,
    /,
    name: str | None,
    description: str | None,
    delete_protection: str | None,
    tags: tuple[str, ...] | None,
) -> None:
    path = required("--name", name)
    protected = truth("--delete-protection", delete_protection)
    with call.engine() as engine:
        view = engine.folders.create(
            name=path, description=description or "", tags=tags or (), delete_protection=protected
        )
    _tell_folder(call, view)


@command(
    about="Change a folder that was made. What is not given stays.",
    flags=[name_flag("folder"), *_FOLDER_SETTINGS, *tag_flags()],
)
def update_folder(
    call: Invocation,
    /,
    name: str | None,
    description: str | None,
    delete_protection: str | None,
    add_tag: tuple[str, ...] | None,
    rm_tag: tuple[str, ...] | None,
) -> None:
    path = required("--name", name)
    protected = None if delete_protection is None else truth("--delete-protection", delete_protection)
    with call.engine() as engine:
        view = engine.folders.update(
            name=path,
            description=description,
            add_tags=add_tag or (),
            rm_tags=rm_tag or (),
            delete_protection=protected,
        )
    _tell_folder(call, view)


@command(
    about="List the folders that were made; list-items shows those that come with items, too.",
    flags=[Flag("--path", "path", metavar="PATH", about="only what lies below this folder")],
)
def list_folders(call: Invocation, /, path: str | None) -> None:
    with call.engine() as engine:
        rows = [view.facts() for view in engine.folders.list_all(path=path)]
    columns = {"folder_name": "NAME", "items": "ITEMS", "delete_protection": "PROTECTED", "description": "WHAT"}
    call.console.result({"folders": rows}, lambda: table(rows, columns, empty="no folders"))


@command(
    about="Forget that a folder was made. Items in it stay, and keep it in sight; delete-items deletes them.",
    flags=[name_flag("folder")],
)
def delete_folder(call: Invocation, /, name: str | None) -> None:
    path = required("--name", name)
    with call.engine() as engine:
        view = engine.folders.delete(name=path)
    facts: Facts = {"folder_name": view.folder.name, "deleted": True, "items_left": view.items}
    call.console.result(facts, lambda: pairs(facts))


# --- the account


@command(about="Show the account's settings, and the items whose interval is above its maximum.")
def get_account(call: Invocation, /) -> None:
    with call.engine() as engine:
        view = engine.account.get()
    _tell_account(call, view)


@command(
    about="Change defaults and bounds of all items and Targets. What is not given stays; an empty text resets to the "
    "default. Nothing that exists is changed: items above a new maximum are listed.",
    flags=account_flags(),
)
def update_account(call: Invocation, /, **given: object) -> None:
    changes = changes_of("secret", given, None)
    with call.engine() as engine:
        view = engine.account.update(changes)
    _tell_account(call, view)


def _tell_account(call: Invocation, view: AccountView) -> None:
    call.console.result(view.facts(), lambda: pairs(view.facts()))
    if view.above_max:
        days = view.account.max_rotation_interval
        call.console.warn(f"their interval is above the maximum of {days} days: {', '.join(view.above_max)}")


def _tell_folder(call: Invocation, view: FolderView) -> None:
    call.console.result(view.facts(), lambda: pairs(view.facts()))


def _row(view: SecretView) -> Facts:
    facts = view.facts()
    status = view.item.rotator_status.value if view.item.rotator_status else None
    return {
        "name": view.item.name,
        "type": view.item.rotator_type.value,
        "version": view.version or None,
        "status": status if view.item.enabled else "disabled",
        "next": facts["next_rotation_date"],
    }


def _unix(seconds: str | None) -> datetime | None:
    if seconds is None:
        return None
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 11):
        raise Rejected("ParameterInvalid", "--modified-after is no unix time", hint="whole seconds since 1970")
    return datetime.fromtimestamp(int(seconds), UTC)
