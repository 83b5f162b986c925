"""The providers in the true dynamic server, on the sandbox: what each call of Pulumi's engine gets (features 4)."""

from __future__ import annotations

import concurrent.futures
import re
from datetime import UTC, date, datetime, timedelta

import pytest

from azure_rotator.resources.inputs import FINGERPRINT
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from tests.pulumi.dynamic_server import UNKNOWN, DynamicServer, Refused
from tests.rows import row

DAY = timedelta(days=1)
ROTATED = {"version", "key_id", "last_rotation_date", "next_rotation_date", "expires_at", "status"}


# --- check and diff -------------------------------------------------------------------------------------------------


def test_check_and_diff_open_no_store(own_environment, target_inputs, secret_inputs, tmp_path):
    with DynamicServer(own_environment) as running:
        secrets = running.of(RotatedSecretProvider())
        checked = secrets.check(secret_inputs)
        secrets.diff({**checked.bag, "version": 1}, checked.bag)
        running.of(AzureTargetProvider()).check(target_inputs)
    assert not any((tmp_path / "store").iterdir())
    assert not any((tmp_path / "key").iterdir())


@row("AK-32")
def test_check_reports_all_failures_at_once_each_on_its_property(secrets):
    answer = secrets.check(
        {"name": "/a//b", "rotator_type": "api-key", "app_id": "not-a-guid", "rotation_interval": 1.5, "tags": ["a"]}
    )
    assert [(name, reason.partition(":")[0]) for name, reason in answer.failures] == [
        ("name", "NameInvalid"),
        ("target_name", "ParameterMissing"),
        ("", "IdentifierMixedUp"),
        ("api_key", "ParameterMissing"),
        ("rotation_interval", "IntervalOutOfRange"),
    ]
    assert dict(answer.failures)["rotation_interval"] == (
        "IntervalOutOfRange: rotation_interval 1.5 is not a whole number of days in 1-365; "
        "hint: set rotation_interval to 1-365"
    )


@row("AK-34", "AK-50")
@pytest.mark.parametrize(
    ("given", "code"),
    [
        *(({"rotation_hour": wrong}, "HourOutOfRange") for wrong in (24, -1, 9.5)),
        ({"rotation_hour": 9, "time_zone": "Europe/Nowhere"}, "TimeZoneInvalid"),
    ],
)
def test_check_refuses_what_is_no_hour_or_zone(secrets, secret_inputs, given, code):
    ((name, reason),) = secrets.check({**secret_inputs, **given}).failures
    assert (name, reason.partition(":")[0]) == (list(given)[-1], code)


def test_check_makes_inputs_canonical_and_fills_defaults(secrets, secret_inputs):
    given = {**secret_inputs, "name": secret_inputs["name"][1:], "app_id": secret_inputs["app_id"].upper()}
    given |= {"authentication_credentials": "target-rotator-creds", "auto_rotate": "TRUE"}
    assert secrets.check(given).bag == {
        **secret_inputs,
        "description": "",
        "tags": [],
        "skip_dry_run": False,
        "rotate_on_create": False,
        "rotate_on_read": False,
        "time_zone": "UTC",
        "rotation_event_in": [],
    }


def test_check_lets_unknown_values_pass(secrets, secret_inputs):
    given = {**secret_inputs, "target_name": UNKNOWN, "target_id": UNKNOWN, "rotation_interval": UNKNOWN}
    answer = secrets.check({**given, "tags": ["a", UNKNOWN]})
    assert not answer.failures
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    assert answer.bag["target_name"] == answer.bag["target_id"] == answer.bag["rotation_interval"] == unknown
    assert answer.bag["tags"] == ["a", unknown]


