"""``password``: an Entra user's password, set by the Target or changed by the user himself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from azure_rotator.domain.grants import PASSWORDS
from azure_rotator.domain.model import RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_rotator.engine.views import SecretView
from azure_sandbox.testing import UserInfo
from tests.engine.world import World, refused
from tests.plugins.azure import App, MakeApplication
from tests.rows import row

ROBOT = "/prod/robot"
TARGET = "/azure/people"
WRONG_PASSWORD = 50126


@dataclass
class Robot:
    """A user, and a Target whose application may set and, on his behalf, change his password."""

    world: World
    user: UserInfo
    client: App

    @property
    def password(self) -> str:
        """What he was made with."""
        assert self.user.password is not None
        return self.user.password

    def create(self, **changes: Any) -> SecretView:
        given = {
            "name": ROBOT,
            "target_name": TARGET,
            "rotator_type": "password",
            "authentication_credentials": "use-target-creds",
            "username": self.user.upn,
            "password": self.password,
        } | changes
        return self.world.engine.secrets.create({name: value for name, value in given.items() if value is not None})

    def rotate(self) -> Any:
        return self.world.rotate(ROBOT)

    def value(self, version: int | None = None) -> str:
        return self.world.value(ROBOT, version=version)

    def is_present(self, value: str) -> bool:
        return self.world.control.verify_password(self.user.object_id, value) == "present"

    def may_read_users(self) -> None:
        """What the least permission to set a password does not include."""
        self.world.control.update_application(self.client.app_id, roles=[PASSWORDS, "User.Read.All"])

    def passwords_set(self) -> int:
        return self.world.control.user(self.user.object_id).passwords_set


@pytest.fixture
def robot(world: World, make_application: MakeApplication) -> Robot:
    client = make_application("people", roles=[PASSWORDS], delegated=[PASSWORDS])
    user = world.control.create_user(tenant=world.rotator.info.tenant_id)
    world.create_target(TARGET, client_id=client.app_id, client_secret=client.secret)
    world.mark()
    return Robot(world, user, client)


HIMSELF = {"authentication_credentials": "use-user-creds"}
BOTH = pytest.mark.parametrize(
    "mode", [pytest.param({}, id="the Target acts"), pytest.param(HIMSELF, id="the user acts")]
)


@row("AK-01", "AK-25")
@BOTH
def test_only_the_new_password_is_accepted(robot: Robot, mode: dict[str, Any]):
    view = robot.create(**mode)
    assert (view.version, view.key_id, robot.value()) == (1, robot.user.upn, robot.password)
    assert robot.passwords_set() == 1, "a create changes nothing"
    done = robot.rotate()
    assert (done.version, done.status) == (2, "RotationSucceeded")
    new = robot.value()
    assert robot.is_present(new)
    assert not robot.is_present(robot.password)
    assert len(new) == 24
    assert robot.world.versions(ROBOT) == {1: Stage.REVOKED, 2: Stage.CURRENT}
    assert not robot.world.control.user(robot.user.object_id).force_change
    assert robot.passwords_set() == 2
    for _ in range(2):
        robot.rotate()
    assert robot.is_present(robot.value())


@row("AK-25", "B-20")
def test_generated_as_the_item_says(robot: Robot):
    robot.create(password_length=31, use_special_characters=False)
    robot.rotate()
    assert len(robot.value()) == 31
    assert robot.value().isalnum()


def test_get_value_tells_both_halves(robot: Robot):
    robot.create()
    value = robot.world.engine.secrets.get_value(name=ROBOT)
    assert value.fields.keys() == {"username", "password"}
    assert (value.fields["username"], value.secret.reveal()) == (robot.user.upn, robot.password)


def test_without_a_password_there_is_no_value_before_the_first_rotation(robot: Robot):
    robot.create(password=None)
    assert refused(robot.value).code == "NoValueYet"
    robot.rotate()
    assert robot.is_present(robot.value())


def test_rotate_on_create(robot: Robot):
    assert robot.create(rotate_on_create=True).version == 2
    assert robot.is_present(robot.value())


# --- what cannot begin


@pytest.mark.parametrize(
    ("mode", "code"), [({}, "AzureAuthFailed"), (HIMSELF, "AzureAuthFailed")], ids=["Target", "user"]
)
@row("B-08")
def test_a_wrong_password_is_caught(robot: Robot, mode: dict[str, Any], code: str):
    before = robot.world.tables(without=["targets"])
    error = refused(robot.create, password="not-Hers-at-all-17", **mode)
    assert (error.code, error.details["aadsts"]) == (code, WRONG_PASSWORD)
    assert robot.world.tables(without=["targets"]) == before
    robot.create(password="not-Hers-at-all-17", skip_dry_run=True, **mode)


@row("AK-31")
def test_an_unknown_user(robot: Robot):
    robot.may_read_users()
    error = refused(robot.create, username="nobody@nowhere.example", password=None)
    assert (error.code, error.exit_code) == ("UserNotFound", 7)


def test_without_the_permission(robot: Robot):
    robot.world.control.update_application(robot.client.app_id, roles=[])
    error = refused(robot.create)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert PASSWORDS in error.hint


def test_a_user_mastered_elsewhere(robot: Robot):
    robot.may_read_users()
    robot.world.control.update_user(robot.user.object_id, synchronised=True)
    error = refused(robot.create)
    assert (error.code, error.exit_code) == ("AzureRefused", 7)
    assert "on-premises" in error.message


def test_one_item_a_user(robot: Robot):
    robot.create()
    error = refused(robot.create, name="/prod/again", username=robot.user.upn.upper())
    assert (error.code, error.details["holder"]) == ("CredentialAlreadyManaged", ROBOT)


@row("F49")
def test_an_administrator_wants_a_role_above_his(robot: Robot):
    robot.create()
    robot.world.control.update_user(robot.user.object_id, roles=["Global Administrator"])
    error = refused(robot.rotate)
    assert (error.code, error.exit_code) == ("AzurePermissionMissing", 7)
    assert "role" in f"{error.message} {error.hint}"
    assert robot.is_present(robot.value())
    assert robot.world.describe(ROBOT).item.rotator_status is RotatorStatus.FAILED


# --- proofs


@row("F50")
@pytest.mark.parametrize("demand", [{"mfa": True}, {"conditional_access": True}], ids=["MFA", "Conditional Access"])
def test_a_demand_after_the_right_password_is_proof(robot: Robot, demand: dict[str, bool]):
    robot.world.control.update_user(robot.user.object_id, **demand)
    robot.create()
    done = robot.rotate()
    assert done.status == "RotationSucceeded"
    assert robot.is_present(robot.value())
    assert robot.world.describe(ROBOT).item.error_code is None


@row("F50")
def test_a_user_with_mfa_cannot_act_himself_and_is_told_the_way_out(robot: Robot):
    robot.world.control.set_mfa(robot.user.object_id)
    error = refused(robot.create, **HIMSELF)
    assert error.code == "AzureAuthFailed"
    assert "use-target-creds" in error.hint


def test_a_refused_proof_is_told_and_the_new_password_published_all_the_same(robot: Robot):
    robot.create()
    robot.world.control.add_fault("login.token", user=robot.user.upn, code="AADSTS50126", times=None)
    done = robot.rotate()
    assert done.version == 2
    assert robot.is_present(robot.value())
    assert robot.world.describe(ROBOT).item.error_text is not None


def sign_ins(robot: Robot) -> list[bool | None]:
    entries = robot.world.requests("login.token")
    return [entry.accepted for entry in entries if entry.user == robot.user.upn]


@BOTH
@pytest.mark.parametrize(("late", "tries"), [(3, 2), (12, 3)])
def test_a_front_end_that_is_a_little_late_is_asked_again(robot: Robot, mode: dict[str, Any], late: int, tries: int):
    robot.create(**mode)
    robot.world.control.update_user(robot.user.object_id, behaviour={"visible_after": [late]})
    robot.world.mark()
    done = robot.rotate()
    assert (done.version, done.status) == (2, "RotationSucceeded")
    item = robot.world.describe(ROBOT).item
    assert (item.error_code, item.error_text) == (None, None), "proven, and nothing else to tell"
    own = 1 if mode else 0
    assert sign_ins(robot)[own:] == [False] * (tries - 1) + [True]


def test_a_proof_that_is_refused_again_and_again_costs_three_sign_ins(robot: Robot):
    """Entra locks an account after ten wrong passwords, and consumers have no valid value until it is published."""
    robot.create()
    robot.world.control.add_fault("login.token", user=robot.user.upn, code="AADSTS50126", times=None)
    robot.world.mark()
    robot.world.clock.waits.clear()
    assert robot.rotate().version == 2
    assert sign_ins(robot) == [False] * 3
    assert sum(robot.world.clock.waits) == 20
    item = robot.world.describe(ROBOT).item
    assert (item.error_code, "published without a proof" in str(item.error_text)) == ("AzureAuthFailed", True)
    assert robot.is_present(robot.value())


# --- deleting while it is not known which password is set


@row("F53")
@BOTH
def test_a_delete_finishes_first_what_may_have_set_the_password(robot: Robot, mode: dict[str, Any]):
    """The candidate in the journal may be the only valid password: it becomes the item's value before the item goes."""
    robot.create(**mode)
    operation = "graph.changePassword" if mode else "graph.updateUser"
    robot.world.control.add_fault(operation, user=robot.user.upn, when="after", times=1, drop=True)
    refused(robot.world.rotate, ROBOT, engine=robot.world.process(limits=Limits(foreground=timedelta())).engine)
    assert not robot.is_present(robot.value()), "what is stored as current was revoked"
    published: list[bool] = []

    def look(*_: object, **__: object) -> None:
        published.append(robot.is_present(robot.value()))

    robot.world.main.store.before["begin_delete"] = look
    robot.world.engine.secrets.delete(name=ROBOT)
    assert published == [True], "whoever asked for the value before the end got the valid one"


