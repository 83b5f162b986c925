"""Commands on the store as a whole."""

from __future__ import annotations

from pathlib import Path

from azure_rotator.cli.flags import Flag
from azure_rotator.cli.invocation import Invocation, command, required
from azure_rotator.cli.tables import pairs
from azure_rotator.domain.errors import Corrupt


@command(
    about="Bring the store to this release's schema, in one transaction; several at once do not harm.\n\n"
    "A SQLite store is upgraded by the first command that opens it, too; a PostgreSQL store, which others use, only "
    "here. An empty PostgreSQL database becomes a store, if there is a key for it.",
)
def upgrade(call: Invocation, /) -> None:
    from azure_rotator.upkeep import upgrade_store
    from azure_rotator.wiring import SystemEntropy

    before, after = upgrade_store(call.settings(), SystemEntropy())
    facts = {
        "store_id": after.store_id,
        "schema_before": before.revision if before else None,
        "schema": after.revision,
        "made": before is None,
    }
    call.console.result(facts, lambda: pairs(facts))


@command(
    about="Look through the whole store in one snapshot: its schema, references between its rows, and every sealed "
    "value, which must open with the key. Nothing is changed, no value is shown.",
)
def check(call: Invocation, /) -> None:
    from azure_rotator.upkeep import check_store

    done = check_store(call.settings())
    facts: dict[str, object] = {
        "store": done.store,
        "store_id": done.meta.store_id,
        "schema": done.meta.revision,
        "key": done.key_origin,
        "sealed_values": done.findings.sealed,
        "rows": dict(done.findings.rows),
        "problems": list(done.findings.problems),
    }
    call.console.result(facts, lambda: pairs(facts))
    if done.findings.problems:
        raise Corrupt(
            "StoreCorrupt",
            f"the store {done.store} has {len(done.findings.problems)} problems",
            hint="stop using it, and restore a backup of this store together with its key",
            details={"problems_found": len(done.findings.problems)},
        )


@command(
    about="Copy a SQLite store to another file while processes use it: one snapshot, for this user only, never over a "
    "file that is there. The key is not in it: see `key backup`.\n\n"
    "For a PostgreSQL store nothing is written; the error names the pg_dump command that makes a backup.",
    flags=[Flag("--to", "to", metavar="FILE", about="the file to make [required]")],
)
def backup(call: Invocation, /, to: str | None) -> None:
    file = Path(required("--to", to))
    from azure_rotator.upkeep import backup_store

    meta, size = backup_store(call.settings(), to=file)
    facts = {"backup": str(file), "bytes": size, "store_id": meta.store_id, "key_check": meta.key_check}
    call.console.result(facts, lambda: pairs(facts))
    call.console.say("note: the key is not in it; keep a copy of the key elsewhere: azure-rotator key backup")