def test_check_never_shows_a_credential_that_it_refuses(targets, target_inputs):
    """Nor names the property to Pulumi, which would print its value."""
    pasted = "0c2c6a0e-9c5f-4c8e-8f52-3a4fbb8d3b11"
    answer = targets.check({**target_inputs, "client_secret": pasted, "client_id": "canary8Q~value-as-id"})
    assert [(name, reason.partition(" is ")[0]) for name, reason in answer.failures] == [
        ("", "IdentifierMixedUp: client_id"),
        ("", "IdentifierMixedUp: client_secret"),
    ]
    assert pasted not in str(answer.failures)
    assert "canary8Q" not in str(answer.failures)


def test_an_existing_item_may_drop_its_credential_and_a_new_one_may_not(secrets, secret_inputs):
    given = {**secret_inputs, "authentication_credentials": "use-user-creds"}
    assert [name for name, _ in secrets.check(given).failures] == ["api_key"]
    assert not secrets.check(given, {**given, "api_key": "x"}).failures


# --- create ---------------------------------------------------------------------------------------------------------


def test_create_of_a_target_gives_its_wire_format(target, target_inputs, targets):
    computed = {name: target.bag[name] for name in ("target_id", "store_id", FINGERPRINT)}
    mirrored = {name: value for name, value in target_inputs.items() if name != "client_secret"}
    defaults = {
        "connection_type": "credentials",
        "azure_cloud": "AzureCloud",
        "description": "",
    }
    assert target.bag == {**mirrored, **defaults, **computed}
    assert target.id == target.bag["target_id"]
    assert target.secrets == {FINGERPRINT}


def test_create_of_an_item_mints_one_secret_and_gives_its_wire_format(item, secrets, secret_inputs, target, workload):
    flags = dict.fromkeys(("skip_dry_run", "rotate_on_create", "rotate_on_read"), False)
    mirrored = {"description": "", "tags": [], "time_zone": "UTC", "rotation_event_in": [], **flags, **secret_inputs}
    assert item.bag.keys() == mirrored.keys() | ROTATED | {"item_id", "store_id", FINGERPRINT}
    assert {name: item.bag[name] for name in mirrored} == mirrored
    assert item.id == item.bag["item_id"]
    assert item.bag["store_id"] == target.bag["store_id"]
    assert item.secrets == {FINGERPRINT}
    assert (item.bag["version"], item.bag["status"]) == (1, "RotationSucceeded")
    (minted,) = [s for s in workload.control.secrets(workload.app_id) if s.origin == "minted"]
    assert item.bag["key_id"] == minted.key_id
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", item.bag[n]) for n in ROTATED if n.endswith("_date"))


@row("AK-34", "AK-50")
@pytest.mark.parametrize(("month", "instant"), [(1, "14:00:00Z"), (7, "13:00:00Z")], ids=["January", "July"])
def test_an_hour_of_a_zone_is_an_output_as_it_was_given(secrets, secret_inputs, target, month, instant):
    today = datetime.now(UTC).date()
    due_on = next(day for year in (0, 1) if (day := date(today.year + year, month, 15)) > today + DAY)
    schedule = {"rotation_interval": (due_on - today).days, "rotation_hour": 9, "time_zone": "America/New_York"}
    given = {**secret_inputs, **schedule}
    made = secrets.made(given)
    # Created after 9 in New York, it is the day after.
    assert made.bag["next_rotation_date"] in {f"{day}T{instant}" for day in (due_on, due_on + DAY)}
    read = secrets.read(made.id, made.bag)
    for bag in (made.bag, read.bag):
        assert {name: bag[name] for name in schedule} == schedule
    assert (read.bag["next_rotation_date"], read.inputs) == (made.bag["next_rotation_date"], None)
    midnight = {**given, "rotation_hour": 0}
    after = secrets.updated(made.id, made.bag, given, midnight)
    assert (after.bag["rotation_hour"], after.bag["time_zone"]) == (0, "America/New_York")
    assert not secrets.diff(after.bag, secrets.check(midnight, midnight).bag).changes
    assert secrets.read(made.id, after.bag).bag["rotation_hour"] == 0
    without = {name: value for name, value in midnight.items() if name != "rotation_hour"}
    none = secrets.updated(made.id, after.bag, midnight, without)
    assert none.bag.get("rotation_hour") is None


