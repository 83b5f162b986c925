"""A client secret of the service principal and not of the application (F35): told apart, and rotated where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from azure_rotator.domain.findings import Outcome
from azure_rotator.domain.model import Stage
from azure_rotator.domain.names import parse_stamp
from azure_rotator.engine.inventory import Manager
from azure_sandbox.testing import SecretInfo
from tests.engine.world import ITEM, TARGET, World, refused
from tests.plugins.azure import OWNED_BY, App, MakeApplication
from tests.rows import row

VALUE = "Spn8Q~of-the-service-principal-and-of-nobody-else"
ADDS, REMOVES = "graph.addServicePrincipalPassword", "graph.removeServicePrincipalPassword"


@dataclass
class Principal:
    """An application whose service principal has a secret of its own, beside one of the application's."""

    world: World
    app: App

    @property
    def id(self) -> str:
        return str(self.app.info.service_principal_id)

    def secrets(self) -> list[SecretInfo]:
        return [secret for secret in self.world.control.secrets(self.id) if secret.is_alive]

    def key_ids(self) -> set[str]:
        return {secret.key_id for secret in self.secrets()}

    def adopt(self, **changes: Any) -> str:
        (own,) = self.secrets()
        given = {"app_id": self.app.app_id, "api_id": own.key_id, "api_key": VALUE, "revoke_after": "0"}
        self.world.create(**(given | changes))
        return own.key_id

    def logs_in(self) -> bool:
        found = self.world.control.verify(self.id, self.world.value())
        return found is not None and found.state == "valid"


@pytest.fixture
def principal(world: World, make_application: MakeApplication) -> Principal:
    own = [{"name": "its own", "value": VALUE}]
    app = make_application("spn", owners=[world.rotator.app_id], service_principal_secrets=own)
    return Principal(world, app)


@row("F35")
def test_it_is_rotated_on_the_service_principal_and_the_application_is_untouched(principal: Principal):
    world, on_application = principal.world, principal.app.live_key_ids()
    adopted = principal.adopt()
    assert (world.describe().key_id, world.value()) == (adopted, VALUE)
    for number in (2, 3):  # what was adopted, then what was minted
        done = world.rotate()
        assert (done.version, done.status) == (number, "RotationSucceeded")
        assert principal.key_ids() == {done.key_id}
        assert principal.logs_in()
    stamp = parse_stamp(principal.secrets()[0].display_name)
    assert stamp is not None
    assert stamp.store_id == world.engine.store_id
    assert world.versions() == {1: Stage.REVOKED, 2: Stage.REVOKED, 3: Stage.CURRENT}
    assert principal.app.live_key_ids() == on_application
    assert world.requests("graph.addPassword", "graph.removePassword") == []


@row("F35")
def test_a_delete_removes_it_there(principal: Principal):
    principal.adopt()
    minted = principal.world.rotate().key_id
    deleted = principal.world.engine.secrets.delete(name=ITEM)
    assert deleted.revoked == (minted,)
    assert principal.key_ids() == set()


@row("F35")
def test_among_many_its_owners_are_asked_first(principal: Principal):
    """Of what holds the secret; nothing is deleted before."""
    world = principal.world
    principal.adopt()
    minted = world.rotate().key_id
    world.control.update_application(principal.app.app_id, owners=[])
    error = refused(world.engine.secrets.delete_many, names=[ITEM])
    assert (error.code, error.details["deleted"]) == ("AzurePermissionMissing", [])
    assert "not an owner of the service principal" in error.message
    world.control.update_application(principal.app.app_id, owners=[world.rotator.app_id])
    assert [one.revoked for one in world.engine.secrets.delete_many(names=[ITEM]).deletions] == [(minted,)]
    assert principal.key_ids() == set()


