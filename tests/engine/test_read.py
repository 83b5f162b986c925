"""Reading: values by version, views without values, and what another store or a deleted thing answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from azure_rotator.domain.model import Stage
from azure_rotator.engine.views import Value
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, TARGET, World, refused
from tests.rows import row

UNKNOWN = "qqqqqqqqqqqqqqqq"


def get(world: World, version: int | None = None) -> Value:
    return world.engine.secrets.get_value(name=ITEM, version=version)


@row("AK-23")
def test_values_are_read_by_number_and_all_fields_belong_to_one_version(world: World):
    world.create(revoke_after="3h")
    keys, values = [world.describe().key_id], [world.value()]
    for _ in range(2):
        result = world.rotate()
        keys.append(result.key_id)
        values.append(world.value())
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.PREVIOUS, 3: Stage.CURRENT}
    for number, stage in ((1, "revoked"), (2, "previous"), (3, "current"), (None, "current")):
        index = (number or 3) - 1
        value = get(world, number)
        assert (value.version, value.stage, value.fields["key_id"]) == (index + 1, stage, keys[index])
        assert value.secret.reveal() == values[index]
        assert value.fields["client_id"] == world.workload.app_id
        assert value.fields["tenant_id"] == world.rotator.info.tenant_id
    assert len(set(values)) == 3
    assert values[2] not in repr(get(world))


@pytest.mark.parametrize("version", [-1, 0, 2, 99])
def test_a_version_that_is_not_there_is_not_found(world: World, version: int):
    world.create()
    error = refused(get, world, version)
    assert (error.code, error.exit_code) == ("VersionNotFound", 4)


def test_a_pending_and_an_abandoned_version_are_not_found(world: World, control: Control):
    world.create()
    control.set_behaviour(world.workload.app_id, visible_after=[600])
    control.add_fault("graph.removePassword", app=world.workload.app_id, preset="denied", times=None)
    asked: list[str] = []
    world.clock.before_wait = lambda: asked.append(refused(get, world, 2).code)
    assert refused(world.rotate).code == "VerificationTimeout"
    assert set(asked) == {"VersionNotFound"}
    assert [v.stage for v in world.describe().versions] == [Stage.CURRENT, Stage.ABANDONED]
    assert refused(get, world, 2).code == "VersionNotFound"
    facts: Any = world.describe().facts(show_versions=True)
    assert [one["version"] for one in facts["item_versions"]] == [1]
    control.clear_faults()
    world.clock.advance(hours=2)
    world.engine.reconcile()
    assert len(world.key_ids()) == 2


@row("AK-07")
def test_reading_neither_rotates_nor_asks_azure(world: World):
    world.create()
    world.mark()
    world.clock.advance(days=400)
    assert {world.value() for _ in range(3)} == {world.value()}
    assert world.requests() == []
    assert world.versions() == {1: Stage.CURRENT}


def test_only_get_value_leaves_a_trace_of_a_read(world: World):
    world.create()
    world.describe()
    world.engine.secrets.list_all()
    assert world.describe().item.accessed_at is None
    world.clock.advance(hours=1)
    world.value()
    assert world.describe().item.accessed_at == world.clock.now()
    assert [line.details for line in world.audit("get_rotated_secret_value")] == [{"version": 1}]


def test_items_are_listed_by_path(world: World):
    for name in ("/prod/b", "/prod/a/x", "/production", "/test/a"):
        world.create(name=name, api_id=world.secret_of_boot() if name == "/prod/b" else None)

    def names(path: str | None = None) -> list[str]:
        return [view.item.name for view in world.engine.secrets.list_all(path=path)]

    assert names() == names("/") == ["/prod/a/x", "/prod/b", "/production", "/test/a"]
    assert names("/prod") == names("prod") == ["/prod/a/x", "/prod/b"]
    assert names("/prod/a") == ["/prod/a/x"]
    assert names("/none") == []


@pytest.mark.parametrize("use_case", ["describe", "get_value", "rotate", "delete"])
def test_an_unknown_name_is_not_found_and_a_malformed_one_invalid(world: World, use_case: str):
    ask = getattr(world.engine.secrets, use_case)
    error = refused(ask, name="/no/such")
    assert (error.code, error.exit_code) == ("ItemNotFound", 4)
    assert "/no/such" in str(error)
    assert refused(ask, name="/no//such").code == "NameInvalid"


def test_a_view_never_holds_a_value(world: World):
    world.create()
    view = world.describe()
    assert world.value() not in repr(view) + repr(view.facts(show_versions=True)) + repr(view.arguments())


# --- stores (features 3.16)


@row("AK-66")
@pytest.mark.parametrize("what", ["item", "Target"])
def test_a_resource_of_another_store_is_not_taken_for_gone(world: World, what: str):
    """An `up` against an empty, wrong or restored store mints nothing anew, and a `destroy` there orphans nothing."""
    made = world.create()
    other = world.process(store="other")
    assert other.engine.store_id != world.engine.store_id
    secrets, targets = other.engine.secrets, other.engine.targets
    ids = {"item_id": made.item.item_id} if what == "item" else {"target_id": made.item.target_id}
    asks: list[Callable[..., object]] = (
        [secrets.describe, secrets.delete] if what == "item" else [targets.get, targets.delete]
    )
    for ask in asks:
        error = refused(ask, **ids, store_id=world.engine.store_id)
        assert (error.code, error.exit_code) == ("StoreMismatch", 1)
        assert world.engine.store_id in str(error)
        assert other.engine.store_id in str(error)
        assert "azure-rotator:store" in error.hint
        error = refused(ask, **ids)
        assert (error.code, error.exit_code) == ("StoreMismatch", 1)
        assert "restored from a backup?" in error.hint
    update = secrets.update if what == "item" else targets.update
    assert refused(update, {"description": "x"}, **ids).code == "StoreMismatch"
    assert refused(update, {"description": "x"}, **ids, store_id=world.engine.store_id).code == "StoreMismatch"
    assert world.logs_in(world.value())


@row("AK-66")
def test_what_this_store_deleted_is_gone(world: World):
    made = world.create()
    world.engine.secrets.delete(name=ITEM)
    world.engine.targets.delete(name=TARGET)
    store_id = world.engine.store_id
    error = refused(world.engine.secrets.describe, item_id=made.item.item_id, store_id=store_id)
    assert (error.code, error.details["gone"]) == ("ItemNotFound", True)
    error = refused(world.engine.targets.get, target_id=made.item.target_id, store_id=store_id)
    assert (error.code, error.details["gone"]) == ("TargetNotFound", True)
    error = refused(world.engine.targets.update, {"description": "x"}, target_id=made.item.target_id)
    assert error.details["gone"] is True


def test_ids_and_names_lead_to_the_same(world: World):
    made = world.create()
    by_id = world.engine.secrets.describe(item_id=made.item.item_id, store_id=world.engine.store_id)
    assert by_id == world.describe()
    assert refused(world.engine.secrets.describe, item_id=UNKNOWN).code == "StoreMismatch"
    assert world.engine.secrets.get_value(item_id=made.item.item_id).secret.reveal() == world.value()
