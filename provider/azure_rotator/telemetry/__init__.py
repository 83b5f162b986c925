"""What a process tells about itself: logs, metrics, traces. Credentials are masked last, whoever passes one.

``logs`` has the ``Observer`` of the engine, ``endpoint`` the HTTP endpoint of ``metrics`` and health, ``traces`` what
is sent by OpenTelemetry. The latter three are for long-lived processes, and imported by them only.
"""

from __future__ import annotations

from azure_rotator.telemetry.logs import (
    FORMAT_VARIABLE,
    FORMATS,
    LEVELS,
    MASK,
    VARIABLE,
    Redactor,
    StructlogObserver,
    Watcher,
    format_of,
    level_of,
    logging_to,
)

__all__ = [
    "FORMATS",
    "FORMAT_VARIABLE",
    "LEVELS",
    "MASK",
    "VARIABLE",
    "Redactor",
    "StructlogObserver",
    "Watcher",
    "format_of",
    "level_of",
    "logging_to",
]
