"""Every kind, every call of its rotation, every bad answer: a classified error, an unchanged item, nothing lost and
nothing left behind.

What comes back may be a proxy's page, half a document, nothing, the wrong document. A read or a login that is answered
so has not happened; a write may have, and is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from azure_rotator.domain.errors import EXIT_CODES, RotatorError
from azure_rotator.domain.grants import PASSWORDS
from azure_rotator.domain.model import RotationState, RotatorStatus, Stage
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control
from tests.engine.world import DrivenClock, World
from tests.plugins.azure import OWNED_BY, MakeApplication

NAME = "/prod/hostile"

ANSWERS: dict[str, dict[str, Any]] = {
    "a page with 200": {"preset": "html-200"},
    "a page with 200 after the commit": {"preset": "html-200", "when": "after"},
    "a page with 502": {"preset": "html-502"},
    "a page with 502 after the commit": {"preset": "html-502", "when": "after"},
    "half a document": {"preset": "truncated-json"},
    "an empty body": {"status": 200, "body": "", "when": "after"},
    "a document without what matters": {"when": "after", "without": ["secretText", "keys", "access_token", "id"]},
    "a document of another shape": {"status": 200, "body": '{"value": [7, null, {"keys": "x"}]}', "when": "after"},
    "a list where an object belongs": {"status": 200, "body": '["secretText", {}]', "when": "after"},
    "numbers where text belongs": {
        "status": 200,
        "body": '{"secretText": 7, "keyId": 7, "keys": [{"keyName": 7, "value": 7}], "access_token": 7, "id": 7}',
        "when": "after",
    },
    "a genuine document called a page": {"when": "after", "headers": {"content-type": "text/html"}},
    "not even JSON": {"status": 200, "body": "\x00\xff{{{", "when": "after"},
}


@dataclass
class Kind:
    """One kind of item, ready to rotate.

    Args:
        truth: Whether Azure accepts this value now.
        clean: Whether nothing of ours is in Azure but what the item's versions hold.
    """

    create: Callable[[], object]
    truth: Callable[[str], bool]
    clean: Callable[[], bool] = field(default=lambda: True)


def _client_secret(world: World, control: Control, **mode: Any) -> Kind:
    control.update_application(
        world.workload.app_id, roles=[OWNED_BY], owners=[world.workload.app_id, world.rotator.app_id]
    )
    boot = world.secret_of_boot()
    return Kind(
        create=lambda: world.create(name=NAME, revoke_after="0", **mode),
        truth=world.logs_in,
        clean=lambda: world.key_ids() == {boot, world.describe(NAME).key_id},
    )


def api_key(world: World, control: Control, _: MakeApplication) -> Kind:
    return _client_secret(world, control)


def api_key_of_itself(world: World, control: Control, _: MakeApplication) -> Kind:
    return _client_secret(world, control, authentication_credentials="use-user-creds", api_key=world.workload.secret)


def target(world: World, control: Control, _: MakeApplication) -> Kind:
    mode: dict[str, Any] = {"rotator_type": "target", "app_id": None, "authentication_credentials": None}
    return Kind(
        create=lambda: world.create(name=NAME, revoke_after="0", **mode),
        truth=lambda value: world.logs_in(value, world.rotator),
        clean=lambda: world.key_ids(world.rotator) == {world.describe(NAME).key_id},
    )


def _password(world: World, control: Control, make: MakeApplication, mode: str, write: str) -> Kind:
    client = make("people", roles=[PASSWORDS], delegated=[PASSWORDS])
    user = control.create_user(tenant=world.rotator.info.tenant_id)
    world.create_target("/azure/people", client_id=client.app_id, client_secret=client.secret)
    given = {
        "name": NAME,
        "target_name": "/azure/people",
        "rotator_type": "password",
        "authentication_credentials": mode,
        "username": user.upn,
        "password": user.password,
    }
    return Kind(
        create=lambda: world.engine.secrets.create(given),
        truth=lambda value: control.verify_password(user.object_id, value) == "present",
    )


def password(world: World, control: Control, make: MakeApplication) -> Kind:
    return _password(world, control, make, "use-target-creds", "graph.updateUser")


def password_of_himself(world: World, control: Control, make: MakeApplication) -> Kind:
    return _password(world, control, make, "use-user-creds", "graph.changePassword")


def _storage(world: World, control: Control, mode: str) -> Kind:
    made = control.create_account(tenant=world.rotator.info.tenant_id, operators=[world.rotator.app_id])
    world.create_target(
        "/azure/storage",
        subscription_id=made.subscription_id,
        resource_group_name=made.resource_group,
        resource_name=made.name,
    )
    given = {
        "name": NAME,
        "target_name": "/azure/storage",
        "rotator_type": "azure-storage-account",
        "storage_account_key_name": "key1",
        "storage_key_mode": mode,
    }
    return Kind(
        create=lambda: world.engine.secrets.create(given),
        truth=lambda value: value in control.account(made.name).keys.values(),
    )


def storage_named(world: World, control: Control, _: MakeApplication) -> Kind:
    return _storage(world, control, "named")


def storage_alternate(world: World, control: Control, _: MakeApplication) -> Kind:
    return _storage(world, control, "alternate")


# How each is made ready, and the calls of its rotation by the sandbox's names.
KINDS: dict[str, tuple[Callable[..., Kind], tuple[str, ...]]] = {
    "api-key": (
        api_key,
        ("login.token", "login.token, the proof", "graph.getApplication", "graph.addPassword", "graph.removePassword"),
    ),
    "api-key, itself": (api_key_of_itself, ("login.token", "graph.addPassword", "graph.removePassword")),
    "target": (target, ("login.token", "graph.getApplication", "graph.addPassword", "graph.removePassword")),
    "password": (password, ("login.token", "graph.updateUser")),
    "password, himself": (password_of_himself, ("login.token", "graph.changePassword")),
    "storage, named": (storage_named, ("login.token", "arm.listKeys", "arm.regenerateKey", "blob.*")),
    "storage, alternate": (storage_alternate, ("login.token", "arm.listKeys", "arm.regenerateKey", "blob.*")),
}
# Kinds whose new value revokes the old one.
ONE_VALUE = {"password", "password, himself", "storage, named"}
CLOCKED = {"api-key", "storage, named"}
# Of every day: each kind's write, and each answer once more somewhere else.
EVERY_DAY = {
    ("api-key", "graph.addPassword", "a document without what matters"),
    ("api-key", "graph.addPassword", "an empty body"),
    ("api-key", "graph.getApplication", "a list where an object belongs"),
    ("api-key", "graph.removePassword", "a page with 502 after the commit"),
    ("api-key", "login.token", "a page with 200"),
    ("api-key", "login.token, the proof", "a document without what matters"),
    ("api-key, itself", "graph.addPassword", "a page with 200 after the commit"),
    ("target", "graph.addPassword", "half a document"),
    ("target", "graph.removePassword", "a page with 200"),
    ("target", "login.token", "a document of another shape"),
    ("password", "graph.updateUser", "a page with 502 after the commit"),
    ("password", "graph.updateUser", "a page with 200"),
    ("password", "login.token", "not even JSON"),
    ("password, himself", "graph.changePassword", "a page with 200"),
    ("storage, named", "arm.regenerateKey", "a document without what matters"),
    ("storage, named", "arm.listKeys", "numbers where text belongs"),
    ("storage, alternate", "arm.regenerateKey", "half a document"),
    ("storage, alternate", "arm.listKeys", "a genuine document called a page"),
    ("storage, alternate", "blob.*", "a page with 502"),
}


def rows() -> Iterator[Any]:
    for kind, (_, calls) in KINDS.items():
        for call in calls:
            for answer in ANSWERS:
                daily = (kind, call, answer) in EVERY_DAY
                marks = () if daily else (pytest.mark.full,)
                yield pytest.param(kind, call, answer, id=f"{kind}: {call} gets {answer}", marks=marks)


@pytest.mark.parametrize(("kind", "call", "answer"), list(rows()))
def test_a_bad_answer_ends_in_a_classified_error_and_an_unchanged_item(
    world: World, control: Control, make_application: MakeApplication, kind: str, call: str, answer: str
):
    made = KINDS[kind][0](world, control, make_application)
    made.create()
    value, versions, due = world.value(NAME), handed_out(world), world.describe(NAME).item.next_rotation_at
    operation, _, whose = call.partition(", ")
    proofs = {"app": world.workload.app_id} if whose else {}
    fault = control.add_fault(operation, times=None, **proofs, **ANSWERS[answer])
    hasty = world.process(limits=Limits(foreground=timedelta(seconds=5)))
    failed = None
    try:
        world.rotate(NAME, engine=hasty.engine)
    except RotatorError as error:
        failed = error
    assert fault.hits, "the call was made"
    item = world.describe(NAME).item
    if failed is not None:
        assert_classified(failed)
        assert (world.value(NAME), handed_out(world)) == (value, versions)
        assert item.next_rotation_at == due
        assert (item.rotator_status, item.error_code) == (RotatorStatus.FAILED, failed.code)
        assert value not in f"{failed} {failed.hint} {failed.details}"
    in_doubt = kind in ONE_VALUE and any(rotation.mint_uncertain for rotation in world.open_rotations())
    assert in_doubt or made.truth(world.value(NAME))
    fault.remove()
    settle(world)
    assert world.open_rotations() == []
    assert world.versions(NAME)[2] is Stage.CURRENT
    assert made.truth(world.value(NAME))
    assert made.clean()
    assert world.engine.reconcile().orphans == ()


def handed_out(world: World) -> dict[int, Stage]:
    """Not a pending version: nobody gets it."""
    return {number: stage for number, stage in world.versions(NAME).items() if stage is not Stage.PENDING}


def assert_classified(error: RotatorError) -> None:
    assert error.code in EXIT_CODES
    assert error.exit_code == 7, error
    assert error.hint


def settle(world: World) -> None:
    """Time passes, and somebody looks after what is left; what was parked is asked for again."""
    for _ in range(3):
        world.clock.advance(minutes=10)
        world.engine.reconcile()
    if any(rotation.state is RotationState.FAILED for rotation in world.open_rotations()):
        world.rotate(NAME)
        world.engine.reconcile()


# --- a clock that is off


class ClockOff:
    """The engine's clock as it is on a machine whose time is wrong."""

    def __init__(self, true: DrivenClock, by: timedelta) -> None:
        self._true = true
        self._by = by

    def now(self) -> datetime:
        return self._true.now() + self._by

    def wait_until(self, instant: datetime) -> None:
        self._true.wait_until(instant - self._by)


@pytest.mark.parametrize("minutes", [-10, 10])
@pytest.mark.parametrize("kind", [pytest.param(k, marks=() if k in CLOCKED else pytest.mark.full) for k in KINDS])
def test_a_clock_that_is_ten_minutes_off_costs_nothing(
    world: World, control: Control, make_application: MakeApplication, kind: str, minutes: int
):
    """Azure's clock counts: no start is sent, an end lies far away, a signature may be 15 minutes old."""
    made = KINDS[kind][0](world, control, make_application)
    made.create()
    wrong = world.process(clock=ClockOff(world.clock, timedelta(minutes=minutes))).engine
    world.clock.advance(minutes=20)  # so that nothing of before lies in the future
    done = world.rotate(NAME, engine=wrong)
    assert (done.version, done.status) == (2, "RotationSucceeded")
    world.clock.advance(minutes=20)
    wrong.reconcile()
    assert world.open_rotations() == []
    assert made.truth(world.value(NAME))
    assert made.clean()
