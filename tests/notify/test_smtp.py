"""Mail against a real SMTP server: what it says, to whom, and that nothing is sent in clear."""

from __future__ import annotations

import os
import traceback

import pytest

from azure_rotator.domain.errors import Unavailable
from azure_rotator.notify.smtp import Mails
from tests.notify.notices import by_mail, event
from tests.plugins.receivers import HOST, Authority, Mailbox

PASSWORD = "a-password-of-the-mail-server"


def send(*events, **changes) -> None:
    Mails(os.environ, seconds=10).send(by_mail(*events, **changes))


def refused(**changes) -> str:
    with pytest.raises(Unavailable) as error:
        send(**changes)
    assert error.value.code == "DeliveryFailed"
    assert PASSWORD not in "".join(traceback.format_exception(error.value))
    return error.value.message


def test_a_mail_names_event_and_item_and_is_plain_text(mailbox: Mailbox):
    send(email_to=("ops@example.org", "ann@example.org"), include_error=True)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[azure-rotator] rotated-secret-failure: /prod/billing"
    assert (mail["From"], mail["To"]) == ("rotator@example.org", "ops@example.org, ann@example.org")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == [
        "item:    /prod/billing",
        "event:   rotated-secret-failure",
        "time:    2026-03-01T09:00:00Z",
        "trigger: automatic",
        "error:   AzurePermissionMissing",
        "message: Graph refuses söhne",
        "id:      event-1",
    ]
    assert mailbox.recipients == [["ops@example.org", "ann@example.org"]]
    assert set(mailbox.in_clear) == {"EHLO", "STARTTLS"}


def test_the_text_of_an_error_is_told_only_to_who_wants_it(mailbox: Mailbox):
    send(include_error=False)
    text = mailbox.mails[0].get_content()
    assert "Graph" not in text
    assert "AzurePermissionMissing" in text


def test_a_list_is_one_mail(mailbox: Mailbox):
    send(event(1), event(2, item_name="/prod/other", version=4, error_code=None, message="rotated"))
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[azure-rotator] rotated-secret-failure: /prod/billing and 1 more"
    assert [line for line in mail.get_content().splitlines() if line.startswith("id:")] == [
        "id:      event-1",
        "id:      event-2",
    ]


def test_a_repeated_mail_has_the_same_id_and_another_one_has_not(mailbox: Mailbox):
    for number in (1, 1, 2):
        send(event(number), forwarder_id="abcdefghijklmnop")
    first, again, other = (mail["Message-ID"] for mail in mailbox.mails)
    assert first == again
    assert first != other


def test_what_an_event_says_makes_no_header_and_no_line_of_its_own(mailbox: Mailbox):
    evil = event(item_name="/a\r\nBcc: eve@example.org", message="x\r\n.\r\nid:      forged", error_code=None)
    send(evil)
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[azure-rotator] rotated-secret-failure: /a Bcc: eve@example.org"
    assert mailbox.recipients == [["ops@example.org"]]
    assert [line for line in mail.get_content().splitlines() if line.startswith("id:")] == ["id:      event-1"]


def test_a_login_is_made_inside_tls(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch):
    mailbox.login = ("ann", PASSWORD)
    monkeypatch.setenv("AZURE_ROTATOR_SMTP_USERNAME", "ann")
    monkeypatch.setenv("AZURE_ROTATOR_SMTP_PASSWORD", "another")
    assert "refuses the login (535)" in refused()
    monkeypatch.setenv("AZURE_ROTATOR_SMTP_PASSWORD", PASSWORD)
    send()
    assert len(mailbox.mails) == 1
    assert "AUTH" not in mailbox.in_clear


def test_tls_from_the_first_byte(trusted: Authority, monkeypatch: pytest.MonkeyPatch):
    with Mailbox(trusted.server(), from_the_start=True).serving() as box:
        settings = {"HOST": HOST, "PORT": str(box.port), "FROM": "r@example.org", "TLS": "smtps"}
        for name, value in settings.items():
            monkeypatch.setenv(f"AZURE_ROTATOR_SMTP_{name}", value)
        send()
    assert len(box.mails) == 1


def test_a_server_without_tls_gets_nothing(mailbox: Mailbox):
    mailbox.offers_tls = False
    assert "breaks off (SMTPNotSupportedError)" in refused()
    assert (mailbox.mails, mailbox.in_clear) == ([], ["EHLO"])


def test_a_server_that_nobody_trusts_gets_nothing(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "no certificate that is trusted" in refused()
    assert mailbox.mails == []


def test_addresses_that_are_refused_are_named(mailbox: Mailbox):
    mailbox.refused = {"gone@example.org": 550}
    assert "refuses gone@example.org" in refused(email_to=("gone@example.org",))
    assert "refuses gone@example.org" in refused(email_to=("ops@example.org", "gone@example.org"))
    assert mailbox.recipients == [["ops@example.org"]], "the others have it"


SETTINGS = {
    "no host": ({"HOST": ""}, "AZURE_ROTATOR_SMTP_HOST is not set"),
    "no sender": ({"FROM": ""}, "AZURE_ROTATOR_SMTP_FROM is no e-mail address"),
    "a sender with a header": ({"FROM": "a@b.org\nBcc: eve@b.org"}, "AZURE_ROTATOR_SMTP_FROM is no e-mail address"),
    "no number": ({"PORT": "smtp"}, "AZURE_ROTATOR_SMTP_PORT is no port's number"),
    "a number too large": ({"PORT": "99999999"}, "AZURE_ROTATOR_SMTP_PORT is no port's number"),
    "a password that cannot be sent": ({"PASSWORD": "söhne"}, "AZURE_ROTATOR_SMTP_PASSWORD is not ASCII"),
    "in clear": ({"TLS": "none"}, "AZURE_ROTATOR_SMTP_TLS is neither starttls nor smtps"),
}


@pytest.mark.parametrize(("settings", "told"), SETTINGS.values(), ids=list(SETTINGS))
def test_a_setting_that_is_wrong_is_told(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
):
    for name, value in settings.items():
        monkeypatch.setenv(f"AZURE_ROTATOR_SMTP_{name}", value)
    assert told in refused()
