"""Which store the resources of a stack live in: its settings, kept for the process, and the engine opened at first use.

A provider object is pickled into the state and therefore holds nothing; what ``configure`` is told is kept here.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from azure_rotator.config import Settings, who_am_i
from azure_rotator.domain.ports import Unwatched

if TYPE_CHECKING:
    from azure_rotator.engine.service import Engine

NAMESPACE = "azure-rotator"
KEYS = ("store", "keyFile", "timeout", "gatewayUrl")

_lock = threading.Lock()
_settings: Settings | None = None


def settings_of(get: Callable[[str], object], environment: Mapping[str, str]) -> Settings:
    """The stack's settings where it says something, else those of the environment.

    Args:
        get: The value of a key of the namespace ``azure-rotator``, or None.

    Raises:
        Rejected: ``ParameterInvalid`` naming the setting.
    """
    stack = {key: get(key) for key in KEYS}
    return Settings.read(environment, {key: str(value) for key, value in stack.items() if value is not None})


def configure(get: Callable[[str], object]) -> None:
    """Keep the settings of this process's stack; opens nothing."""
    global _settings  # noqa: PLW0603 - one process serves one stack
    found = settings_of(get, os.environ)
    with _lock:
        _settings = found


def engine() -> Engine:
    """The engine of this process's stack, the same for all threads."""
    with _lock:
        settings = _settings or Settings.read(os.environ)
    return engine_of(settings)


def engine_of(settings: Settings) -> Engine:
    """The engine on a store. SQLAlchemy and the Azure SDKs are loaded here and not before."""
    from azure_rotator.wiring import engine_for

    return engine_for(settings, who=who_am_i(os.environ), observer=_Terminal())


class _Terminal:
    """Tells the person at ``pulumi up`` what an operation waits for: a provider's stderr reaches the terminal."""

    def span(self, name: str, **fields: object) -> Unwatched:
        return Unwatched()

    def note(self, event: str, **fields: object) -> None:
        """Nothing: that is for logs."""

    def tell(self, event: str, **fields: object) -> None:
        """Nothing: that is for logs."""

    def say(self, message: str) -> None:
        sys.stderr.write(f"azure-rotator: {message}\n")

    def warn(self, message: str) -> None:
        self.say(f"warning: {message}")