def test_a_create_called_again_by_the_same_owner_gives_the_same_item(secrets, secret_inputs, item, workload):
    """As after a killed `up`, which makes Pulumi call create again."""
    again = secrets.made(secret_inputs)
    assert (again.id, again.bag["key_id"], again.bag["version"]) == (item.id, item.bag["key_id"], 1)
    assert len(workload.live_key_ids()) == 2  # the one made by somebody else, and ours


def test_a_create_of_a_taken_name_by_somebody_else_is_refused(secrets, secret_inputs, item, workload):
    with pytest.raises(Refused, match="NameConflict") as refused:
        secrets.made({**secret_inputs, "owner": "shop/test/other"})
    assert "hint: " in str(refused.value)
    assert len(workload.live_key_ids()) == 2


@row("AK-02", "AK-30")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"target_name": "/no/such"}, "TargetNotFound"),
        ({"app_id": "99999999-9999-4999-8999-999999999999"}, "ApplicationNotFound"),
        ({"api_id": "99999999-9999-4999-8999-999999999999", "api_key": "a-b-c"}, "CredentialNotFound"),
        ({"api_id": "99999999-9999-4999-8999-999999999999", "api_key": "file:no/such"}, "ReferenceUnresolved"),
    ],
    ids=["an unknown target", "an unknown application", "an unknown keyId", "a reference that leads nowhere"],
)
def test_a_failed_create_leaves_nothing(change, code, secrets, secret_inputs, target, outside, workload, folder):
    with pytest.raises(Refused, match=f"azure_rotator.Failed: {code}: "):
        secrets.made({**secret_inputs, **change})
    assert outside.secrets.list_all(path=folder) == []
    assert len(workload.live_key_ids()) == 1


# --- read -----------------------------------------------------------------------------------------------------------


@row("AK-63")
def test_a_rotation_from_outside_moves_outputs_only(secrets, item, outside, secret_inputs):
    before = outside.secrets.describe(item_id=item.id).item.accessed_at
    outside.secrets.rotate(item_id=item.id)
    assert not secrets.diff(item.bag, secrets.check(secret_inputs, secret_inputs).bag).changes
    read = secrets.read(item.id, item.bag)
    moved = {name for name in read.bag if read.bag[name] != item.bag.get(name)}
    assert moved <= ROTATED
    assert (read.bag["version"], read.inputs, read.secrets) == (2, None, {FINGERPRINT})
    assert not secrets.diff(read.bag, secrets.check(secret_inputs, secret_inputs).bag).changes
    assert outside.secrets.describe(item_id=item.id).item.accessed_at == before


def test_read_asks_nobody_but_the_store(secrets, item, control):
    asked = control.counts()["requests"]
    secrets.read(item.id, item.bag)
    assert control.counts()["requests"] == asked


def test_a_change_from_outside_is_a_difference_after_a_refresh(secrets, item, outside, secret_inputs):
    outside.secrets.update({"rotation_interval": 60, "tags": ["by hand"], "revoke_after": "1h"}, item_id=item.id)
    read = secrets.read(item.id, item.bag)
    assert (read.inputs["rotation_interval"], read.inputs["tags"]) == (60, ["by hand"])
    assert "revoke_after" not in read.inputs  # the program does not set it
    assert FINGERPRINT not in read.inputs
    checked = secrets.check(secret_inputs, read.inputs).bag
    assert secrets.diff(read.bag, checked).changes
    secrets.update(item.id, read.bag, checked)
    assert outside.secrets.describe(item_id=item.id).item.rotation_interval == 30


@row("AK-66")
def test_what_was_deleted_outside_is_gone(targets, secrets, target, item, outside):
    outside.secrets.delete(item_id=item.id)
    outside.targets.delete(target_id=target.id)
    assert secrets.read(item.id, item.bag).id == ""
    assert targets.read(target.id, target.bag).id == ""


