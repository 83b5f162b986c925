"""Commands on the store's key. The key itself is never printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from azure_rotator.cli.flags import Flag
from azure_rotator.cli.invocation import Invocation, command, required
from azure_rotator.cli.tables import pairs
from azure_rotator.config import who_am_i

if TYPE_CHECKING:
    from azure_rotator.upkeep import KeyState


@command(
    about="Make a key for a new store, in a file for this user only; never over a file that is there. A SQLite store "
    "gets its key by itself, a PostgreSQL store only so: every process that uses the store needs the same key.",
    flags=[
        Flag("--to", "to", metavar="FILE", about="the file to make; unless given the one of AZURE_ROTATOR_KEY_FILE"),
    ],
)
def create(call: Invocation, /, to: str | None) -> None:
    from azure_rotator.upkeep import create_key
    from azure_rotator.wiring import SystemEntropy

    settings = call.settings()
    file = Path(to) if to else None
    made = create_key(settings, SystemEntropy(), to=file)
    place = file or settings.key_file
    facts = {"key_file": str(place), "key_id": made.key_id, "check_value": made.check_value}
    call.console.result(facts, lambda: pairs(facts))
    call.console.say(f"next: back {place} up, away from the backups of the store: without it nobody opens the store")
    call.console.say("next: give it to every process, with AZURE_ROTATOR_KEY_FILE or AZURE_ROTATOR_KEY")


@command(
    about="Show where the key is, by what its store knows it, and whether it is the key of the store that is there."
)
def show(call: Invocation, /) -> None:
    from azure_rotator.upkeep import show_key

    facts = _facts(show_key(call.settings()))
    call.console.result(facts, lambda: pairs(facts))


@command(
    about="Put the store under a new key, in one transaction: the data keys are wrapped anew, no value is rewritten. "
    "The new key takes the place of the old one, which stays beside it: older backups of the store need it.\n\n"
    "Processes that have the store open are refused (StoreKeyWrong) at their next secret, and begin again with the new "
    "key. Cut off anywhere, the store opens with what is on the disk; the same command goes on.",
    flags=[
        Flag(
            "--to",
            "to",
            metavar="FILE",
            about="where the new key shall be, if not in the place of the old one; a key that is there is taken, so "
            "that all machines can have it before. Needed where the key is in AZURE_ROTATOR_KEY",
        ),
    ],
)
def rotate(call: Invocation, /, to: str | None) -> None:
    from azure_rotator.upkeep import rotate_key
    from azure_rotator.wiring import SystemClock, SystemEntropy

    done = rotate_key(
        call.settings(), SystemEntropy(), SystemClock(), who=who_am_i(os.environ), to=Path(to) if to else None
    )
    facts = {
        "key_file": str(done.key_file),
        "key_id": done.key_id,
        "check_value": done.check_value,
        "old_key_file": str(done.old_file) if done.old_file else None,
        "values": done.values,
    }
    call.console.result(facts, lambda: pairs(facts))
    if done.values is None:
        call.console.say("note: the store was under this key already; an earlier attempt was finished")
    call.console.say(f"next: back {done.key_file} up, and give it to every other machine that uses the store")
    if done.old_file:
        call.console.say(f"next: keep {done.old_file} as long as there are backups of the store from before")
    elif to:
        call.console.say(
            "next: name the new key with AZURE_ROTATOR_KEY_FILE or AZURE_ROTATOR_KEY; the old one opens nothing"
        )


@command(
    about="Copy the key to another file, for this user only; never over a file that is there.",
    flags=[Flag("--to", "to", metavar="FILE", about="the file to make [required]")],
)
def backup(call: Invocation, /, to: str | None) -> None:
    file = Path(required("--to", to))
    from azure_rotator.upkeep import backup_key

    facts = {"key_file": str(file), **_facts(backup_key(call.settings(), to=file))}
    call.console.result(facts, lambda: pairs(facts))
    call.console.say("next: keep it away from the backups of the store: who has both has every secret")


def _facts(state: KeyState) -> dict[str, object]:
    return {
        "key": state.origin,
        "key_id": state.key_id,
        "check_value": state.check_value,
        "store": state.store,
        "store_id": state.store_id,
        "belongs_to_store": state.belongs,
    }
