"""Settings of a process: environment variables ``AZURE_ROTATOR_…``, or the stack's ``azure-rotator:…`` where set.

>>> Settings.read({"AZURE_ROTATOR_STORE": "sqlite:////tmp/x.db", "AZURE_ROTATOR_TIMEOUT": "30"}).timeout_seconds
30.0
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from azure_rotator.domain.errors import Rejected

ROWS, PROCRASTINATE = "rows", "procrastinate"
DISPATCHERS = (ROWS, PROCRASTINATE)
_PREFIX = "AZURE_ROTATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What leads to a store and bounds the work on it.

    Args:
        store_url: ``sqlite:////absolute/path`` (four slashes) or ``postgresql://…``.
        key_file: The file with the key of a store, outside the database's folder.
        key: The key itself in its text form, from ``AZURE_ROTATOR_KEY``; wins over the file. Empty: not set.
        timeout_seconds: How long a command waits for an operation.
        lease_seconds: How long a process that stopped blocks its operation.
        dispatcher: One of ``DISPATCHERS``: who runs what is due, of a scheduler.
    """

    store_url: str
    key_file: Path
    key: str = ""
    timeout_seconds: float = 600.0
    lease_seconds: float = 30.0
    dispatcher: str = ROWS

    def __repr__(self) -> str:
        from azure_rotator.store.location import locate

        try:
            place = locate(self.store_url).label  # a PostgreSQL URL may hold a password
        except Rejected:
            place = "(no URL of a store)"
        return f"Settings(store={place!r}, key_file={str(self.key_file)!r})"

    @classmethod
    def read(cls, environment: Mapping[str, str], stack: Mapping[str, str] | None = None) -> Settings:
        """Settings from the environment; ``stack`` (keys ``store``, ``keyFile``, ``timeout``) wins where it says more.

        Raises:
            Rejected: ``ParameterInvalid`` naming the setting.
        """
        stack = stack or {}

        def setting(variable: str, key: str = "") -> tuple[str, str]:
            if key and stack.get(key):
                return stack[key], f"azure-rotator:{key}"
            return environment.get(_PREFIX + variable, ""), _PREFIX + variable

        store, _ = setting("STORE", "store")
        key_file, _ = setting("KEY_FILE", "keyFile")
        timeout, timeout_name = setting("TIMEOUT", "timeout")
        lease, lease_name = setting("LEASE")
        dispatcher, dispatcher_name = setting("DISPATCHER")
        if dispatcher and dispatcher not in DISPATCHERS:
            raise Rejected(
                "ParameterInvalid",
                f"{dispatcher_name} names no dispatcher",
                hint=f"set {dispatcher_name} to one of: {', '.join(DISPATCHERS)}",
            )
        return cls(
            store_url=store or f"sqlite:///{_data_folder(environment) / 'store.db'}",
            key_file=Path(key_file) if key_file else _config_folder(environment) / "store.key",
            key=environment.get(_PREFIX + "KEY", ""),
            timeout_seconds=_seconds(timeout, timeout_name, default=600.0),
            lease_seconds=_seconds(lease, lease_name, default=30.0),
            dispatcher=dispatcher or ROWS,
        )


def _seconds(text: str, name: str, *, default: float) -> float:
    if not text:
        return default
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 86_400:
        raise Rejected("ParameterInvalid", f"{name} is not a number of seconds", hint=f"set {name} to e.g. 600")
    return seconds


def _data_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "azure-rotator"


def _config_folder(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "azure-rotator"


def who_am_i(environment: Mapping[str, str]) -> str:
    """Who acts, for the audit log: ``AZURE_ROTATOR_WHO`` (a pipeline's name), else the login name."""
    named = environment.get(_PREFIX + "WHO") or environment.get("USER") or environment.get("LOGNAME")
    if named:
        return named
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        return f"uid {os.getuid()}"
