"""Commands on event forwarders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from azure_rotator.cli.changes import changes_of
from azure_rotator.cli.credentials import with_credentials
from azure_rotator.cli.flags import name_flag, parameter_flags, some_flags
from azure_rotator.cli.invocation import Invocation, command, refuse_at_once, required
from azure_rotator.cli.tables import pairs, table
from azure_rotator.domain.errors import Unavailable
from azure_rotator.domain.instants import iso
from azure_rotator.domain.model import ForwarderType

if TYPE_CHECKING:
    from azure_rotator.engine.views import ForwarderView

_NOUN = "event forwarder"
_COLUMNS = {
    "forwarder_name": "NAME",
    "forwarder_type": "TYPE",
    "runner_type": "RUNS",
    "pending": "PENDING",
    "given_up": "GIVEN UP",
    "last_delivery_date": "LAST DELIVERY",
    "last_error": "LAST ERROR",
}


@command(
    about="Send events to an HTTPS address, from now on: a JSON list, signed, retried for 24 hours. What is taken is "
    "answered with 2xx; each event comes at least once, a repeated one with the same event_id.",
    flags=parameter_flags("webhook"),
)
def create_webhook(call: Invocation, /, **given: object) -> None:
    _create(call, ForwarderType.WEBHOOK, given)


@command(
    about="Send events by mail, from now on. The mail server is named by the variables AZURE_ROTATOR_SMTP_HOST, _PORT, "
    "_TLS, _USERNAME, _PASSWORD and _FROM of the process that delivers.",
    flags=parameter_flags("email"),
)
def create_email(call: Invocation, /, **given: object) -> None:
    _create(call, ForwarderType.EMAIL, given)


def _create(call: Invocation, kind: ForwarderType, given: Mapping[str, object]) -> None:
    values = with_credentials(call.console, kind.value, given)
    refuse_at_once(kind.value, values)
    with call.engine() as engine:
        view = engine.forwarding.create(kind, values)
    _tell(call, view)


@command(
    about="Change what is given; the type stays. What it could not send before is due again.",
    flags=[*parameter_flags("webhook", update=True), *some_flags("email", "email_to", "include_error")],
)
def update(call: Invocation, /, name: str | None, new_name: str | None, **given: object) -> None:
    path = required("--name", name)
    changes = changes_of("webhook", with_credentials(call.console, "webhook", given), new_name)
    with call.engine() as engine:
        view = engine.forwarding.update(changes, name=path)
    _tell(call, view)


@command(
    about="List event forwarders, with the events that wait to be sent, those that were given up after 24 hours, and "
    "why the latest try failed."
)
def list_all(call: Invocation, /) -> None:
    with call.engine() as engine:
        views = engine.forwarding.list_all()
    rows = [view.facts() for view in views]
    call.console.result({"forwarders": rows}, lambda: table(rows, _COLUMNS, empty="no event forwarders"))


@command(about="Send nothing more to one. What it had still to send is forgotten.", flags=[name_flag(_NOUN)])
def delete(call: Invocation, /, name: str | None) -> None:
    path = required("--name", name)
    with call.engine() as engine:
        view = engine.forwarding.delete(name=path)
    facts = {
        "forwarder_id": view.forwarder.forwarder_id,
        "forwarder_name": view.forwarder.name,
        "deleted": True,
        "not_sent": view.backlog.pending,
    }
    call.console.result(facts, lambda: f"deleted {view.forwarder.name}")


@command(
    about="Send what is due now, and end. The scheduler does this by itself; this is for who has cron and no scheduler."
)
def deliver(call: Invocation, /) -> None:

    with call.engine() as engine:
        done = engine.forwarding.deliver_due()
    facts = {"sent": done.sent, "failed": done.failed, "given_up": done.given_up, "next_at": iso(done.next_at)}
    call.console.result(facts, lambda: pairs(facts))
    if done.failed:
        raise Unavailable(
            "DeliveryFailed",
            f"{done.failed} of {done.sent + done.failed} deliveries failed",
            hint="azure-rotator event-forwarder list says why; they are tried again for 24 hours",
        )


def _tell(call: Invocation, view: ForwarderView) -> None:
    facts = {"name": view.forwarder.name, **view.facts()}
    call.console.result(facts, lambda: pairs(view.facts()))
