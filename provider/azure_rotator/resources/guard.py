"""What leaves a provider when something goes wrong: code, message and hint, and nothing else.

Pulumi prints the whole traceback of an exception to the person, and a ``SystemExit`` in a worker thread of its server
hangs the operation for ever (pulumi 3.272, ``pulumi/dynamic/__main__.py``). So every method is guarded: whatever is
raised ends as one ``Failed`` that has no cause, no context and no frame in which a credential was in a variable.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import ParamSpec, TypeVar

from pulumi.runtime import rpc

from azure_rotator.domain.errors import RotatorError
from azure_rotator.domain.parameters import PARAMETERS, is_reference, literal_text, secret_parameters

_P = ParamSpec("_P")
_T = TypeVar("_T")

_CREDENTIALS = frozenset().union(*(secret_parameters(subject) for subject in PARAMETERS))


class Failed(Exception):
    """``code: message``, and a line ``hint: …`` where there is one; safe to print anywhere."""

    # Printed with the message as "azure_rotator.Failed: …": where it is defined says nothing to the person.
    __module__ = "azure_rotator"


def guarded(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """The method, raising nothing but ``Failed``."""

    @functools.wraps(method)
    def outer(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return method(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - SystemExit above all
            text = _redacted(_told(error), _literals(args))
        # Outside of the except clause: there is no context then whose frames could be printed. The one frame of ours
        # that is left forgets what it was called with, for tools that print local variables.
        del args, kwargs
        raise Failed(text)

    return outer


def _told(error: BaseException) -> str:
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, RotatorError):
        hint = f"\nhint: {error.hint}" if error.hint else ""
        return f"{error.code}: {error.message}{hint}"
    # Its text may hold anything, a credential too. Type and place are enough to find it.
    named = f" ({error.name})" if isinstance(error, ImportError) else ""
    return f"InternalError: {type(error).__name__}{named} in {_place(error)}\nhint: this is a bug; please report it"


def _place(error: BaseException) -> str:
    """The innermost of our own lines, e.g. ``azure_rotator.engine.secrets:120``."""
    lines = [(str(frame.f_globals.get("__name__")), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [(name, line) for name, line in lines if name.partition(".")[0] == "azure_rotator"]
    name, line = (ours or lines)[-1]
    return f"{name}:{line}"


def _literals(arguments: Iterable[object]) -> set[str]:
    """The credentials in clear among the arguments of a call."""
    bags = [argument for argument in arguments if isinstance(argument, Mapping)]
    values = {rpc.unwrap_rpc_secret(bag[name]) for bag in bags for name in _CREDENTIALS if name in bag}
    return {literal_text(value) for value in values if isinstance(value, str) and not is_reference(value)}


def _redacted(text: str, literals: Iterable[str]) -> str:
    """No message holds a credential; this is for the day one does."""
    for literal in sorted(literals, key=len, reverse=True):
        if literal:
            text = text.replace(literal, "***")
    return text
