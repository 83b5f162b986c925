"""No credential leaves with an event: not an item's, not the forwarder's own (F66)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from azure_rotator.domain.model import ForwarderType
from azure_rotator.engine.context import Limits
from azure_sandbox.testing import Control, Sandbox
from tests.engine.world import World, refused, worlds
from tests.leak.evidence import Evidence, every_log, rows_of, told
from tests.leak.search import Canaries
from tests.plugins.azure import App
from tests.plugins.receivers import Answer, Authority, Mailbox, Webhook
from tests.rows import row

PLACES = ("bodies", "headers", "mails", "logs", "answers", "rows", "the store's files")


@pytest.fixture
def world(
    request: pytest.FixtureRequest, azure: Sandbox, tmp_path: Path, control: Control, rotator: App, workload: App
) -> Iterator[World]:
    yield from worlds(tmp_path, control, rotator, workload, seed=request.node.nodeid)


@row("F66", "AK-29", "B-07")
def test_no_credential_is_in_a_body_a_mail_a_log_or_an_answer(
    world: World, control: Control, webhook: Webhook, mailbox: Mailbox, authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    canaries, evidence = Canaries(), Evidence()
    own = {
        name: canaries.add(name, f"{name.replace(' ', '-')}-Q3x~ö+/%") for name in ("the signing key", "the password")
    }
    token = canaries.add("the token", "the-token-7yZ.q8~Wm3Kp")
    query = canaries.add("the address's key", "key-in-the-address-5tGv")
    certificate = authority.client()
    key_of_it = "".join(certificate.partition("PRIVATE KEY-----")[2].partition("-----END")[0].split())
    mail_password = canaries.add("the mail server's password", "the-mail-server's-Q3x~+/%")
    canaries.add("the certificate's key", key_of_it[20:80])
    canaries.add("the Target's secret", world.rotator.secret)
    monkeypatch.setenv("AZURE_ROTATOR_SMTP_USERNAME", "ann")
    monkeypatch.setenv("AZURE_ROTATOR_SMTP_PASSWORD", mail_password)
    mailbox.login = ("ann", mail_password)
    ways: dict[str, dict[str, Any]] = {
        "/user": {"auth_type": "user-pass", "username": "ann", "password": own["the password"]},
        "/token": {"auth_type": "bearer-token", "auth_token": token},
        "/certificate": {"auth_type": "certificate", "client_certificate": certificate},
        "/list": {"runner_type": "periodic", "every": 1},
        "/gone": {"url": f"https://localhost:9/?code={query}"},
    }
    with every_log(lambda text: evidence.add("logs", "a log", text)):
        world.create_target()
        forwarding = world.engine.forwarding
        for name, way in ways.items():
            url = {"name": name, "url": f"{webhook.url}?code={query}", "signing_key": own["the signing key"]}
            evidence.add("answers", name, told(forwarding.create(ForwarderType.WEBHOOK, url | way)))
        everybody = {"name": "/mail", "email_to": ["ops@example.org"], "include_error": True}
        evidence.add("answers", "mail", told(forwarding.create(ForwarderType.EMAIL, everybody)))
        world.create(revoke_after="0")
        canaries.add("version 1", world.value())
        world.rotate()
        canaries.add("version 2", world.value())
        fault = control.add_fault(
            "graph.getApplication", app=world.workload.app_id, preset="unavailable-503", times=None
        )
        refused(world.rotate, engine=world.process(limits=Limits(foreground=timedelta())).engine)
        fault.remove()
        webhook.answers = [Answer(500), Answer(400), Answer(401), Answer(307, {"Location": f"https://x/?c={query}"})]
        for _ in range(3):
            evidence.add("answers", "delivered", told(forwarding.deliver_due()))
            world.clock.advance(hours=2)
        for view in forwarding.list_all():
            evidence.add("answers", view.forwarder.name, told(view))
        evidence.add("answers", "audit", told(list(world.audit())))
    # The receiver is told who sends, and nothing else is told anybody.
    sent = {"the password", "the token"}
    for call in webhook.calls:
        evidence.add("bodies", "a body", call.body)
        evidence.add("headers", "a request", repr(call.headers), but=sent)
    for mail in mailbox.mails:
        evidence.add("mails", "a mail", mail.as_bytes() + repr(list(mail.items())).encode())
    store = world.folder / "main"
    evidence.add_files("the store's files", store)
    for table, content in rows_of(store / "store.db"):
        evidence.add("rows", table, content)
    leaks = {place: evidence.leaks(place, canaries) for place in PLACES}
    assert {place: found for place, found in leaks.items() if found} == {}
    assert set(evidence.found) == set(PLACES), "every place was looked at"
    assert all(evidence.found[place] for place in PLACES)
    kinds = {event["event_type"] for call in webhook.calls for event in call.events}
    assert kinds >= {"rotated-secret-success", "rotated-secret-failure"}
    assert any(call.presented for call in webhook.calls)
    assert len(mailbox.mails) == 3
