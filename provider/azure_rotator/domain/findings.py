"""What a look at something found: one check of one subject, how it ended, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from azure_rotator.domain.errors import RotatorError

T = TypeVar("T")


class Outcome(StrEnum):
    """``warning``: it works, and somebody should know. ``unknown``: the acting identity may not read what would tell;
    the least roles may not read much, so that is no failure."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one subject.

    Args:
        subject: What was looked at, e.g. ``Target "/azure/prod"``.
        check: What was asked about it, e.g. ``ownership``.
        message: What was found; never a credential.
        fix: What to do; empty where there is nothing to do.
        code: The error that an operation would end with (features 3.15), where there is one.
    """

    subject: str
    check: str
    outcome: Outcome
    message: str = ""
    fix: str = ""
    code: str = ""

    def facts(self) -> dict[str, object]:
        return {
            "subject": self.subject,
            "check": self.check,
            "outcome": self.outcome.value,
            "code": self.code,
            "message": self.message,
            "fix": self.fix,
        }


def ok(subject: str, check: str, message: str = "") -> Finding:
    return Finding(subject=subject, check=check, outcome=Outcome.OK, message=message)


def warning(subject: str, check: str, message: str, fix: str = "", *, code: str = "") -> Finding:
    return Finding(subject=subject, check=check, outcome=Outcome.WARNING, message=message, fix=fix, code=code)


def unknown(subject: str, check: str, message: str, fix: str = "", *, code: str = "") -> Finding:
    return Finding(subject=subject, check=check, outcome=Outcome.UNKNOWN, message=message, fix=fix, code=code)


def failed(subject: str, check: str, error: RotatorError) -> Finding:
    """The finding of a check that an error answered. One without an answer of Azure's is a failure, too: a doctor who
    cannot reach the patient must not say that he is well."""
    return Finding(
        subject=subject,
        check=check,
        outcome=Outcome.FAILED,
        message=error.message,
        fix=error.hint,
        code=error.code,
    )


def asked(subject: str, check: str, ask: Callable[[], T]) -> T | Finding:
    """The answer to a question that the check needs; or the finding that it could not be had: what the acting identity
    may not read is unknown, everything else that stands in the way has failed the check."""
    try:
        return ask()
    except RotatorError as error:
        if error.code == "AzurePermissionMissing":
            return unknown(subject, check, error.message, error.hint, code=error.code)
        return failed(subject, check, error)
