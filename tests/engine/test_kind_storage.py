"""``azure-storage-account``: access keys and Kerberos keys, one named key or a pair in turn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from azure_rotator.domain.grants import KEY_OPERATOR
from azure_rotator.domain.model import RotatorStatus, Stage
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.context import Limits
from azure_rotator.engine.views import SecretView
from azure_sandbox.testing import AccountInfo
from tests.engine.world import World, refused
from tests.rows import row

STORE = "/prod/blobs"
TARGET = "/azure/storage"
OTHER = {"key1": "key2", "key2": "key1"}


@dataclass
class Storage:
    """A storage account whose keys the world's rotator operates, and the Target that names it."""

    world: World
    info: AccountInfo

    def create(self, **changes: Any) -> SecretView:
        given = {
            "name": STORE,
            "target_name": TARGET,
            "rotator_type": "azure-storage-account",
            "storage_account_key_name": "key1",
        } | changes
        return self.world.engine.secrets.create({name: value for name, value in given.items() if value is not None})

    def rotate(self) -> Any:
        return self.world.rotate(STORE)

    def rotate_now(self) -> Any:
        """Without waiting for anything."""
        return self.world.rotate(STORE, engine=self.world.process(limits=Limits(foreground=timedelta())).engine)

    def keys(self) -> dict[str, str]:
        """The truth."""
        return dict(self.world.control.account(self.info.name).keys)

    def value(self, version: int | None = None) -> str:
        return self.world.value(STORE, version=version)

    def may_be_read(self) -> None:
        """What the role that operates keys does not include."""
        self.world.control.grant(self.world.rotator.app_id, "Reader", self.info.resource_id)

    def regenerations(self) -> int:
        return sum(entry.committed for entry in self.world.requests("arm.regenerateKey"))


@pytest.fixture
def storage(world: World) -> Storage:
    info = world.control.create_account(tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id])
    world.create_target(
        TARGET,
        subscription_id=info.subscription_id,
        resource_group_name=info.resource_group,
        resource_name=info.name,
    )
    world.mark()
    return Storage(world, info)


def details_of(view: SecretView) -> dict[str, Any]:
    return cast(dict[str, Any], view.facts()["rotated_secret_details"])


# --- the beginning


@row("AK-01", "AK-26", "AK-59")
def test_it_begins_with_the_key_as_read(storage: Storage):
    view = storage.create()
    assert (view.version, view.key_id) == (1, "key1")
    assert storage.value() == storage.info.keys["key1"]
    details = details_of(view)
    assert (details["rotator_creds_type"], details["managed_by"]) == ("use-target-creds", "user")
    assert storage.regenerations() == 0


def test_get_value_tells_what_opens_the_account(storage: Storage):
    storage.create()
    value = storage.world.engine.secrets.get_value(name=STORE)
    shown = {name: field.reveal() if isinstance(field, SecretText) else field for name, field in value.fields.items()}
    key = storage.info.keys["key1"]
    assert shown == {
        "account_name": storage.info.name,
        "key_name": "key1",
        "key": key,
        "connection_string": f"DefaultEndpointsProtocol=https;AccountName={storage.info.name};AccountKey={key};"
        "EndpointSuffix=core.windows.net",
    }
    assert key not in repr(value)


def test_without_a_dry_run_there_is_no_value_before_the_first_rotation(storage: Storage):
    storage.create(skip_dry_run=True)
    assert storage.world.requests() == []
    assert refused(storage.value).code == "NoValueYet"
    storage.rotate()
    assert storage.value() == storage.keys()["key1"] != storage.info.keys["key1"]


def test_rotate_on_create(storage: Storage):
    view = storage.create(rotate_on_create=True)
    assert (view.version, storage.regenerations()) == (2, 1)
    assert storage.value() == storage.keys()["key1"] != storage.info.keys["key1"]


