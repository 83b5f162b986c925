"""Event forwarders, and sending them what is due (features 2.4, 3.8).

Each call to a receiver is a claim, a call and a commit. A process that dies after the call has not committed it: the
next one sends the same events with the same ids, so that a receiver gets each at least once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypedDict

from azure_rotator.domain.backoff import retry_delay
from azure_rotator.domain.errors import Conflict, NotFound, RotatorError, Unavailable, rejection
from azure_rotator.domain.forwarding import KEPT_FOR, REFUSED, WEBHOOK_CREDENTIALS, next_try_at, shown_url
from azure_rotator.domain.model import Forwarder, ForwarderType, RunnerType, WebhookAuth
from azure_rotator.domain.names import canonical_path
from azure_rotator.domain.parameters import (
    SECRET_FORMS,
    Subject,
    is_reference,
    literal_text,
    refuse_form,
    secret_parameters,
    validate,
)
from azure_rotator.domain.ports import Backlog, Failure, Notice, Parcel, Postponement
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText
from azure_rotator.engine.account import refuse_characters
from azure_rotator.engine.arguments import Arguments, optional_int, optional_text, texts
from azure_rotator.engine.context import Context
from azure_rotator.engine.views import ForwarderView

_MOST_CALLS = 50
_LONGEST = timedelta(seconds=10)
_PRUNED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What became of what was due.

    Args:
        sent: Events that a receiver took.
        failed: Tries that failed, of an event each.
        given_up: Events that are not tried any more.
        next_at: When there is something to send again, perhaps now; None: nothing waits.
    """

    sent: int
    failed: int
    given_up: int
    next_at: datetime | None


