"""A store as a release writes it, with something of everything: ``python -m tests.store.release FILE.sql``.

Run once at each release that has a new schema. The file is then never written again: it is what people have.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.crypto.keyring import Key
from azure_rotator.domain.model import ConnectionType, ItemState, RotationState, Stage, Trigger
from azure_rotator.domain.secrettext import SealedFor, SecretText
from azure_rotator.store.opening import create, open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import StoreFile
from tests.store.samples import DAY, FAILURE, LATER, NOW

KEY = Key(bytes(range(32)), "the fixture")
STORE_ID = "fixturefixturefi"
VALUE = "made-up~client~secret"


def fill(store: SqlUnitOfWork) -> None:
    sealer = EnvelopeSealer(KEY)
    forwarder_id = samples.new_id()
    sealed = {
        f"sealed_{part}": sealer.seal(SecretText(VALUE), SealedFor(table=f"forwarders.{part}", row=forwarder_id))
        for part in ("url", "credential", "signing_key")
    }
    store.insert_forwarder(samples.forwarder(forwarder_id=forwarder_id, **sealed), samples.line())
    target_id = samples.new_id()
    secret = sealer.seal(SecretText(VALUE), SealedFor(table="targets", row=target_id, version=1))
    store.insert_target(samples.target(target_id=target_id, sealed_secret=secret), samples.line("create_target"))
    identity = {"connection_type": ConnectionType.CLOUD_IDENTITY, "client_id": None, "sealed_secret": None}
    samples.add_target(store, name="/azure/identity", version=0, **identity)
    gone = samples.add_target(store, name="/azure/gone")
    store.update_target(replace(gone, deleted=True, sealed_secret=None, revision=2), samples.line("delete_target"))

    rotated, first = samples.add_item(store, target_id=target_id, name="/prod/rotated", description="ünïcode ☃")
    retired, second = samples.published(store, rotated, first)
    claim = samples.claimed(store, retired, now=LATER + DAY)
    store.begin_retiring(claim, LATER + DAY)
    store.finish_retiring(claim, [first.version_id], LATER + DAY, done=True)
    store.release(claim)
    _, claim = samples.started(store, rotated.item_id)
    version_id = samples.new_id()
    value = sealer.seal(SecretText(VALUE), SealedFor(table="versions", row=version_id, version=3))
    third = samples.version(
        rotated.item_id, claim.rotation_id, version_id=version_id, number=3, stage=Stage.PENDING, sealed_value=value
    )
    store.store_pending(claim, third, LATER, NOW)
    store.publish(claim, samples.publication(rotated, third, second))
    store.release(claim)
    store.record_read(rotated.item_id, samples.line("get_rotated_secret_value", rotated.name, at=LATER))

    failed, _ = samples.add_item(store, target_id=target_id, name="/prod/failed", revoke_after=None, tags=())
    _, claim, _ = samples.with_pending(store, failed.item_id)
    store.fail(claim, FAILURE, events=[samples.event(failed)], audit=samples.line(), undo_item=False, at=NOW)
    store.release(claim)

    item_id = samples.new_id()
    login = sealer.seal(SecretText(VALUE), SealedFor(table="items", row=item_id))
    creating = samples.item(
        target_id, item_id=item_id, name="/prod/creating", state=ItemState.CREATING, sealed_login=login
    )
    operation = samples.rotation(item_id, trigger=Trigger.CREATE)
    store.insert_item(creating, None, operation, samples.line())
    claim = samples.claimed(store, operation)
    store.begin_minting(claim, NOW, samples.mint(claim))

    deleting, _ = samples.add_item(store, target_id=target_id, name="/prod/deleting")
    store.begin_delete(samples.rotation(deleting.item_id, trigger=Trigger.DELETE), revision=deleting.revision)
    store.hold_lane("application:tenant-1:throttled", LATER)
    novalue = samples.item(target_id, name="/prod/no-value")
    adopted = samples.rotation(novalue.item_id, state=RotationState.DONE)
    store.insert_item(
        novalue,
        samples.version(novalue.item_id, adopted.rotation_id, number=0, sealed_value=None),
        adopted,
        samples.line(),
    )


def main(script: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        create(f"sqlite:///{path}", store_id=STORE_ID, key_check=KEY.check_value)
        with open_store(f"sqlite:///{path}") as store:
            fill(store)
        script.write_text(StoreFile(path).as_sql(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