@pytest.mark.parametrize(
    ("changes", "code", "exit_code"),
    [
        pytest.param(
            {"storage_account_key_name": "kerb1"}, "StorageKeyMissing", 7, id="no Kerberos keys", marks=row("AK-61")
        ),
        pytest.param(
            {"explicitly_set_sa": True, "resource_group_name": "rg", "resource_name": "nosuchaccount"},
            "ResourceNotFound",
            7,
            id="no such account",
            marks=row("AK-61"),
        ),
        pytest.param(
            {"target_name": "/azure/prod"}, "TargetIncomplete", 2, id="a Target without account", marks=row("AK-55")
        ),
    ],
)
def test_what_cannot_begin_changes_nothing(storage: Storage, changes: dict[str, Any], code: str, exit_code: int):
    # On the subscription: of an account that nothing is granted on, Azure does not tell whether it exists.
    subscription = f"/subscriptions/{storage.info.subscription_id}"
    storage.world.control.grant(storage.world.rotator.app_id, KEY_OPERATOR, subscription)
    before = storage.world.tables(without=["targets"])
    error = refused(storage.create, **changes)
    assert (error.code, error.exit_code) == (code, exit_code)
    assert storage.world.tables(without=["targets"]) == before
    assert storage.regenerations() == 0


@row("AK-55")
def test_what_the_target_lacks_is_listed(storage: Storage):
    error = refused(storage.create, target_name="/azure/prod")
    assert error.details["missing"] == ["subscription_id", "resource_group_name", "resource_name"]


@row("B-02", "AK-55")
def test_an_account_that_the_item_names_itself(storage: Storage):
    other = storage.world.control.create_account(
        tenant=storage.info.tenant_id,
        subscription=storage.info.subscription_id,
        operators=[storage.world.rotator.app_id],
    )
    view = storage.create(
        explicitly_set_sa=True, resource_group_name=other.resource_group, resource_name=other.name.upper().lower()
    )
    assert storage.value() == other.keys["key1"]
    details = details_of(view)
    assert (details["resource_group_name"], details["resource_name"]) == (other.resource_group, other.name)
    storage.rotate()
    assert storage.keys() == dict(storage.info.keys), "the Target's own account is untouched"


@row("AK-62")
def test_without_the_role(storage: Storage):
    storage.create()
    before = storage.value()
    storage.world.control.revoke(storage.world.rotator.app_id, KEY_OPERATOR, storage.info.resource_id)
    error = refused(storage.rotate)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert KEY_OPERATOR in f"{error.message} {error.hint}"
    assert storage.value() == before == storage.keys()["key1"]


@row("F45")
def test_a_read_only_lock_parks_the_rotation_with_its_reason(storage: Storage):
    storage.create()
    storage.world.control.lock(storage.info.resource_id)
    error = refused(storage.rotate)
    assert (error.code, error.exit_code) == ("ResourceLocked", 7)
    view = storage.world.describe(STORE)
    assert view.item.rotator_status is RotatorStatus.FAILED
    assert view.item.error_code == "ResourceLocked"
    assert storage.value() == storage.keys()["key1"]
    storage.world.control.unlock(storage.info.resource_id)
    storage.rotate()
    assert storage.value() == storage.keys()["key1"] != storage.info.keys["key1"]


# --- named


@row("AK-62", "AK-26")
def test_a_named_key_changes_and_no_other(storage: Storage):
    storage.create()
    done = storage.rotate()
    now = storage.keys()
    assert (done.version, done.key_id, done.status) == (2, "key1", "RotationSucceeded")
    assert storage.value() == now["key1"] != storage.info.keys["key1"]
    assert now["key2"] == storage.info.keys["key2"]
    assert storage.world.versions(STORE) == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert storage.regenerations() == 1


def test_a_key_is_one_items(storage: Storage):
    storage.create()
    error = refused(storage.create, name="/prod/again")
    assert (error.code, error.exit_code, error.details["holder"]) == ("CredentialAlreadyManaged", 5, STORE)
    error = refused(storage.create, name="/prod/pair", storage_account_key_name="key2", storage_key_mode="alternate")
    assert error.code == "CredentialAlreadyManaged"
    storage.create(name="/prod/second", storage_account_key_name="key2")


