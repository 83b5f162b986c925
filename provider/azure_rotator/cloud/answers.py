"""An HTTP answer as facts: status, code, numbers, how long to wait. Nothing about it is trusted, least of all that it
is the service that answers, and none of its texts is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer as facts.

    Args:
        code: The service's own error code: Graph's and Resource Manager's ``error.code``, Entra's ``error``, the blob
            service's ``x-ms-error-code``. None: not an answer of theirs.
        numbers: AADSTS numbers, the most telling one first.
        clock_skew: How far the service's clock is ahead of this machine's, to about a second.
        body: The JSON document; None when there is none.
    """

    status: int
    code: str | None = None
    numbers: tuple[int, ...] = ()
    retry_after_seconds: float | None = None
    request_id: str | None = None
    policy_id: str | None = None
    clock_skew: timedelta | None = None
    body: Any = field(default=None, repr=False)  # addPassword's holds the new secret

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def told(self) -> str:
        """For messages: ``403 Authorization_RequestDenied``."""
        return f"{self.status} {self.code}" if self.code else str(self.status)


_AADSTS = re.compile(r"AADSTS([0-9]+)")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_SECONDS = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> Answer:
    """Take an answer apart; nothing about it is trusted, least of all that it is the service that answers.

    Args:
        headers: With names in lower case, or compared without case.
        content: The body, whole.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    fields = body if isinstance(body, dict) else {}
    error = fields.get("error")
    told = error if isinstance(error, dict) else {}
    code = told.get("code") if told else error  # Graph's envelope, else Entra's
    if code is None:
        code = headers.get("x-ms-error-code")  # storage says the rest in XML
    return Answer(
        status=status,
        code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        numbers=_numbers(fields),
        retry_after_seconds=retry_after(headers),
        request_id=_id_of(headers.get("request-id") or headers.get("x-ms-request-id") or fields.get("trace_id")),
        policy_id=_policy_id(told),
        clock_skew=_clock_skew(headers),
        body=body,
    )


def numbers_in(text: str) -> tuple[int, ...]:
    """The AADSTS numbers of a text: for azure-identity's errors without an answer, they are all the code there is."""
    return tuple(dict.fromkeys(int(digits) for digits in _AADSTS.findall(text)))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from Retry-After: whole and decimal seconds (Graph has sent 0.249) and HTTP dates; garbage and
    dates that cannot be are None. A date counts from the answer's own Date, so that a wrong clock here does no harm.
    Resource Manager may give milliseconds instead, in headers of its own.
    """
    text = headers.get("retry-after", "").strip()
    for name in () if text else _MILLISECONDS:
        if _SECONDS.fullmatch(headers.get(name, "").strip()):
            return float(headers[name]) / 1000
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    return max(0.0, (until - (_http_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _clock_skew(headers: Mapping[str, str]) -> timedelta | None:
    theirs = _http_date(headers.get("date", ""))
    # Date is cut to whole seconds: on average it is half a second old.
    return None if theirs is None else theirs + timedelta(seconds=0.5) - datetime.now(UTC)


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _numbers(fields: Mapping[str, Any]) -> tuple[int, ...]:
    listed = fields.get("error_codes")
    told = [number for number in listed if isinstance(number, int)] if isinstance(listed, list) else []
    described = fields.get("error_description")
    return tuple(dict.fromkeys([*told, *numbers_in(described if isinstance(described, str) else "")]))


def _id_of(value: object) -> str | None:
    return value if isinstance(value, str) and _GUID.fullmatch(value) else None


def _policy_id(told: Mapping[str, Any]) -> str | None:
    # The id of the policy that forbids stands in the text only (F09: the notice names the policy).
    text = told.get("message")
    found = _GUID.search(text) if isinstance(text, str) else None
    return found.group() if found else None