class Forwarding:
    """Create, change, list and delete forwarders; deliver."""

    def __init__(self, context: Context) -> None:
        self._c = context
        self._pruned_at: datetime | None = None

    def create(self, forwarder_type: ForwarderType, arguments: Arguments) -> ForwarderView:
        """Send events from now on.

        Raises:
            Rejected: Every failed rule at once; ``ReferenceUnresolved``.
            Conflict: ``NameConflict``.
        """
        values = self._validated(_SUBJECTS[forwarder_type], arguments)
        name = str(values["name"])
        refuse_characters(self._c.uow.account(), name)
        if self._c.uow.find_forwarder(name) is not None:
            raise Conflict("NameConflict", f'there is an event forwarder "{name}" already', hint="choose another name")
        now, forwarder_id = self._c.clock.now(), self._c.new_id()
        made = Forwarder(
            forwarder_id=forwarder_id,
            forwarder_type=forwarder_type,
            created_at=now,
            modified_at=now,
            **_settings(values),
            **self._secrets(values, forwarder_id),
        )
        self._c.uow.insert_forwarder(made, self._c.audit("create_event_forwarder", name))
        return self._view(made)

    def update(self, changes: Arguments, *, name: str) -> ForwarderView:
        """Change what is given; None resets to the default; credentials that are not given stay. What failed before is
        due again.

        Raises:
            Rejected, NotFound, Conflict: Nothing was changed.
        """
        present = self._find(name)
        subject = _SUBJECTS[present.forwarder_type]
        merged = {**_arguments(present), **changes}
        same_way = merged.get("auth_type") == (present.auth_type.value if present.auth_type else None)
        kept = {"url", "signing_key"} - changes.keys()
        if present.auth_type is not None and same_way:
            kept |= {WEBHOOK_CREDENTIALS[present.auth_type]} - changes.keys()
        if not same_way and "username" not in changes:
            merged["username"] = None
        if merged.get("runner_type") != RunnerType.PERIODIC and "every" not in changes:
            merged["every"] = None
        values = self._validated(subject, merged, kept=kept)
        if values["name"] != present.name:
            refuse_characters(self._c.uow.account(), str(values["name"]))
        changed = replace(
            present,
            modified_at=self._c.clock.now(),
            revision=present.revision + 1,
            **_settings(values),
        )
        if not same_way:
            changed = replace(changed, credential_reference=None, sealed_credential=None)
        changed = replace(changed, **self._secrets(values, present.forwarder_id))
        audit = self._c.audit("update_event_forwarder", changed.name, changed=sorted(changes))
        self._c.uow.update_forwarder(changed, audit, take_up=True)
        return self._view(changed)

    def delete(self, *, name: str) -> ForwarderView:
        """Send nothing more to it; what is still to be sent is forgotten, the events stay.

        Raises: NotFound ``ItemNotFound``, Conflict ``ItemLocked``.
        """
        forwarder = self._find(name)
        view = self._view(forwarder)
        audit = self._c.audit("delete_event_forwarder", forwarder.name, not_sent=view.backlog.pending)
        self._c.uow.delete_forwarder(forwarder, audit)
        return view

    def list_all(self) -> list[ForwarderView]:
        """By name, each with what it has still to send and what it could not."""
        backlogs = self._c.uow.backlogs()
        return [
            ForwarderView(forwarder=one, backlog=backlogs.get(one.forwarder_id, Backlog()))
            for one in self._c.uow.list_forwarders()
        ]

    # --- delivering -----------------------------------------------------------------------------------------------

    def deliver_due(self, *, stopping: Callable[[], bool] = lambda: False) -> Delivered:
        """Send what is due, oldest first, in 50 calls at most, none begun after 10 seconds; one forwarder that fails
        does not stop others.

        Args:
            stopping: Whether to begin no further call.

        Raises:
            Unavailable: ``StoreUnavailable``; what was sent and could not be recorded is sent again.
        """
        self._prune()
        sent = failed = given_up = 0
        end = self._c.clock.now() + _LONGEST
        for _ in range(_MOST_CALLS):
            now = self._c.clock.now()
            due = self._c.uow.next_delivery_at()
            if due is None or due > now or now >= end or stopping():
                break
            parcel = self._c.uow.claim_parcel(self._c.worker, now)
            if parcel is None:
                break  # others are at it
            error = self._refused(parcel)
            if error is None:
                self._c.uow.record_delivered(parcel, self._c.clock.now())
                sent += len(parcel.deliveries)
            else:
                failed += len(parcel.deliveries)
                given_up += self._put_off(parcel, error)
        return Delivered(sent=sent, failed=failed, given_up=given_up, next_at=self._c.uow.next_delivery_at())

    def _refused(self, parcel: Parcel) -> RotatorError | None:
        """Why the receiver did not get it; None: it did."""
        forwarder = parcel.forwarder
        try:
            notice = Notice(
                forwarder=forwarder,
                events=parcel.events,
                at=self._c.clock.now(),
                url=self._opened("url", forwarder),
                credential=self._opened("credential", forwarder),
                signing_key=self._opened("signing_key", forwarder),
            )
            self._c.notifiers[forwarder.forwarder_type].send(notice)
        except RotatorError as error:
            self._c.observer.note("not delivered", forwarder=forwarder.name, code=error.code, text=error.message)
            return error
        self._c.observer.note("delivered", forwarder=forwarder.name, events=len(parcel.events))
        return None

    def _put_off(self, parcel: Parcel, error: RotatorError) -> int:
        """Returns: how many are given up."""
        now, retry_after = self._c.clock.now(), None
        if isinstance(error, Unavailable):
            retry_after = error.retry_after_seconds
        jitter = self._c.entropy.jitter()
        failed = [
            Postponement(
                event_id=one.event_id,
                next_attempt_at=next_try_at(
                    now,
                    first_attempt_at=one.first_attempt_at or now,
                    attempts=one.attempts + 1,
                    jitter=jitter,
                    retry_after_seconds=retry_after,
                ),
            )
            for one in parcel.deliveries
        ]
        # What was sent alone may itself be what the receiver cannot take; only then do the others go on at once.
        alone = error.code == REFUSED
        others_at = None if alone else now + retry_delay(1, jitter=jitter, retry_after_seconds=retry_after)
        behind = self._c.uow.record_failed(
            parcel,
            failed,
            Failure(code=error.code, text=f"{error.message}; {error.hint}" if error.hint else error.message),
            at=now,
            others_at=others_at,
        )
        return behind + sum(one.next_attempt_at is None for one in failed)

    def _prune(self) -> None:
        now = self._c.clock.now()
        if self._pruned_at is None or now - self._pruned_at >= _PRUNED_EVERY:
            self._c.uow.drop_deliveries(now - KEPT_FOR)
            self._pruned_at = now

    # --- private --------------------------------------------------------------------------------------------------

    def _validated(
        self, subject: Subject, arguments: Arguments, *, kept: set[str] | frozenset[str] = frozenset()
    ) -> dict[str, object]:
        values, problems = validate(subject, arguments, unknown=kept)
        for name in sorted(SECRET_FORMS.keys() & values.keys() - {one.property for one in problems}):
            given = str(values[name])
            if is_reference(given):
                problems += refuse_form(name, fits=self._c.references.resolve(given).satisfies(SECRET_FORMS[name]))
        if problems:
            raise rejection(problems)
        return values

    def _secrets(self, values: Arguments, forwarder_id: str) -> _Secrets:
        """Those that were given: a reference is stored as such and resolved at each use, all else is sealed."""
        stored = _Secrets()
        if "url" in values:
            url = str(values["url"])
            stored["url"] = shown_url(url)
            stored["sealed_url"] = self._c.sealer.seal(SecretText(url), forwarder_place(forwarder_id, "url"))
        for name in secret_parameters("webhook") & values.keys():
            text = str(values[name])
            part = "signing_key" if name == "signing_key" else "credential"
            reference = text if is_reference(text) else None
            sealed = None
            if reference is None:
                sealed = self._c.sealer.seal(SecretText(literal_text(text)), forwarder_place(forwarder_id, part))
            if part == "signing_key":
                stored["signing_reference"], stored["sealed_signing_key"] = reference, sealed
            else:
                stored["credential_reference"], stored["sealed_credential"] = reference, sealed
        return stored

    def _opened(self, part: str, forwarder: Forwarder) -> SecretText | None:
        references = {"credential": forwarder.credential_reference, "signing_key": forwarder.signing_reference}
        sealed = {
            "url": forwarder.sealed_url,
            "credential": forwarder.sealed_credential,
            "signing_key": forwarder.sealed_signing_key,
        }[part]
        reference = references.get(part)
        if reference is not None:
            return self._c.references.resolve(reference)
        return None if sealed is None else self._c.sealer.open(sealed, forwarder_place(forwarder.forwarder_id, part))

    def _find(self, name: str) -> Forwarder:
        path = canonical_path(name)
        forwarder = self._c.uow.find_forwarder(path)
        if forwarder is None:
            raise NotFound(
                "ItemNotFound",
                f'there is no event forwarder "{path}"',
                hint="azure-rotator event-forwarder list shows them",
            )
        return forwarder

    def _view(self, forwarder: Forwarder) -> ForwarderView:
        return ForwarderView(forwarder=forwarder, backlog=self._c.uow.backlogs().get(forwarder.forwarder_id, Backlog()))


