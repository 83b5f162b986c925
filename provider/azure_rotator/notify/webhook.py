"""Webhooks: a signed POST over HTTPS.

The receiver checks ``X-Azure-Rotator-Signature: t=1767225600,v1=5257a8…`` like this::

    expected = hmac.new(signing_key, f"{t}.".encode() + body, "sha256").hexdigest()
    hmac.compare_digest(expected, v1) and abs(time.time() - int(t)) < 300

The certificate is verified, by the trust and through the proxies that the environment names (SSL_CERT_FILE,
HTTPS_PROXY, NO_PROXY); no redirect is followed; of the answer only its status and Retry-After are read.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import ssl
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from azure_rotator._version import __version__
from azure_rotator.domain.errors import Rejected, RotatorError, Unavailable
from azure_rotator.domain.forwarding import is_header_text, is_receiver, origin_of
from azure_rotator.domain.model import WebhookAuth
from azure_rotator.domain.ports import Notice
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.notify.bodies import as_json

SIGNATURE: Final = "X-Azure-Rotator-Signature"

# What a receiver says about this very body; all else is about the receiver, or about us.
_ABOUT_THE_BODY: Final = frozenset({400, 413, 422})
_HINTS: Final = {
    301: "it answers with a redirect, which is not followed: give the address that it leads to with --url",
    401: "give the login that it takes with --auth-type",
    403: "look at the login and at what the receiver lets it do",
    404: "look at --url",
    407: "the proxy wants a login: set it in HTTPS_PROXY",
    429: "it limits the rate; --runner-type periodic sends one list instead",
}
_HINTS.update(dict.fromkeys((302, 303, 307, 308), _HINTS[301]))

_sending: ContextVar[bool] = ContextVar("a webhook is sent", default=False)


class _NoAddress(logging.Filter):
    """httpx logs the whole address of each request, and httpcore what is answered, which may quote it; a webhook's is
    often the key to its receiver."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _sending.get()


_NO_ADDRESS: Final = _NoAddress()
_LOGGERS: Final = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy")


class Webhooks:
    """Implements ``Notifier``.

    Args:
        seconds: The limit of one call as a whole.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds

    def send(self, notice: Notice) -> None:
        body = as_json(notice.events)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"azure-rotator/{__version__}",
            SIGNATURE: signature(notice, body),
            **_authorization(notice),
        }
        _told(notice, *asyncio.run(self._post(notice, headers, body)))

    async def _post(self, notice: Notice, headers: dict[str, str], body: bytes) -> tuple[int, str | None]:
        """The answer's status and Retry-After."""
        import httpx

        url = _address(notice)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_NO_ADDRESS)  # a second time changes nothing
        _sending.set(True)
        try:
            async with (
                asyncio.timeout(self._seconds),
                httpx.AsyncClient(verify=_trust(notice), timeout=self._seconds, follow_redirects=False) as client,
                client.stream("POST", url, headers=headers, content=body) as answer,
            ):
                return answer.status_code, answer.headers.get("Retry-After")
        except (TimeoutError, httpx.TimeoutException):
            problem = f"gave no answer within {self._seconds:g} s"
        except httpx.ConnectError as error:
            problem = "has no certificate that is trusted here" if _untrusted(error) else "cannot be reached"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            problem = f"gave no usable answer ({type(error).__name__})"
        # Raised here: none of what an exception of httpx holds, the request with its headers, comes along.
        raise _failed(notice, problem, hint="look at --url, the network, and SSL_CERT_FILE and the proxy variables")


def signature(notice: Notice, body: bytes) -> str:
    """The signature's header: the sending's instant, and that it and the body come from who has the key."""
    at = int(notice.at.timestamp())
    key = _revealed(notice.signing_key).encode("utf-8", "surrogateescape")
    return f"t={at},v1={hmac.new(key, f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"


def _authorization(notice: Notice) -> dict[str, str]:
    match notice.forwarder.auth_type:
        case WebhookAuth.USER_PASS:
            pair = f"{notice.forwarder.username}:{_revealed(notice.credential)}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode('utf-8', 'surrogateescape')).decode()}"}
        case WebhookAuth.BEARER_TOKEN:
            token = _revealed(notice.credential)
            if not is_header_text(token):  # the library's own error would quote it
                raise _failed(notice, "is not asked: auth_token is not printable ASCII", hint="give it anew")
            return {"Authorization": f"Bearer {token}"}
        case _:
            return {}


def _trust(notice: Notice) -> ssl.SSLContext:
    import httpx

    context = httpx.create_ssl_context()
    if notice.forwarder.auth_type is WebhookAuth.CERTIFICATE:
        _present(context, notice)
    return context


def _present(context: ssl.SSLContext, notice: Notice) -> None:
    """The client certificate. Python loads one from a file only: this one is in memory and has no name."""
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    loaded = False
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(_revealed(notice.credential).encode("utf-8", "surrogateescape"))
        # A pass phrase is given, or OpenSSL would ask the terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        loaded = True
    except (ssl.SSLError, OSError, ValueError):
        pass
    finally:
        os.close(descriptor)
    if not loaded:
        raise _failed(
            notice,
            "is not asked: client_certificate holds no certificate with its private key",
            hint="a PEM with both, the key without a pass phrase",
        )


def _address(notice: Notice) -> str:
    url = _revealed(notice.url)
    if not is_receiver(url):
        raise _failed(notice, "is no receiver's address", hint="give it anew with --url")
    return url


def _told(notice: Notice, status: int, retry_after: str | None) -> None:
    """What an answer means.

    Raises: Rejected ``DeliveryRefused``, Unavailable ``DeliveryFailed``.
    """
    if 200 <= status < 300:
        return
    refused = status in _ABOUT_THE_BODY
    raise _failed(
        notice,
        f"answered {status}",
        hint=_HINTS.get(status, "look at the receiver's log"),
        retry_after_seconds=_seconds(retry_after, notice.at),
        refused=refused,
    )


def _failed(
    notice: Notice, problem: str, *, hint: str, retry_after_seconds: float | None = None, refused: bool = False
) -> RotatorError:
    where = origin_of(notice.forwarder.url or "")
    message = f'event forwarder "{notice.forwarder.name}": {where} {problem}'
    if refused:
        return Rejected("DeliveryRefused", message, hint=hint)
    return Unavailable("DeliveryFailed", message, hint=hint, retry_after_seconds=retry_after_seconds)


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Retry-After as seconds: a number of them, or a date."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        instant = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - now).total_seconds())


def _untrusted(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _revealed(secret: SecretText | None) -> str:
    return "" if secret is None else secret.reveal()