@row("F53")
@pytest.mark.parametrize("force", [False, True])
def test_a_password_in_doubt_is_given_up_only_by_force(robot: Robot, force: bool):
    robot.create()
    robot.world.control.add_fault("graph.updateUser", user=robot.user.upn, when="after", times=None, drop=True)
    hasty = robot.world.process(limits=Limits(foreground=timedelta(seconds=5))).engine
    refused(robot.world.rotate, ROBOT, engine=hasty)
    if force:
        hasty.secrets.delete(name=ROBOT, force=True)
        assert robot.world.engine.secrets.list_all() == []
        return
    error = refused(hasty.secrets.delete, name=ROBOT)
    assert (error.code, error.exit_code) == ("ItemLocked", 5)
    assert "only value" in error.message
    assert "--force-delete" in error.hint
    robot.world.control.clear_faults()
    robot.world.clock.advance(hours=1)
    robot.world.engine.reconcile()
    assert robot.is_present(robot.value())
    robot.world.engine.secrets.delete(name=ROBOT)


# --- refusals and lost replies


@row("F52", "B-20")
@BOTH
def test_a_password_that_entra_refuses_is_replaced_by_another(robot: Robot, mode: dict[str, Any]):
    robot.create(**mode)
    robot.world.control.add_fault("graph.*", user=robot.user.upn, method="PATCH", times=2, **POLICY)
    robot.world.control.add_fault("graph.*", user=robot.user.upn, method="POST", times=2, **POLICY)
    assert robot.rotate().status == "RotationSucceeded"
    assert robot.is_present(robot.value())