def test_deleting_an_item_leaves_the_keys_and_frees_them(storage: Storage):
    storage.create()
    storage.rotate()
    before = storage.keys()
    done = storage.world.engine.secrets.delete(name=STORE)
    assert (done.revoked, done.left_in_azure, done.orphans) == ((), ("key1",), ())
    assert storage.keys() == before
    storage.create()


# --- in turn


@row("B-12", "F43")
def test_in_turn_what_was_handed_out_stays_valid_until_the_rotation_after_next(storage: Storage):
    storage.create(storage_key_mode="alternate", storage_account_key_name=None)
    handed_out = [("key1", storage.value())]
    for number in range(2, 7):
        before = storage.keys()
        done = storage.rotate()
        assert (done.version, done.key_id) == (number, OTHER[handed_out[-1][0]])
        published, last = (done.key_id, storage.value()), handed_out[-1]
        assert storage.keys()[last[0]] == last[1] == before[last[0]], "the published key is never regenerated"
        assert storage.keys()[published[0]] == published[1]
        stages = storage.world.versions(STORE)
        assert (stages[number], stages[number - 1]) == (Stage.CURRENT, Stage.PREVIOUS)
        assert all(stages[old] is Stage.REVOKED for old in range(1, number - 1))
        handed_out.append(published)
    assert storage.regenerations() == 5


@row("F68")
def test_a_change_of_the_mode_keeps_the_published_key(storage: Storage):
    storage.create()
    storage.rotate()
    published = storage.value()
    storage.world.engine.secrets.update({"storage_key_mode": "alternate"}, name=STORE)
    storage.rotate()
    assert storage.keys()["key1"] == published
    assert storage.value() == storage.keys()["key2"]
    storage.world.engine.secrets.update({"storage_key_mode": "named"}, name=STORE)
    assert storage.value() == storage.keys()["key2"]


# --- replies that are lost


@row("F18", "F48")
@pytest.mark.parametrize("mode", ["named", "alternate"])
@pytest.mark.parametrize(
    ("when", "fault"),
    [
        pytest.param("after", {"drop": True}, id="it happened, the connection was cut"),
        pytest.param("after", {"status": 503}, id="it happened, answered 503"),
        pytest.param("after", {"status": 500}, id="it happened, answered 500"),
        pytest.param("before", {"drop": True}, id="it did not happen, the connection was cut"),
        pytest.param("before", {"status": 503}, id="it did not happen, answered 503"),
        pytest.param("before", {"status": 409, "code": "Conflict"}, id="a conflict"),
    ],
)
def test_a_lost_reply_never_regenerates_twice(storage: Storage, mode: str, when: str, fault: dict[str, Any]):
    storage.create(storage_key_mode=mode)
    storage.world.control.add_fault("arm.regenerateKey", account=storage.info.name, when=when, times=1, **fault)
    done = storage.rotate()
    assert done.status == "RotationSucceeded"
    assert storage.value() == storage.keys()[done.key_id]
    assert storage.regenerations() == 1


@row("F48")
@pytest.mark.parametrize("after", ["begin_minting", "store_pending", "record_proof"])
def test_a_store_that_fails_on_the_way_loses_no_key(storage: Storage, after: str):
    storage.create()

    def fail(*_: object, **__: object) -> Any:
        return storage.world.locked_store()

    storage.world.main.store.before[after] = fail
    refused(storage.rotate)
    del storage.world.main.store.before[after]
    storage.world.expire_leases()
    storage.world.engine.reconcile()
    done = storage.rotate()
    assert storage.value() == storage.keys()[done.key_id]