# --- another store --------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(own_environment, tmp_path):
    """A provider process on an empty store; the settings come from the stack's configuration."""
    other = f"sqlite:///{tmp_path / 'store' / 'other.db'}"
    config = {"azure-rotator:store": other, "azure-rotator:keyFile": str(tmp_path / "key" / "other.key")}
    with DynamicServer(own_environment, config) as running:
        yield running


def test_another_store_makes_nothing_gone_and_deletes_nothing(elsewhere, item, target, workload, secret_inputs):
    secrets, targets = elsewhere.of(RotatedSecretProvider()), elsewhere.of(AzureTargetProvider())
    for call in (
        lambda: secrets.read(item.id, item.bag),
        lambda: secrets.update(item.id, item.bag, {**secret_inputs, "description": "new"}),
        lambda: secrets.delete(item.id, item.bag),
        lambda: targets.read(target.id, target.bag),
        lambda: targets.delete(target.id, target.bag),
    ):
        with pytest.raises(Refused, match="StoreMismatch") as refused:
            call()
        assert str(item.bag["store_id"]) in str(refused.value)
        assert "azure-rotator:store" in str(refused.value)
    # An emptied or restored store with the same id: the journal does not know the item.
    with pytest.raises(Refused, match=r"StoreMismatch(.|\n)*restored from a backup"):
        secrets.read(item.id, {**item.bag, "store_id": None})
    assert item.bag["key_id"] in workload.live_key_ids()


# --- update ---------------------------------------------------------------------------------------------------------


@row("AK-64")
def test_an_update_tells_the_engine_what_changed_and_gives_all_outputs(secrets, item, outside, secret_inputs):
    renamed = secret_inputs["name"] + "-2"
    given = {**secret_inputs, "name": renamed, "tags": ["a", "b"], "description": "bills", "revoke_after": "2h"}
    given |= {"delete_protection": True, "rotation_interval": 10}
    updated = secrets.updated(item.id, item.bag, secret_inputs, given)
    live = outside.secrets.describe(item_id=item.id).item
    assert (live.name, live.tags, live.description, live.revoke_after) == (renamed, ("a", "b"), "bills", "2h")
    assert (live.delete_protection, live.rotation_interval) == (True, 10)
    assert updated.bag.keys() == item.bag.keys() | {"revoke_after", "delete_protection"}
    assert (updated.bag["key_id"], updated.bag["version"]) == (item.bag["key_id"], 1)
    assert updated.secrets == {FINGERPRINT}

    dropped = secrets.updated(item.id, updated.bag, given, secret_inputs)  # back to the defaults
    live = outside.secrets.describe(item_id=item.id).item
    assert (live.tags, live.description, live.revoke_after, live.delete_protection) == ((), "", None, False)
    assert "revoke_after" not in dropped.bag


def test_a_trigger_rotates_once_however_often_the_update_is_called(secrets, item, secret_inputs, workload):
    given = {**secret_inputs, "rotation_trigger": "after the incident"}
    updated = secrets.updated(item.id, item.bag, secret_inputs, given)
    assert (updated.bag["version"], updated.bag["rotation_trigger"]) == (2, "after the incident")
    assert updated.bag["key_id"] != item.bag["key_id"]
    again = secrets.update(item.id, item.bag, given)  # a killed `up` is repeated with the state it had
    assert again.bag["version"] == 2
    dropped = secrets.updated(item.id, updated.bag, given, secret_inputs)
    assert dropped.bag["version"] == 2
    assert secrets.updated(item.id, dropped.bag, secret_inputs, given).bag["version"] == 3