POLICY = {
    "status": 400,
    "code": "Request_BadRequest",
    "message": "The specified password does not comply with password complexity requirements.",
}


@row("F52")
def test_a_policy_that_refuses_everything_ends(robot: Robot):
    robot.create()
    robot.world.control.add_fault("graph.*", user=robot.user.upn, method="PATCH", times=None, **POLICY)
    error = refused(robot.rotate)
    assert error.code == "PasswordPolicyInvalid"
    assert robot.is_present(robot.value())
    assert len([e for e in robot.world.requests() if e.method == "PATCH"]) == 5


@row("F53")
@BOTH
@pytest.mark.parametrize(
    ("when", "fault"),
    [
        pytest.param("after", {"drop": True}, id="set, the connection was cut"),
        pytest.param("after", {"status": 503}, id="set, answered 503"),
        pytest.param("before", {"drop": True}, id="not set, the connection was cut"),
        pytest.param("before", {"status": 503}, id="not set, answered 503"),
    ],
)
def test_a_lost_reply_loses_no_password(robot: Robot, mode: dict[str, Any], when: str, fault: dict[str, Any]):
    robot.create(**mode)
    operation = "graph.changePassword" if mode else "graph.updateUser"
    robot.world.control.add_fault(operation, user=robot.user.upn, when=when, times=1, **fault)
    assert robot.rotate().status == "RotationSucceeded"
    assert robot.is_present(robot.value())


@row("F53")
@BOTH
def test_a_front_end_that_does_not_know_the_candidate_yet_loses_no_password(robot: Robot, mode: dict[str, Any]):
    robot.create(**mode)
    operation = "graph.changePassword" if mode else "graph.updateUser"
    robot.world.control.add_fault(operation, user=robot.user.upn, when="after", times=1, drop=True)
    # Three looks for the candidate find the old state, so the change is tried again: with the same candidate.
    robot.world.control.add_fault("login.token", user=robot.user.upn, skip=1, times=3, code="AADSTS50126")
    robot.rotate()
    assert robot.is_present(robot.value())


@row("F53")
@BOTH
@pytest.mark.parametrize("after", ["store_pending", "record_proof", "publish"])
def test_a_store_that_fails_on_the_way_loses_no_password(robot: Robot, mode: dict[str, Any], after: str):
    robot.create(**mode)
    robot.world.main.store.before[after] = robot.world.locked_store
    refused(robot.rotate)
    del robot.world.main.store.before[after]
    robot.world.expire_leases()
    robot.world.engine.reconcile()
    assert robot.is_present(robot.value())
    assert robot.world.versions(ROBOT)[2] is Stage.CURRENT


def test_deleting_the_item_leaves_the_user_as_he_is(robot: Robot):
    robot.create()
    robot.rotate()
    password = robot.value()
    done = robot.world.engine.secrets.delete(name=ROBOT)
    assert (done.revoked, done.left_in_azure) == ((), (robot.user.upn,))
    assert robot.is_present(password)
    robot.create(password=password)


def test_a_password_changed_by_hand_is_corrected_by_an_update(robot: Robot):
    robot.create()
    robot.world.control.update_user(robot.user.object_id, password="By-Hand-and-2-strong")
    robot.world.engine.secrets.update({"password": "By-Hand-and-2-strong"}, name=ROBOT)
    assert robot.is_present(robot.value())
    assert robot.world.versions(ROBOT) == {1: Stage.CURRENT}
