"""The tree of commands: a table, so that showing it imports no command.

A command's module is imported when the command is called (or documented); its engine, store and SDKs when it works.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import click

from azure_rotator._version import __version__
from azure_rotator.domain.errors import Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A word that commands stand under."""

    summary: str
    inner: Mapping[str, Branch | Leaf]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A command.

    Args:
        place: ``module:attribute``.
    """

    summary: str
    place: str


def _leaf(summary: str, place: str) -> Leaf:
    return Leaf(summary=summary, place=f"azure_rotator.cli.{place}")


_TARGET = Branch(
    summary="Where and as whom to rotate.",
    inner={
        "create": Branch(
            summary="Store a Target.", inner={"azure": _leaf("Store an Azure Target.", "targets:create_azure")}
        ),
        "list": _leaf("List Targets.", "targets:list_all"),
        "get": _leaf("Show a Target without its credential.", "targets:get"),
        "get-details": _leaf("Show a Target with its credential.", "targets:get_details"),
        "test": _leaf("Log in as a Target and say what it may do.", "targets:test"),
        "update": Branch(
            summary="Change a Target.", inner={"azure": _leaf("Change an Azure Target.", "targets:update_azure")}
        ),
        "delete": _leaf("Forget a Target that no item uses.", "targets:delete"),
    },
)
_SECRET = Branch(
    summary="What to rotate, and how often.",
    inner={
        "create": Branch(
            summary="Put a credential under rotation.",
            inner={"azure": _leaf("Put an Azure credential under rotation.", "secrets:create_azure")},
        ),
        "list": _leaf("List Rotated Secrets.", "items:list_all"),
        "describe": _leaf("Show everything but the value.", "secrets:describe"),
        "get-value": _leaf("Print the value.", "secrets:get_value"),
        "update": Branch(
            summary="Change a Rotated Secret.",
            inner={"azure": _leaf("Change an Azure Rotated Secret.", "secrets:update_azure")},
        ),
        "delete": _leaf("Delete an item and the secrets minted for it.", "secrets:delete"),
    },
)
TREE = Branch(
    summary="Azure credentials that rotate.",
    inner={
        "target": _TARGET,
        "rotated-secret": _SECRET,
        "rotate-secret": _leaf("Rotate a Rotated Secret now.", "secrets:rotate"),
        "update-item": _leaf("Rename an item, change its tags and description.", "items:update"),
        "set-item-state": _leaf("Switch an item off, or on again.", "items:set_state"),
        "move-objects": _leaf("Rename an item, move a folder.", "items:move"),
        "delete-items": _leaf("Delete several items, or all in a folder.", "items:delete_many"),
        "delete-targets": _leaf("Forget several Targets.", "targets:delete_many"),
        "folder": Branch(
            summary="Folders with settings of their own.",
            inner={
                "create": _leaf("Make a folder.", "items:create_folder"),
                "list": _leaf("List the folders that were made.", "items:list_folders"),
                "update": _leaf("Change a folder.", "items:update_folder"),
                "delete": _leaf("Forget that a folder was made.", "items:delete_folder"),
            },
        ),
        "get-account-settings": _leaf("Show defaults and bounds of all items.", "items:get_account"),
        "update-account-settings": _leaf("Change defaults and bounds of all items.", "items:update_account"),
        "status": _leaf("Show how fresh every item is, the worst first.", "watch:status"),
        "schedule": _leaf("Show when rotations are due, and why.", "watch:schedule"),
        "report": Branch(
            summary="What is neglected.",
            inner={
                "overdue": _leaf("List what was not rotated.", "reports:overdue"),
                "unused": _leaf("List what was not read.", "reports:unused"),
                "rules": _leaf("List every item that breaks a rule.", "reports:rules"),
            },
        ),
        "doctor": _leaf("Look for what keeps rotations from working.", "doctor:doctor"),
        "inventory": _leaf("List every secret and key, and who manages it.", "inventory:inventory"),
        "scheduler": Branch(
            summary="Rotation between deploys.",
            inner={"run": _leaf("Rotate what is due, again and again or once.", "scheduler:run")},
        ),
        "event-forwarder": Branch(
            summary="Who is told of events, and how.",
            inner={
                "create": Branch(
                    summary="Send events from now on.",
                    inner={
                        "webhook": _leaf("Send events to an address, signed.", "forwarders:create_webhook"),
                        "email": _leaf("Send events by mail.", "forwarders:create_email"),
                    },
                ),
                "list": _leaf("List event forwarders, and what they could not send.", "forwarders:list_all"),
                "update": _leaf("Change an event forwarder.", "forwarders:update"),
                "delete": _leaf("Send nothing more to one.", "forwarders:delete"),
                "deliver": _leaf("Send what is due, as the scheduler does.", "forwarders:deliver"),
            },
        ),
        "reconcile": _leaf("Finish what was left unfinished; remove orphans.", "operations:reconcile"),
        "db": Branch(
            summary="The store as a whole.",
            inner={
                "upgrade": _leaf("Bring the store to this release's schema, or make it.", "db:upgrade"),
                "check": _leaf("Look through the whole store, and open every value.", "db:check"),
                "backup": _leaf("Copy a SQLite store while it is used.", "db:backup"),
            },
        ),
        "key": Branch(
            summary="The key of the store.",
            inner={
                "create": _leaf("Make a key for a new store.", "key:create"),
                "show": _leaf("Show where the key is and by what its store knows it.", "key:show"),
                "rotate": _leaf("Put the store under another key.", "key:rotate"),
                "backup": _leaf("Copy the key to another file.", "key:backup"),
            },
        ),
        "audit": Branch(
            summary="Who did what to what.",
            inner={"list": _leaf("List the lines of the audit log.", "operations:audit_list")},
        ),
    },
)

# Names of the source document, and what they lead to.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "create-azure-target": ("target", "create", "azure"),
    "update-azure-target": ("target", "update", "azure"),
    "create-rotated-secret": ("rotated-secret", "create", "azure"),
    "update-rotated-secret": ("rotated-secret", "update", "azure"),
    "get-rotated-secret-value": ("rotated-secret", "get-value"),
    "describe-item": ("rotated-secret", "describe"),
    "list-items": ("rotated-secret", "list"),
    "delete-item": ("rotated-secret", "delete"),
    "gateway-rotate-secret": ("rotate-secret",),
}


class Words(click.Group):
    """A branch of the tree as click sees it."""

    def __init__(self, branch: Branch, *, aliases: Mapping[str, tuple[str, ...]] | None = None, **given: Any) -> None:
        super().__init__(short_help=branch.summary, **{"help": branch.summary, **given})
        self.branch = branch
        self.aliases = dict(aliases or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.branch.inner)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = find(self.branch, self.aliases.get(cmd_name, (cmd_name,)))
        if found is None:
            return None
        return load(found) if isinstance(found, Leaf) else Words(found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = [*self.branch.inner, *self.aliases]
        if name.startswith("-") or name.replace("_", "-") in known:
            return super().resolve_command(ctx, args)
        from difflib import get_close_matches

        likely = get_close_matches(name.replace("_", "-"), known, n=3)
        raise Rejected(
            "ParameterInvalid",
            f'there is no command "{ctx.command_path} {name}"',
            hint=f"did you mean {' or '.join(likely)}?" if likely else f"{ctx.command_path} --help lists them",
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, inner.summary) for name, inner in self.branch.inner.items()])
        if self.aliases:
            with formatter.section("Aliases"):
                formatter.write_dl([(name, " ".join(path)) for name, path in self.aliases.items()])


def find(branch: Branch, path: tuple[str, ...]) -> Branch | Leaf | None:
    """What stands at the end of a path of words."""
    found: Branch | Leaf | None = branch
    for word in path:
        found = found.inner.get(word) if isinstance(found, Branch) else None
    return found


def load(leaf: Leaf) -> click.Command:
    """Import a command."""
    module, _, attribute = leaf.place.partition(":")
    return cast("click.Command", getattr(importlib.import_module(module), attribute))


def leaves(branch: Branch = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Every command with its path, in the order in which help shows them."""
    for word, inner in branch.inner.items():
        if isinstance(inner, Leaf):
            yield (*path, word), inner
        else:
            yield from leaves(inner, (*path, word))


root = Words(
    TREE,
    aliases=ALIASES,
    help="Azure credentials that rotate.\n\n"
    "A Target says where and as whom to rotate, a Rotated Secret what and how often. Options stand after the command; "
    "in their names - and _ are the same. Results go to stdout, everything else to stderr.",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "token_normalize_func": lambda token: token.replace("_", "-"),
    },
    no_args_is_help=True,
)
click.version_option(__version__, prog_name="azure-rotator", message="%(prog)s %(version)s")(root)