@row("F46")
@pytest.mark.parametrize("reader", [True, False])
def test_an_account_without_shared_key_access_is_warned_of_where_that_may_be_read(storage: Storage, reader: bool):
    if reader:
        storage.may_be_read()
    storage.world.control.update_account(storage.info.name, allow_shared_key=False)
    storage.create()
    assert storage.rotate().status == "RotationSucceeded"
    told = [line for line in storage.world.notes.warned if "takes no shared keys" in line]
    assert len(told) == (2 if reader else 0)
    assert all("Function App" in line and "--allow-shared-key-access true" in line for line in told)


@row("F44")
def test_who_signs_with_the_key_is_warned_before_it_goes(storage: Storage):
    storage.may_be_read()
    storage.world.control.update_account(storage.info.name, sas_period="7.00:00:00")
    storage.create()
    (told,) = storage.world.notes.warned
    assert "ends every signature made with key1 at once" in told
    assert "up to 7 days" in told
    storage.world.notes.warned.clear()

    def regenerates(*_: object, **__: object) -> None:
        assert len(storage.world.notes.warned) == 1, "told before the key is gone"

    storage.world.main.keys.before["regenerate"] = regenerates
    storage.rotate()
    assert storage.regenerations() == 1


@row("F44")
@pytest.mark.parametrize("fault", [{"preset": "unavailable-503"}, {"preset": "denied"}, {"preset": "dropped"}], ids=str)
def test_settings_that_cannot_be_read_are_in_nobodys_way(storage: Storage, fault: dict[str, Any]):
    storage.world.control.add_fault("arm.getStorageAccount", account=storage.info.name, times=None, **fault)
    storage.create()
    assert storage.rotate().status == "RotationSucceeded"
    assert storage.world.notes.warned == []


# --- Kerberos keys


@pytest.fixture
def shares(storage: Storage) -> Storage:
    """An account that authenticates its file shares by a directory."""
    world = storage.world
    info = world.control.create_account(
        tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id], directory_service="AADDS"
    )
    where = {"resource_group_name": info.resource_group, "resource_name": info.name}
    world.engine.targets.update({"subscription_id": info.subscription_id, **where}, name=TARGET)
    return Storage(world, info)


PAIR = {"storage_key_mode": "alternate", "storage_account_key_name": "kerb1"}


@row("F47")
def test_a_kerberos_key_of_an_account_that_no_directory_knows_is_refused(shares: Storage):
    shares.may_be_read()
    shares.world.control.update_account(shares.info.name, directory_service="None")
    before = shares.world.tables()
    error = refused(shares.create, storage_account_key_name="kerb1")
    assert (error.code, error.exit_code) == ("StorageKeyMissing", 7)
    assert "joined to no directory" in str(error)
    assert shares.world.tables() == before
    shares.world.control.update_account(shares.info.name, directory_service="AD")
    shares.create(storage_account_key_name="kerb1")
    (told,) = shares.world.notes.warned
    assert "computer account's password" in told


@row("F47")
def test_the_second_kerberos_key_waits_until_tickets_of_the_first_are_over(shares: Storage):
    shares.create(**PAIR)
    shares.world.clock.advance(minutes=1)  # the two were born together
    assert shares.rotate().key_id == "kerb2"
    kerb1, value = shares.keys()["kerb1"], shares.value()
    began_at = shares.world.clock.now()
    error = refused(shares.rotate)
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    assert "kerb1" in str(error)
    assert "10 hours" in str(error)
    assert (shares.keys()["kerb1"], shares.value()) == (kerb1, value)
    described = shares.world.describe(STORE)
    assert (described.item.rotator_status, described.item.error_code) == (RotatorStatus.SUCCEEDED, None)
    (waiting,) = shares.world.open_rotations()
    assert abs(waiting.next_attempt_at - began_at - timedelta(hours=10)) < timedelta(minutes=2)
    refused(shares.rotate)  # asked for again, it is as early as before
    assert shares.regenerations() == 1
    shares.world.clock.advance(hours=10, minutes=1)
    shares.world.engine.reconcile()
    assert (shares.world.describe(STORE).key_id, shares.regenerations()) == ("kerb1", 2)
    assert shares.value() == shares.keys()["kerb1"] != kerb1


