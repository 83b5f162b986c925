"""How late and how strict the sandbox is: settings, global and per application.

Azure is eventually consistent, in ways that hurt rotation: a new secret is refused at first, by some front ends longer
than by others; reads lag writes; a removal takes its time. All of it is off unless set, and every delay counts on the
sandbox's clock, so ``clock advance`` ends a wait. Figures seen in the wild: 4-18 s
(microsoftgraph/microsoft-graph-docs 17966), minutes at worst (hashicorp/vault-plugin-secrets-azure 23).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

_WHOLE = frozenset({"read_lag_reads", "overlap_status", "max_secrets", "lockout_attempts", "password_history"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """Delays in seconds. Each login request of an application is served by its next front end, in turn.

    Attributes:
        visible_after: when each login front end begins to accept a new secret or password; as many front ends as
            numbers.
        removed_after: when each login front end begins to refuse a removed secret; shorter lists repeat.
        read_lag_seconds: how long Graph reads miss a new secret and still show a removed one.
        read_lag_reads: how many reads of its application miss a new secret, besides the seconds.
        remove_lag_seconds: how long removePassword says "not found" of a new secret.
        key_lag_seconds: how long the data plane goes on with the previous value of a regenerated storage key.
        lockout_attempts: after how many different wrong passwords a user is locked out.
        lockout_seconds: for how long.
        password_history: how many passwords before the present one a new one must not repeat.
        write_seconds: wall seconds that a write takes inside; two overlapping writes to one object collide.
        overlap_status: what a colliding write is answered (409, 503 or 400 Directory_ConcurrencyViolation).
        throttle_scale: the share of Azure's documented limits after which this caller is throttled; None for never.
        max_secrets: how many secrets an object holds before it is full; None for no limit.
        shorten_to_seconds: the service silently cuts a longer life to this; None to keep what was asked.
    """

    visible_after: tuple[float, ...] = (0.0,)
    removed_after: tuple[float, ...] = (0.0,)
    read_lag_seconds: float = 0.0
    read_lag_reads: int = 0
    remove_lag_seconds: float = 0.0
    key_lag_seconds: float = 0.0
    lockout_attempts: int = 10
    lockout_seconds: float = 60.0
    password_history: int = 0
    write_seconds: float = 0.0
    overlap_status: int = 409
    throttle_scale: float | None = None
    max_secrets: int | None = None
    shorten_to_seconds: float | None = None

    def merged(self, changes: Mapping[str, Any]) -> Behaviour:
        """These settings with some replaced.

        Raises:
            ValueError: an unknown name, an empty list of front ends, or a value of the wrong kind.
        """
        known = {field.name for field in fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ValueError(f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        return replace(self, **{name: _checked(name, value) for name, value in changes.items()})

    def to_record(self) -> dict[str, Any]:
        """A JSON-able form."""
        return asdict(self)


def _checked(name: str, value: Any) -> Any:
    if name in {"visible_after", "removed_after"}:
        items = value if isinstance(value, list | tuple) else [value]
        if not items:
            raise ValueError(f"{name} needs at least one number, one for each front end")
        return tuple(_number(name, item) for item in items)
    if name in {"max_secrets", "shorten_to_seconds", "throttle_scale"} and value is None:
        return None
    if name == "throttle_scale" and _number(name, value) <= 0:
        raise ValueError("throttle_scale is above 0, or null for no limits")
    number = _number(name, value)
    return int(number) if name in _WHOLE else number


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} takes numbers, not {value!r}")
    return float(value)