def forwarder_place(forwarder_id: str, part: str) -> SealedFor:
    return SealedFor(table=f"forwarders.{part}", row=forwarder_id)


_SUBJECTS: dict[ForwarderType, Subject] = {ForwarderType.WEBHOOK: "webhook", ForwarderType.EMAIL: "email"}


class _Secrets(TypedDict, total=False):
    url: str
    sealed_url: SealedBytes
    credential_reference: str | None
    sealed_credential: SealedBytes | None
    signing_reference: str | None
    sealed_signing_key: SealedBytes | None


class _Settings(TypedDict):
    name: str
    runner_type: RunnerType
    every: int | None
    event_types: tuple[str, ...]
    items_event_source_locations: tuple[str, ...]
    targets_event_source_locations: tuple[str, ...]
    auth_type: WebhookAuth | None
    username: str | None
    email_to: tuple[str, ...]
    include_error: bool


def _settings(values: Arguments) -> _Settings:
    way = optional_text(values.get("auth_type"))
    return _Settings(
        name=str(values["name"]),
        runner_type=RunnerType(str(values["runner_type"])),
        every=optional_int(values.get("every")),
        event_types=texts(values, "event_types"),
        items_event_source_locations=texts(values, "items_event_source_locations"),
        targets_event_source_locations=texts(values, "targets_event_source_locations"),
        auth_type=WebhookAuth(way) if way else None,
        username=optional_text(values.get("username")),
        email_to=texts(values, "email_to"),
        include_error=values.get("include_error") is True,
    )


def _arguments(forwarder: Forwarder) -> dict[str, object]:
    """The live arguments that are no credentials, by parameter name."""
    common: dict[str, object] = {
        "name": forwarder.name,
        "runner_type": forwarder.runner_type.value,
        "every": forwarder.every,
        "event_types": forwarder.event_types,
        "items_event_source_locations": forwarder.items_event_source_locations,
        "targets_event_source_locations": forwarder.targets_event_source_locations,
    }
    if forwarder.forwarder_type is ForwarderType.EMAIL:
        return common | {"email_to": forwarder.email_to, "include_error": forwarder.include_error}
    return common | {
        "auth_type": forwarder.auth_type.value if forwarder.auth_type else None,
        "username": forwarder.username,
    }
