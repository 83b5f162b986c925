"""Mail through one SMTP server, always encrypted: STARTTLS, or TLS from the first byte.

The server is a matter of the machine, not of the store: ``AZURE_ROTATOR_SMTP_HOST``, ``_PORT``, ``_TLS``
(``starttls``, ``smtps``), ``_USERNAME``, ``_PASSWORD``, ``_FROM``.
"""

from __future__ import annotations

import hashlib
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from azure_rotator.domain.errors import RotatorError, Unavailable
from azure_rotator.domain.forwarding import is_address
from azure_rotator.domain.ports import Notice
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.notify.bodies import as_text, subject

PREFIX: Final = "AZURE_ROTATOR_"
_PORTS: Final = {"starttls": 587, "smtps": 465}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The mail server as the environment names it."""

    host: str
    port: int
    tls: str
    sender: str
    username: str
    password: SecretText

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Server | str:
        """The server, or what is wrong with the settings."""

        def setting(name: str, default: str = "") -> str:
            return environment.get(PREFIX + name, "") or default

        tls = setting("SMTP_TLS", "starttls")
        if not setting("SMTP_HOST"):
            return f"{PREFIX}SMTP_HOST is not set"
        if tls not in _PORTS:
            return f"{PREFIX}SMTP_TLS is neither starttls nor smtps"
        port = setting("SMTP_PORT", str(_PORTS[tls]))
        if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65_536):
            return f"{PREFIX}SMTP_PORT is no port's number"
        if not is_address(setting("SMTP_FROM")):
            return f"{PREFIX}SMTP_FROM is no e-mail address"
        if not setting("SMTP_PASSWORD").isascii():
            return f"{PREFIX}SMTP_PASSWORD is not ASCII, which is all that Python's SMTP logs in with"
        return cls(
            host=setting("SMTP_HOST"),
            port=int(port),
            tls=tls,
            sender=setting("SMTP_FROM"),
            username=setting("SMTP_USERNAME"),
            password=SecretText(setting("SMTP_PASSWORD")),
        )


class Mails:
    """Implements ``Notifier``.

    Args:
        seconds: The limit of one step of the conversation with the server.
    """

    def __init__(self, environment: Mapping[str, str], *, seconds: float) -> None:
        self._environment = environment
        self._seconds = seconds

    def send(self, notice: Notice) -> None:
        server = Server.read(self._environment)
        if isinstance(server, str):
            raise _failed(notice, server, hint="set it for the process that sends: the scheduler")
        try:
            with self._connected(server) as connection:
                if server.username:
                    connection.login(server.username, server.password.reveal())
                refused = connection.send_message(message(notice, server.sender))
        except smtplib.SMTPAuthenticationError as error:
            problem = f"{server.host} refuses the login ({error.smtp_code})"
        except smtplib.SMTPRecipientsRefused as error:
            problem = f"{server.host} refuses {', '.join(sorted(error.recipients))}"
        except smtplib.SMTPResponseException as error:
            problem = f"{server.host} answered {error.smtp_code}"
        except ssl.SSLCertVerificationError:
            problem = f"{server.host} has no certificate that is trusted here"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            problem = f"{server.host} cannot be reached, or breaks off ({type(error).__name__})"
        else:
            if not refused:
                return
            # The others have it, and will get it again: at least once is for each of them.
            problem = f"{server.host} refuses {', '.join(sorted(refused))}"
        # Raised here: the exception of a failed login may hold what was sent.
        raise _failed(
            notice, problem, hint=f"look at email_to, at the variables {PREFIX}SMTP_… and at the server's log"
        )

    def _connected(self, server: Server) -> smtplib.SMTP:
        trust = ssl.create_default_context()
        if server.tls == "smtps":
            return smtplib.SMTP_SSL(server.host, server.port, timeout=self._seconds, context=trust)
        connection = smtplib.SMTP(server.host, server.port, timeout=self._seconds)
        try:
            connection.starttls(context=trust)  # an error where the server offers none: nothing is sent in clear
        except BaseException:
            connection.close()
            raise
        return connection


def message(notice: Notice, sender: str) -> EmailMessage:
    """The mail. Its Message-ID is made of the events', so that mail programs show a repeated one once."""
    made = EmailMessage(policy=SMTP)
    made["From"] = sender
    made["To"] = ", ".join(notice.forwarder.email_to)
    made["Subject"] = " ".join(subject(notice.events).split())
    made["Date"] = format_datetime(notice.at)
    ids = [notice.forwarder.forwarder_id, *(event.event_id for event in notice.events)]
    made["Message-ID"] = f"<{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:32]}@azure-rotator>"
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(as_text(notice.events, include_error=notice.forwarder.include_error))
    return made


def _failed(notice: Notice, problem: str, *, hint: str) -> RotatorError:
    return Unavailable("DeliveryFailed", f'event forwarder "{notice.forwarder.name}": {problem}', hint=hint)
