"""Events reach people: real receivers, a driven clock, processes that die and receivers that are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from azure_rotator.domain.errors import Unavailable
from azure_rotator.domain.model import ForwarderType
from azure_rotator.engine.context import Limits
from azure_rotator.engine.forwarding import Delivered
from azure_rotator.engine.service import Engine
from azure_rotator.engine.views import ForwarderView
from azure_sandbox.testing import Control
from tests.engine.world import ITEM, World, refused
from tests.plugins.azure import MakeApplication
from tests.plugins.receivers import Answer, Mailbox, Webhook
from tests.rows import row

KEY = "a-signing-key-of-thirty-two-bytes"
TOKEN = "a-token-that-nobody-may-see"
SUCCESS, FAILURE = "rotated-secret-success", "rotated-secret-failure"
REMINDER = "next-automatic-rotation"


def hook(world: World, webhook: Webhook, *, engine: Engine | None = None, **changes: Any) -> ForwarderView:
    given = {"name": "/ops", "url": webhook.url, "signing_key": f"literal:{KEY}"} | changes
    return (engine or world.engine).forwarding.create(ForwarderType.WEBHOOK, given)


def mail(world: World, **changes: Any) -> ForwarderView:
    given = {"name": "/mail", "email_to": ["ops@example.org"], "include_error": True} | changes
    return world.engine.forwarding.create(ForwarderType.EMAIL, given)


def deliver(world: World, **duration: float) -> Delivered:
    world.clock.advance(**duration)
    return world.engine.forwarding.deliver_due()


def seen(world: World, name: str = "/ops") -> dict[str, Any]:
    return next(view.facts() for view in world.engine.forwarding.list_all() if view.forwarder.name == name)


def event_ids(world: World) -> list[str]:
    return [event.event_id for event in world.engine.events()]


def fail_once(world: World, control: Control) -> None:
    """One rotation that Graph does not answer."""
    fault = control.add_fault("graph.getApplication", app=world.workload.app_id, preset="unavailable-503", times=None)
    refused(world.rotate, engine=world.process(limits=Limits(foreground=timedelta())).engine)
    fault.remove()


# --- what reaches whom


@row("B-07")
def test_success_and_failure_reach_a_webhook_each_in_a_call_of_its_own(
    world: World, control: Control, webhook: Webhook
):
    hook(world, webhook, auth_type="bearer-token", auth_token=TOKEN)
    world.create()
    fail_once(world, control)
    done = deliver(world)
    assert (done.sent, done.failed, done.next_at) == (2, 0, None)
    assert [call.ids for call in webhook.calls] == [[event_id] for event_id in event_ids(world)]
    success, failure = (call.events[0] for call in webhook.calls)
    assert (success["event_type"], success["item_name"], success["version"]) == (SUCCESS, ITEM, 1)
    assert (failure["event_type"], failure["trigger"]) == (FAILURE, "manual")
    assert failure["payload"]["error_code"] == "AzureUnavailable"
    assert failure["payload"]["event_message"]
    for call in webhook.calls:
        assert call.signed_at(KEY) == int(world.clock.now().timestamp())
        assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert deliver(world, hours=30).sent == 0, "each once"


@row("B-07")
def test_success_and_failure_reach_people_by_mail_with_the_error(world: World, control: Control, mailbox: Mailbox):
    mail(world)
    world.create()
    fail_once(world, control)
    assert deliver(world).sent == 2
    assert [str(mail["Subject"]) for mail in mailbox.mails] == [
        f"[azure-rotator] {SUCCESS}: {ITEM}",
        f"[azure-rotator] {FAILURE}: {ITEM}",
    ]
    assert world.engine.events()[1].message[:20] in mailbox.mails[1].get_content()


@row("B-07", "AK-52")
def test_a_reminder_reaches_webhook_and_mail(world: World, webhook: Webhook, mailbox: Mailbox):
    hook(world, webhook, event_types=[REMINDER])
    mail(world, event_types=[REMINDER])
    world.create(auto_rotate=True, rotation_interval=30, rotation_event_in=[5])
    world.tick()
    world.days_later(25)
    (reminder,) = [event for event in world.engine.events() if event.event_type == REMINDER]
    assert [call.ids for call in webhook.calls] == [[reminder.event_id]]
    assert [str(one["Subject"]) for one in mailbox.mails] == [f"[azure-rotator] {REMINDER}: {ITEM}"]


@row("B-07")
@pytest.mark.parametrize("every", [1, 24])
def test_a_periodic_one_sends_one_list_when_its_hours_are_over(world: World, webhook: Webhook, every: int):
    hook(world, webhook, runner_type="periodic", every=every)
    world.create(revoke_after="0")
    world.rotate()
    assert deliver(world).next_at == world.clock.now() + timedelta(hours=every)
    assert webhook.calls == []
    assert deliver(world, hours=every).sent == 2
    (call,) = webhook.calls
    assert call.ids == event_ids(world)
    assert deliver(world, hours=every).sent == 0


def test_only_what_a_forwarder_asks_for_is_sent(world: World, webhook: Webhook, make_application: MakeApplication):
    world.create_target("/azure/other")
    hook(world, webhook, name="/types", event_types=[FAILURE])
    hook(world, webhook, name="/items", items_event_source_locations=["dev/*"])
    hook(world, webhook, name="/targets", targets_event_source_locations=["azure/other"])
    world.create()
    assert deliver(world).sent == 0
    other = make_application("other", owners=[world.rotator.app_id])
    world.create(name="/dev/x", target_name="/azure/other", app_id=other.app_id)
    assert deliver(world).sent == 2
    assert [seen(world, name)["last_delivery_date"] is None for name in ("/types", "/items", "/targets")] == [
        True,
        False,
        False,
    ]


# --- a receiver that does not take them


@row("B-07")
def test_it_is_retried_with_back_off_for_a_day_with_the_same_id_then_given_up_in_sight(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    began = world.clock.now()
    webhook.answers = [Answer(500)] * 100
    tries = [timedelta()]
    done = deliver(world)
    assert (done.sent, done.failed, done.given_up) == (0, 1, 0)
    assert (seen(world)["pending"], seen(world)["last_error_code"]) == (1, "DeliveryFailed")
    assert "answered 500" in seen(world)["last_error"]
    while done.next_at is not None:
        assert deliver(world).failed == 0, "not before it is due"
        done = deliver(world, seconds=(done.next_at - world.clock.now()).total_seconds())
        tries.append(world.clock.now() - began)
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert timedelta(minutes=1) <= gaps[0] < timedelta(minutes=2)
    assert all(gap <= timedelta(hours=6) for gap in gaps)
    assert gaps[:-1] == sorted(gaps[:-1])
    assert tries[-1] == timedelta(hours=24)
    assert done.given_up == 1
    assert {call.ids[0] for call in webhook.calls} == set(event_ids(world))
    assert len(webhook.calls) == len(tries)
    assert (seen(world)["pending"], seen(world)["given_up"]) == (0, 1)
    assert "answered 500" in seen(world)["last_error"]
    webhook.answers = []
    assert deliver(world, hours=48).sent == 0


@row("B-07")
def test_a_redelivery_has_the_same_id_and_a_new_signature(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    webhook.answers = [Answer(503)]
    deliver(world)
    first = world.clock.now()
    assert deliver(world, minutes=2).sent == 1
    one, two = webhook.calls
    assert one.body == two.body
    assert (one.signed_at(KEY), two.signed_at(KEY)) == (
        int(first.timestamp()),
        int(world.clock.now().timestamp()),
    )
    assert (seen(world)["pending"], seen(world)["last_error"]) == (0, None)


def test_a_receiver_that_asks_for_time_gets_it(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    webhook.answers = [Answer(429, {"Retry-After": "1800"})]
    assert deliver(world).next_at == world.clock.now() + timedelta(seconds=1800)


def test_one_that_is_gone_does_not_stop_another_and_is_asked_once(world: World, webhook: Webhook):
    hook(world, webhook, name="/gone", url="https://localhost:9/hook")
    hook(world, webhook)
    world.create(revoke_after="0")
    world.rotate()
    done = deliver(world)
    assert (done.sent, done.failed) == (2, 1), "nobody knocks twice where nobody is"
    assert (seen(world, "/gone")["pending"], seen(world)["pending"]) == (2, 0)


def test_one_event_that_is_refused_does_not_stop_the_next(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create(revoke_after="0")
    world.rotate()
    webhook.answers = [Answer(400)]
    done = deliver(world)
    assert (done.sent, done.failed) == (1, 1)
    assert [call.ids[0] for call in webhook.calls] == event_ids(world)


def test_a_change_of_the_address_sends_at_once_what_failed(world: World, webhook: Webhook):
    hook(world, webhook, url="https://localhost:9/hook")
    world.create()
    deliver(world)
    world.engine.forwarding.update({"url": webhook.url}, name="/ops")
    assert deliver(world).sent == 1
    webhook.calls[0].signed_at(KEY)


# --- changed and deleted


def test_a_renamed_one_keeps_what_it_has_to_send_and_its_credentials(world: World, webhook: Webhook):
    hook(world, webhook, auth_type="bearer-token", auth_token=TOKEN)
    world.create()
    view = world.engine.forwarding.update({"name": "/renamed", "event_types": [FAILURE]}, name="/ops")
    assert (view.forwarder.name, view.backlog.pending) == ("/renamed", 1)
    assert deliver(world).sent == 1
    assert webhook.calls[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_another_way_of_login_needs_its_own_credential_and_forgets_the_old_one(world: World, webhook: Webhook):
    hook(world, webhook, auth_type="bearer-token", auth_token=TOKEN)
    update = world.engine.forwarding.update
    assert refused(update, {"auth_type": "user-pass", "username": "ann"}, name="/ops").code == "ParameterMissing"
    update({"auth_type": "user-pass", "username": "ann", "password": "a-password"}, name="/ops")
    update({"auth_type": None}, name="/ops")
    (forwarder,) = (view.forwarder for view in world.engine.forwarding.list_all())
    assert (forwarder.sealed_credential, forwarder.username) == (None, None)


def test_a_deleted_one_gets_nothing_more_and_the_events_stay(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    gone = world.engine.forwarding.delete(name="ops")
    assert gone.backlog.pending == 1
    assert deliver(world).sent == 0
    assert webhook.calls == []
    assert len(world.engine.events()) == 1
    assert refused(world.engine.forwarding.delete, name="/ops").code == "ItemNotFound"
    actions = [(line.action, line.path, line.details) for line in world.audit() if "forwarder" in line.action]
    assert actions == [
        ("create_event_forwarder", "/ops", {}),
        ("delete_event_forwarder", "/ops", {"not_sent": 1}),
    ]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is taken": ({}, "NameConflict"),
    "a reference to nothing": ({"name": "/b", "signing_key": "env:NOT_SET"}, "ReferenceUnresolved"),
    "a reference to a short key": ({"name": "/b", "signing_key": "env:SHORT"}, "ParameterInvalid"),
    "no address": ({"name": "/b", "url": "http://localhost"}, "ParameterInvalid"),
}


@pytest.mark.parametrize(("changes", "code"), REFUSED.values(), ids=list(REFUSED))
def test_what_cannot_work_is_refused_and_nothing_is_stored(
    world: World, webhook: Webhook, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: str
):
    monkeypatch.setenv("SHORT", "short")
    hook(world, webhook)
    before = world.tables()
    assert refused(hook, world, webhook, **changes).code == code
    assert world.tables() == before


def test_a_reference_is_resolved_at_each_sending(world: World, webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SIGNING", KEY)
    hook(world, webhook, signing_key="env:SIGNING")
    world.create(revoke_after="0")
    monkeypatch.delenv("SIGNING")
    assert deliver(world).failed == 1
    assert seen(world)["last_error_code"] == "ReferenceUnresolved"
    monkeypatch.setenv("SIGNING", KEY[::-1])
    assert deliver(world, minutes=2).sent == 1
    webhook.calls[0].signed_at(KEY[::-1])


# --- the scheduler


@row("B-07")
def test_the_scheduler_sends_what_its_own_rotations_tell(world: World, webhook: Webhook):
    world.create(auto_rotate=True, rotation_interval=7)
    hook(world, webhook)
    world.days_later(7)
    assert [event["trigger"] for call in webhook.calls for event in call.events] == ["automatic"]


def test_a_scheduler_that_runs_sends_while_it_waits_and_ends_when_it_is_told_to(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    scheduler = world.scheduler()
    webhook.during = lambda call: scheduler.stop()
    scheduler.run()
    assert [call.ids for call in webhook.calls] == [event_ids(world)]
    assert seen(world)["pending"] == 0


# --- several processes, and those that die


@row("B-07")
def test_while_one_process_sends_another_does_not(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    other = world.process().engine
    meanwhile: list[Delivered] = []
    webhook.during = lambda call: meanwhile.append(other.forwarding.deliver_due())
    assert deliver(world).sent == 1
    assert [done.sent for done in meanwhile] == [0]
    assert len(webhook.calls) == 1


class Killed(BaseException):
    """As if the process ended here."""


@row("B-07")
@pytest.mark.parametrize("when", ["before the call", "after the call"])
def test_who_dies_in_a_delivery_is_followed_by_one_who_makes_it(world: World, webhook: Webhook, when: str):
    hook(world, webhook)
    world.create()
    dying = world.process()

    def die(*_: object, **__: object) -> Callable[[], object] | None:
        if when == "after the call":
            raise Killed
        return _raise

    def _raise() -> None:
        raise Killed

    dying.store.before["record_delivered" if when == "after the call" else "claim_parcel"] = die
    with pytest.raises(Killed):
        dying.engine.forwarding.deliver_due()
    assert deliver(world).sent == 0, "its lease still runs"
    world.expire_leases()
    assert deliver(world).sent == 1
    assert len(webhook.calls) == (2 if when == "after the call" else 1)
    assert {call.ids[0] for call in webhook.calls} == set(event_ids(world))


def test_a_store_that_is_locked_when_a_delivery_was_made_sends_it_again(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    world.main.store.before["record_delivered"] = world.locked_deliveries
    error = refused(world.engine.forwarding.deliver_due)
    assert isinstance(error, Unavailable)
    assert error.code == "StoreUnavailable"
    del world.main.store.before["record_delivered"]
    world.expire_leases()
    assert deliver(world).sent == 1
    assert [call.ids for call in webhook.calls] == [event_ids(world)] * 2


def test_a_call_is_bounded_and_says_that_there_is_more(world: World, webhook: Webhook, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("azure_rotator.engine.forwarding._MOST_CALLS", 1)
    hook(world, webhook)
    world.create(revoke_after="0")
    world.rotate()
    done = deliver(world)
    assert done.sent == 1
    assert done.next_at is not None
    assert done.next_at <= world.clock.now()
    assert deliver(world).sent == 1


def test_slow_receivers_do_not_keep_who_delivers(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create(revoke_after="0")
    world.rotate()
    webhook.during = lambda call: world.clock.advance(seconds=10)
    assert deliver(world).sent == 1
    assert deliver(world).sent == 1


def test_what_was_sent_is_forgotten_after_a_month_and_its_event_stays(world: World, webhook: Webhook):
    hook(world, webhook)
    world.create()
    deliver(world)
    deliver(world, days=29)
    assert seen(world)["last_delivery_date"]
    deliver(world, days=2)
    assert seen(world)["last_delivery_date"] is None
    assert len(event_ids(world)) == 1


def test_no_error_is_swallowed_silently(world: World, webhook: Webhook):
    """Whatever a notifier raises on purpose is on the row, and in the log."""
    hook(world, webhook)
    world.create()
    webhook.answers = [Answer(404)]
    deliver(world)
    (noted,) = [fields for event, fields in world.notes.noted if event == "not delivered"]
    assert noted["code"] == "DeliveryFailed"
