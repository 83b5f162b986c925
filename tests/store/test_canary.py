"""No credential in clear in any file of the store, nor the key, however the store was used."""

from __future__ import annotations

import os
from dataclasses import replace

from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.crypto.keyring import Key
from azure_rotator.domain.model import Stage
from azure_rotator.domain.secrettext import SealedFor, SecretText
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.inspection import Inspection
from tests.store.samples import FAILURE, LATER, NOW

CANARIES = [f"canary~{number}~8Q~made.up.for.this.test" for number in range(4)]


def test_no_credential_is_in_the_files_of_a_store(store: SqlUnitOfWork, outside: Inspection):
    material = os.urandom(32)
    sealer = EnvelopeSealer(Key(material, "a test"))
    target_id, item_id, version_id, next_id = (samples.new_id() for _ in range(4))
    places = [
        SealedFor(table="targets", row=target_id, version=1),
        SealedFor(table="items", row=item_id),
        SealedFor(table="versions", row=version_id, version=1),
        SealedFor(table="versions", row=next_id, version=2),
    ]
    sealed = [sealer.seal(SecretText(text), place) for text, place in zip(CANARIES, places, strict=True)]

    target = samples.add_target(store, target_id=target_id, sealed_secret=sealed[0])
    item = samples.item(target_id, item_id=item_id, sealed_login=sealed[1])
    create = samples.rotation(item_id)
    current = samples.version(item_id, create.rotation_id, version_id=version_id, sealed_value=sealed[2])
    store.insert_item(item, current, create, samples.line())
    claim = samples.claimed(store, create)
    pending = samples.version(
        item_id, create.rotation_id, version_id=next_id, number=2, stage=Stage.PENDING, sealed_value=sealed[3]
    )
    store.store_pending(claim, pending, LATER, NOW)
    store.defer(claim, FAILURE, attempts=1, next_attempt_at=NOW, status=None, at=NOW)
    in_the_wal = outside.content()
    store.publish(claim, samples.publication(item, pending, current))
    store.drop_item(claim, samples.line(), LATER)
    store.update_target(replace(target, sealed_secret=None, deleted=True, revision=2), samples.line())
    with_what_was_deleted = outside.content()
    store.close()
    folded_into_one = outside.content()

    for content in (in_the_wal, with_what_was_deleted, folded_into_one):
        assert not [canary for canary in CANARIES if canary.encode() in content]
        assert material not in content
    assert all(value.data in in_the_wal for value in sealed), "the sealed ones are there: this looks at the right files"
