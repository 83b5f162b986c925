"""What is PostgreSQL's own: how to connect, and the lock under which a schema changes.

The URL goes to libpq as it is, with its TLS options (``sslmode``, ``sslrootcert``, …), several hosts, and whatever else
libpq knows; ``PGPASSWORD``, ``PGPASSFILE`` and ``PGSERVICE`` work too. What it does not say has defaults here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from azure_rotator.domain.errors import Unavailable
from azure_rotator.store.location import Location, refused

if TYPE_CHECKING:
    from psycopg import Connection as Driver

_DEFAULTS: Mapping[str, str] = {
    "application_name": "azure-rotator",
    # Also where the database has another encoding, or none.
    "client_encoding": "UTF8",
    "connect_timeout": "10",
    # A server that vanished is noticed in a minute; the system's own default is two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
# Below the time others wait for a lock: a process that was stopped in the middle of a transaction loses the transaction
# before they lose their patience.
_IDLE_SECONDS = 15
# Any number that no other program uses; its bytes are "rotator".
_SCHEMA_LOCK = 0x726F7461746F72


def connector(location: Location, busy_seconds: float) -> Callable[[], Driver]:
    """A function that connects; arguments and errors are those of ``settings``."""
    given = settings(location, busy_seconds)
    import psycopg

    def connect() -> Driver:
        # No prepared statements: a pooler in between may hand the next transaction to another session.
        return psycopg.connect(**given, prepare_threshold=None)  # type: ignore[arg-type]

    return connect


def settings(location: Location, busy_seconds: float) -> dict[str, str]:
    """What libpq is told, with the password.

    Args:
        busy_seconds: How long a statement waits for another transaction's lock.

    Raises:
        Rejected: ``ParameterInvalid``, the URL has an option that libpq does not know. It is not echoed.
        Unavailable: ``StoreUnavailable``, the driver is not installed.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:  # not there, or there without a libpq
        raise Unavailable(
            "StoreUnavailable",
            f"the store {location.label} needs the driver psycopg, which is not installed",
            hint="install azure-rotator[postgres], or name a SQLite file: "
            "AZURE_ROTATOR_STORE=sqlite:////absolute/path/store.db",
            applied="no",
        ) from None
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(location.url or "").items()}
    except psycopg.ProgrammingError:
        raise refused("has an option that PostgreSQL's client does not know") from None
    # What the person set comes last, and so wins.
    options = " ".join([*_session(busy_seconds), given.get("options", "")]).rstrip()
    return {**_DEFAULTS, **given, "options": options}


def lock_schema(connection: Connection) -> None:
    """Until the end of the transaction nobody else makes or upgrades a store here. SQLite's transactions are so."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _SCHEMA_LOCK})


def _session(busy_seconds: float) -> list[str]:
    settings = {
        "lock_timeout": f"{max(1, round(busy_seconds * 1000))}ms",
        "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
        # A committed intent survives a crash of the server, whatever its default is.
        "synchronous_commit": "on",
    }
    return [f"-c {name}={value}" for name, value in settings.items()]