@row("F35")
@pytest.mark.parametrize("minted", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_reply_leaves_one_secret(principal: Principal, minted: bool, when: str):
    world = principal.world
    principal.adopt()
    if minted:
        world.rotate()
    world.control.add_fault(ADDS, app=principal.app.app_id, when=when, times=1, preset="dropped")
    done = world.rotate()
    assert done.status == "RotationSucceeded"
    assert principal.key_ids() == {done.key_id}
    assert principal.logs_in()


@row("F35")
def test_a_process_that_dies_after_its_mint_leaves_nothing_behind(principal: Principal):
    class Killed(BaseException):
        """The process is gone."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    world = principal.world
    principal.adopt()
    dying = world.process(who="bob")
    dying.store.before["store_pending"] = kill
    with pytest.raises(Killed):
        world.rotate(engine=dying.engine)
    assert len(principal.key_ids()) == 2
    assert world.engine.reconcile().problems == ()
    assert principal.key_ids() == {world.describe().key_id}
    assert principal.logs_in()


@row("F35")
def test_an_orphan_of_ours_on_the_service_principal_goes(principal: Principal):
    world = principal.world
    principal.adopt()
    world.rotate()
    stamp = principal.secrets()[0].display_name
    late = world.control.add_secret(principal.id, display_name=stamp)
    foreign = world.control.add_secret(principal.id, display_name="by hand")
    done = world.engine.reconcile()
    assert [one.key_id for one in done.orphans] == [late.key_id]
    assert principal.key_ids() == {world.describe().key_id, foreign.key_id}


@row("F35")
def test_it_goes_too_where_only_another_target_of_the_application_is_asked(
    principal: Principal, make_application: MakeApplication
):
    """Else the application would count as looked at, and nobody would look at its service principal again."""
    world = principal.world
    principal.adopt()
    world.rotate()
    stamp = principal.secrets()[0].display_name
    second = make_application("second-rotator", roles=[OWNED_BY])
    world.control.update_application(principal.app.app_id, owners=[world.rotator.app_id, second.app_id])
    world.create_target("/azure/two", client_id=second.app_id, client_secret=second.secret)
    world.create(name="/prod/two", target_name="/azure/two", app_id=principal.app.app_id)
    late = world.control.add_secret(principal.id, display_name=stamp)
    done = world.engine.reconcile(target="/azure/two")
    assert [one.key_id for one in done.orphans] == [late.key_id]


@row("F35")
def test_it_goes_too_after_the_target_was_deleted_by_force(principal: Principal, make_application: MakeApplication):
    """Nobody acts for the item any more; its orphan is still ours, and another Target of the tenant may look."""
    world = principal.world
    principal.adopt()
    world.rotate()
    stamp = principal.secrets()[0].display_name
    second = make_application("second-rotator", roles=[OWNED_BY])
    world.control.update_application(principal.app.app_id, owners=[world.rotator.app_id, second.app_id])
    world.create_target("/azure/two", client_id=second.app_id, client_secret=second.secret)
    world.engine.targets.delete(name=TARGET, force=True)
    late = world.control.add_secret(principal.id, display_name=stamp)
    done = world.engine.reconcile()
    assert [one.key_id for one in done.orphans] == [late.key_id]
    assert done.problems == ()


@row("F35")
def test_reads_that_lag_do_not_lead_to_the_application(principal: Principal):
    world = principal.world
    principal.adopt()
    world.rotate()
    world.control.set_behaviour(principal.app.app_id, read_lag_seconds=3_600)
    world.control.set_behaviour(principal.id, read_lag_seconds=3_600)
    done = world.rotate()
    world.clock.advance(hours=2)
    world.engine.reconcile()
    assert principal.key_ids() == {done.key_id}
    assert world.requests("graph.addPassword") == []


@row("F35")
def test_from_the_service_principal_to_the_application_nothing_is_left(principal: Principal):
    world = principal.world
    principal.adopt()
    world.rotate()
    (boot,) = [s for s in world.control.secrets(principal.app.app_id) if s.is_alive]
    world.engine.secrets.update({"api_id": boot.key_id, "api_key": principal.app.secret}, name=ITEM)
    world.engine.reconcile()
    assert principal.key_ids() == set()
    done = world.rotate()
    assert principal.key_ids() == set()
    assert principal.app.live_key_ids() == {done.key_id}


@row("F35")
def test_who_does_not_own_it_is_told_so(principal: Principal):
    principal.world.control.update_application(principal.app.app_id, owners=[])
    error = refused(principal.adopt)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert "service principal of application" in str(error)


@row("F35")
def test_a_wrong_value_of_it_is_caught(principal: Principal):
    assert refused(principal.adopt, api_key="nothing-of-the-kind").code == "IdentifierMixedUp"
    assert refused(principal.adopt, api_key=VALUE[:3] + "-but-wrong").code == "AzureAuthFailed"


@row("F35")
def test_doctor_and_inventory_say_where_it_is(principal: Principal):
    world = principal.world
    adopted = principal.adopt()
    (one,) = [f for f in world.engine.doctor() if f.check == "credential"]
    assert (one.outcome, "on the service principal" in one.message) == (Outcome.OK, True)
    stock = world.engine.inventory(target=TARGET, app_id=principal.app.app_id)
    (held,) = [one for one in stock.holdings if one.key_id == adopted]
    assert (held.holder, held.managed_by, held.manager) == ("service principal", Manager.ITEM, ITEM)