def test_a_credential_is_sent_when_it_or_its_version_changes_and_never_else(
    targets, target, target_inputs, outside, tmp_path
):
    def version():
        return outside.targets.get(target_id=target.id).target.version

    described = {**target_inputs, "description": "new"}
    bag = targets.updated(target.id, target.bag, target_inputs, described).bag
    assert version() == 1
    without = {name: value for name, value in described.items() if name != "client_secret"}
    assert not targets.diff(bag, targets.check(without, described).bag).changes
    again = {**described, "client_secret_version": 1}
    bag = targets.updated(target.id, bag, described, again).bag
    assert version() == 2
    file = tmp_path / "secret.txt"
    file.write_text("another8Q~secret")
    reference = {**again, "client_secret": f"file:{file}"}
    bag = targets.updated(target.id, bag, again, reference).bag
    assert version() == 3
    assert not targets.diff(bag, targets.check(reference, reference).bag).changes


def test_another_secret_of_the_application_is_adopted(secrets, item, secret_inputs, workload):
    other = workload.control.add_secret(workload.app_id)
    given = {**secret_inputs, "api_id": other.key_id, "api_key": other.value}
    updated = secrets.updated(item.id, item.bag, secret_inputs, given)
    assert (updated.bag["key_id"], updated.bag["version"]) == (other.key_id, 2)
    assert "api_key" not in updated.bag
    assert not secrets.diff(updated.bag, secrets.check(given, given).bag).changes
    assert not secrets.diff(updated.bag, secrets.check(secret_inputs, given).bag).changes  # both left out again


def test_another_secret_is_not_adopted_without_its_value(secrets, item, secret_inputs, workload):
    other = workload.control.add_secret(workload.app_id)
    with pytest.raises(Refused, match=f"ParameterMissing: api_key is missing: secret {other.key_id} is adopted only"):
        secrets.updated(item.id, item.bag, secret_inputs, {**secret_inputs, "api_id": other.key_id})
    assert secrets.read(item.id, item.bag).bag["key_id"] == item.bag["key_id"]


# --- delete ---------------------------------------------------------------------------------------------------------


@row("B-01", "AK-28")
def test_delete_removes_what_was_minted_and_nothing_else(target, item, later, workload):
    foreign = workload.live_key_ids() - {item.bag["key_id"]}
    later.of(RotatedSecretProvider()).delete(item.id, item.bag)
    assert workload.live_key_ids() == foreign
    later.of(RotatedSecretProvider()).delete(item.id, item.bag)  # gone is success
    later.of(AzureTargetProvider()).delete(target.id, target.bag)
    later.of(AzureTargetProvider()).delete(target.id, target.bag)


@row("AK-66")
def test_adopt_takes_over_what_the_command_line_made(secrets, target, secret_inputs, outside, workload):
    given = {name: value for name, value in secret_inputs.items() if name not in {"owner", "target_id"}}
    made = outside.secrets.create(given)
    before = workload.live_key_ids()
    taken = secrets.made({**secret_inputs, "adopt": True, "description": "from now on in the program"})
    assert (taken.id, taken.bag["key_id"]) == (made.item.item_id, made.key_id)
    assert outside.secrets.describe(item_id=taken.id).item.description == "from now on in the program"
    assert workload.live_key_ids() == before


@row("AK-53")
def test_delete_stops_at_protection(secrets, target, secret_inputs, later, workload):
    item = secrets.made({**secret_inputs, "delete_protection": True})
    with pytest.raises(Refused, match="DeleteProtected"):
        later.of(RotatedSecretProvider()).delete(item.id, item.bag)
    assert item.bag["key_id"] in workload.live_key_ids()


def test_a_target_in_use_stays(item, target, later):
    with pytest.raises(Refused, match=f"TargetInUse: .*{item.bag['name']}"):
        later.of(AzureTargetProvider()).delete(target.id, target.bag)