@row("F47")
def test_a_kerberos_key_that_somebody_else_regenerated_counts_as_well(shares: Storage):
    shares.create(storage_account_key_name="kerb1")
    shares.world.clock.advance(hours=1)
    shares.world.control.regenerate_key(shares.info.name, "kerb2")
    assert refused(shares.rotate).code == "AzureThrottled"
    shares.world.clock.advance(hours=10)
    assert shares.rotate().status == "RotationSucceeded"


@row("F46")
def test_where_shared_key_is_not_permitted_the_list_of_keys_is_proof_enough(storage: Storage):
    storage.world.control.update_account(storage.info.name, allow_shared_key=False)
    storage.create()
    assert storage.rotate().status == "RotationSucceeded"
    assert storage.value() == storage.keys()["key1"]


# --- changed outside


@pytest.mark.parametrize("mode", ["named", "alternate"])
def test_a_key_that_somebody_else_regenerated_is_taken_over_by_reconcile(storage: Storage, mode: str):
    storage.create(storage_key_mode=mode)
    storage.rotate()
    published = storage.world.describe(STORE).key_id
    assert published is not None
    storage.world.control.regenerate_key(storage.info.name, published)
    assert storage.value() != storage.keys()[published], "every reader has a dead value now"
    planned = storage.world.engine.reconcile(dry_run=True)
    assert [(d["path"], d["key_id"], d["version"]) for d in planned.drifted] == [(STORE, published, None)]
    assert storage.world.describe(STORE).version == 2
    done = storage.world.engine.reconcile()
    assert [(d["path"], d["key_id"], d["version"]) for d in done.drifted] == [(STORE, published, 3)]
    assert storage.value() == storage.keys()[published]
    assert storage.world.versions(STORE)[2] is Stage.REVOKED
    assert storage.regenerations() == 1
    assert not storage.world.engine.reconcile().drifted
    storage.rotate()
    assert storage.value() in storage.keys().values()


@row("F18")
def test_a_regeneration_that_arrives_after_another_process_took_over_loses_no_key(storage: Storage):
    storage.create()
    storage.rotate()
    storage.world.control.regenerate_key(storage.info.name, "key1")  # what it would do
    storage.world.engine.reconcile()
    assert storage.value() == storage.keys()["key1"]


def test_an_item_that_is_switched_off_is_repaired_when_it_is_on_again(storage: Storage):
    storage.create()
    engine = storage.world.engine
    engine.secrets.set_state(name=STORE, enabled=False)
    storage.world.control.regenerate_key(storage.info.name, "key1")
    assert not engine.reconcile().drifted
    engine.secrets.set_state(name=STORE, enabled=True)
    assert [d["version"] for d in engine.reconcile().drifted] == [2]
    assert storage.value() == storage.keys()["key1"]


# --- deleting while it is not known which value is the key's


@pytest.mark.parametrize("mode", ["named", "alternate"])
def test_a_delete_waits_for_a_named_key_in_doubt_and_not_for_a_pair(storage: Storage, mode: str):
    """Of a pair the published key stays valid, whatever became of the other."""
    storage.create(storage_key_mode=mode)
    storage.world.control.add_fault("arm.regenerateKey", account=storage.info.name, when="after", times=1, drop=True)
    refused(storage.rotate_now)
    published: list[bool] = []

    def look(*_: object, **__: object) -> None:
        published.append(storage.value() in storage.keys().values())

    storage.world.main.store.before["begin_delete"] = look
    storage.world.control.add_fault("arm.listKeys", account=storage.info.name, preset="unavailable-503", times=1)
    storage.world.engine.secrets.delete(name=STORE)
    assert published[-1]
    assert (sum(storage.world.clock.waits) > 30) == (mode == "named"), "the outage is waited for"
