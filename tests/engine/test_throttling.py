"""Retry-After: the pause is of a tenant, a subscription or one object, holds in every process, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.model import RotationState, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import OWNED_BY, App, MakeApplication
from tests.rows import row

SAME_TENANT = "/prod/same-tenant"
ELSEWHERE = "/elsewhere/billing"
BLOBS = "/prod/blobs"
OTHER_SUBSCRIPTION = "/prod/other-blobs"
PAUSE = {"Retry-After": "120"}


@dataclass
class Estate:
    """Items of two tenants, and of two subscriptions in the first."""

    world: World
    control: Control
    foreign: App

    def hasty(self) -> Any:
        return self.world.process(who="bob", limits=Limits(foreground=timedelta(seconds=30))).engine

    def rotates(self, name: str) -> bool:
        """Whether it rotates at once, asked for by another process."""
        try:
            self.world.rotate(name, engine=self.hasty())
        except RotatorError as error:
            if error.code == "AzureThrottled":
                return False
            raise
        return True


def in_tenant_of(world: World) -> dict[str, str]:
    return {"tenant": world.rotator.info.tenant_id}


@pytest.fixture
def estate(world: World, control: Control, make_application: MakeApplication) -> Estate:
    elsewhere = control.create_tenant().tenant_id
    foreign = make_application("foreign", tenant=elsewhere, roles=[OWNED_BY], owners=["self"])
    world.create_target("/azure/elsewhere", tenant_id=elsewhere, client_id=foreign.app_id, client_secret=foreign.secret)
    same = make_application("same", owners=[world.rotator.app_id])
    world.create(revoke_after="0")
    world.create(name=SAME_TENANT, app_id=same.app_id, revoke_after="0")
    world.create(name=ELSEWHERE, target_name="/azure/elsewhere", app_id=foreign.app_id, revoke_after="0")
    for name, subscription in ((BLOBS, None), (OTHER_SUBSCRIPTION, "11111111-2222-4333-8444-555555555555")):
        record: dict[str, Any] = in_tenant_of(world) | {"operators": [world.rotator.app_id]}
        made = control.create_account(**(record | ({"subscription": subscription} if subscription else {})))
        target = f"/azure{name}"
        world.create_target(
            target,
            subscription_id=made.subscription_id,
            resource_group_name=made.resource_group,
            resource_name=made.name,
        )
        world.engine.secrets.create(
            {
                "name": name,
                "target_name": target,
                "rotator_type": "azure-storage-account",
                "storage_account_key_name": "key1",
            }
        )
    world.mark()
    return Estate(world, control, foreign)


ALL = {ITEM, SAME_TENANT, ELSEWHERE, BLOBS, OTHER_SUBSCRIPTION}


def by_graph(estate: Estate) -> str:
    estate.control.add_fault("graph.*", app=estate.world.workload.app_id, preset="throttled", headers=PAUSE)
    return ITEM


def by_the_login(estate: Estate) -> str:
    tenant = estate.world.rotator.info.tenant_id
    estate.control.add_fault("login.token", tenant=tenant, status=429, code="temporarily_unavailable", headers=PAUSE)
    return ITEM


def by_resource_manager(estate: Estate) -> str:
    estate.control.add_fault("arm.listKeys", preset="throttled", headers=PAUSE)
    return BLOBS


def by_one_object(estate: Estate) -> str:
    estate.control.add_fault("graph.*", app=estate.world.workload.app_id, preset="unavailable-503", headers=PAUSE)
    return ITEM


@row("F14")
@pytest.mark.parametrize(
    ("throttle", "paused"),
    [
        pytest.param(by_graph, ALL - {ELSEWHERE}, id="Graph limits a tenant"),
        pytest.param(by_the_login, ALL - {ELSEWHERE}, id="the login limits a tenant"),
        pytest.param(by_resource_manager, {BLOBS}, id="Resource Manager limits a subscription"),
        pytest.param(by_one_object, {ITEM}, id="an outage of one object is no limit"),
    ],
)
def test_whom_a_pause_holds(estate: Estate, throttle: Callable[[Estate], str], paused: set[str]):
    world = estate.world
    first = throttle(estate)
    hasty = estate.hasty()
    error = refused(world.rotate, first, engine=hasty)
    assert error.code in {"AzureThrottled", "AzureUnavailable"}
    world.mark()
    assert {name for name in sorted(ALL - {first}) if not estate.rotates(name)} == paused - {first}
    asked = {entry.app_id for entry in world.requests("graph.addPassword")}
    assert asked <= {estate.world.workload.app_id, app_of(world, SAME_TENANT)} - {app_of(world, n) for n in paused}
    world.clock.advance(seconds=120)
    world.engine.reconcile()
    for name in sorted(ALL):
        assert max(world.versions(name)) == 2, f"{name} goes on when the pause is over"


def app_of(world: World, name: str) -> str:
    return world.describe(name).item.app_id


@row("F14")
def test_a_pause_costs_one_request_whoever_asks(estate: Estate):
    """No storm of retries: while it lasts nothing is asked, by no item of the tenant and by no command."""
    world = estate.world
    by_graph(estate)
    refused(world.rotate, ITEM, engine=estate.hasty())
    world.mark()
    for _ in range(3):
        assert not estate.rotates(ITEM)
        assert not estate.rotates(SAME_TENANT)
        assert refused(world.create, name="/prod/third", engine=estate.hasty()).code == "AzureThrottled"
        assert refused(estate.hasty().secrets.delete, name=SAME_TENANT).code == "AzureThrottled"
        world.engine.reconcile()
    assert world.requests("graph.*", "graph.addPassword", "graph.getApplication") == []
    assert world.value(SAME_TENANT)


@row("F14")
def test_a_look_that_is_no_need_asks_nothing_in_a_pause_and_begins_one(estate: Estate):
    """A storage account is looked at before a person rotates its key, to warn; that is nobody's business in a pause."""
    world = estate.world
    estate.control.add_fault("arm.getStorageAccount", preset="throttled", headers=PAUSE)
    refused(world.rotate, BLOBS, engine=estate.hasty())
    assert [entry.operation for entry in world.requests("arm.*")] == []
    world.mark()
    refused(world.rotate, BLOBS, engine=estate.hasty())
    assert world.writes() == []