def test_a_target_is_forced_away_from_the_items_that_use_it(item, targets, target, target_inputs, later, outside):
    given = {**target_inputs, "force_deletion": True}
    assert targets.diff(target.bag, targets.check(given, target_inputs).bag).changes
    forced = targets.updated(target.id, target.bag, target_inputs, given)
    assert forced.bag["force_deletion"] is True
    later.of(AzureTargetProvider()).delete(target.id, forced.bag)
    assert outside.secrets.describe(item_id=item.id).target_name == target.bag["name"], "it can still be read"
    assert target.id not in {view.target.target_id for view in outside.targets.list_all()}


@row("AK-10")
def test_an_item_is_forced_away_although_azure_refuses(secrets, item, secret_inputs, later, outside, workload):
    forced = secrets.updated(item.id, item.bag, secret_inputs, {**secret_inputs, "force_delete": True})
    assert forced.bag["version"] == item.bag["version"], "nothing but the argument has changed"
    workload.control.update_application(workload.app_id, owners=[])
    with pytest.raises(Refused, match="AzurePermissionMissing"):
        later.of(RotatedSecretProvider()).delete(item.id, item.bag)
    later.of(RotatedSecretProvider()).delete(item.id, forced.bag)
    assert item.bag["key_id"] in workload.live_key_ids()
    (line,) = [one for one in outside.audit(action="delete_item") if one.details.get("orphans")]
    assert line.details["orphans"] == [item.bag["key_id"]]


def test_a_forced_replacement_of_an_item_by_itself_deletes_nothing(secrets, item, secret_inputs, workload):
    """`pulumi up --replace` creates first, gets the same item, and then deletes "the old one"."""
    again = secrets.made(secret_inputs)
    secrets.delete(item.id, item.bag)
    assert secrets.read(again.id, again.bag).id == item.id
    assert item.bag["key_id"] in workload.live_key_ids()


# --- errors and threads ---------------------------------------------------------------------------------------------


@row("AK-29")
def test_what_a_person_sees_of_a_failure_holds_no_credential(secrets, secret_inputs, target, workload, target_inputs):
    canary = "canary8Q~wrong-secret-of-nobody"
    (foreign,) = workload.live_key_ids()
    with pytest.raises(Refused) as refused:
        secrets.made({**secret_inputs, "api_id": foreign, "api_key": canary})
    text = str(refused.value)
    assert canary not in text
    assert target_inputs["client_secret"] not in text
    assert "During handling" not in text
    assert "direct cause" not in text
    code, hint = text.strip().splitlines()[-2:]
    assert code.startswith("azure_rotator.Failed: IdentifierMixedUp: api_key is not the value of keyId")
    assert hint.startswith("hint: ")


def test_a_wrong_setting_is_named_by_every_call(own_environment, secret_inputs):
    with DynamicServer(own_environment, {"azure-rotator:timeout": "soon"}) as running:
        secrets = running.of(RotatedSecretProvider())
        for _ in range(2):
            with pytest.raises(Refused, match="ParameterInvalid: azure-rotator:timeout is not a number of seconds"):
                secrets.check(secret_inputs)


@pytest.mark.parametrize("setting", ["store", "environment"])
def test_settings_come_from_the_stack_and_else_from_the_environment(setting, own_environment, tmp_path, target_inputs):
    (tmp_path / "stack").mkdir()
    config = {"azure-rotator:store": f"sqlite:///{tmp_path / 'stack' / 'x.db'}"} if setting == "store" else {}
    with DynamicServer(own_environment, config) as running:
        running.of(AzureTargetProvider()).made(target_inputs)
    assert (tmp_path / "stack" / "x.db").exists() == (setting == "store")
    assert (tmp_path / "store" / "store.db").exists() == (setting == "environment")


def test_four_creates_at_once_make_four_items(secrets, secret_inputs, target, workload):
    names = [f"{secret_inputs['name']}-{number}" for number in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: secrets.made({**secret_inputs, "name": n, "owner": n}), names))
    assert {answer.bag["name"] for answer in made} == set(names)
    assert len({answer.bag["key_id"] for answer in made}) == 4
    assert len(workload.live_key_ids()) == 5