@row("F14")
def test_a_pause_is_waited_for_once_and_said(estate: Estate):
    world = estate.world
    by_graph(estate)
    refused(world.rotate, ITEM, engine=estate.hasty())
    world.clock.waits.clear()
    world.notes.said.clear()
    assert world.rotate(SAME_TENANT).version == 2
    assert world.clock.waits == [120]
    assert "asked for a pause" in world.notes.said[0]


@row("F14")
def test_beyond_the_limit_it_is_said_when_it_goes_on(estate: Estate):
    world = estate.world
    by_graph(estate)
    refused(world.rotate, ITEM, engine=estate.hasty())
    until = world.clock.now() + timedelta(seconds=120)
    error = refused(world.rotate, SAME_TENANT, engine=estate.hasty())
    assert (error.code, error.exit_code) == ("AzureThrottled", 7)
    assert error.details["next_attempt_at"] == until.isoformat().replace("+00:00", "Z")
    assert sum(world.clock.waits) == 0, "nobody waits for what is beyond the limit"


@row("F14")
def test_a_reconcile_waits_for_no_pause(estate: Estate):
    """One tenant's limit, and an operation of another tenant that was left over."""
    world = estate.world
    by_graph(estate)
    refused(world.rotate, ITEM, engine=estate.hasty())
    assert not estate.rotates(SAME_TENANT)
    estate.control.add_fault("graph.getApplication", app=estate.foreign.app_id, preset="unavailable-503")
    refused(world.rotate, ELSEWHERE, engine=estate.hasty())
    world.clock.advance(seconds=70)
    world.clock.waits.clear()
    done = world.engine.reconcile()
    assert max(world.clock.waits, default=0) <= 1
    assert world.versions(ELSEWHERE) == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert world.versions(SAME_TENANT) == {1: Stage.CURRENT}
    left = {facts["path"]: facts["state_after"] for facts in done.rotations}
    assert (left[SAME_TENANT], left[ELSEWHERE]) == (RotationState.PLANNED.value, RotationState.DONE.value)


@row("F14")
def test_a_create_waits_with_its_dry_run(estate: Estate):
    world = estate.world
    by_graph(estate)
    refused(world.rotate, ITEM, engine=estate.hasty())
    world.clock.waits.clear()
    assert world.create(name="/prod/third").version == 1
    assert world.clock.waits[0] == 120


@row("F14")
def test_a_dry_run_that_is_limited_pauses_its_tenant(estate: Estate):
    world = estate.world
    by_graph(estate)
    assert refused(world.create, name="/prod/third", engine=estate.hasty()).code == "AzureThrottled"
    assert not estate.rotates(SAME_TENANT)
    assert estate.rotates(ELSEWHERE)
