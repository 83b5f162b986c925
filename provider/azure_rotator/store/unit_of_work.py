"""The store as the core sees it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from azure_rotator.store.account import AccountRows
from azure_rotator.store.audit import AuditRows
from azure_rotator.store.census import CensusRows
from azure_rotator.store.connect import Database
from azure_rotator.store.folders import FolderRows
from azure_rotator.store.forwarders import ForwarderRows
from azure_rotator.store.items import ItemRows
from azure_rotator.store.journal import JournalRows
from azure_rotator.store.leases import Leases
from azure_rotator.store.planning import Planning
from azure_rotator.store.reminders import ReminderRows
from azure_rotator.store.standings import StandingRows
from azure_rotator.store.steps import Steps
from azure_rotator.store.targets import TargetRows

if TYPE_CHECKING:
    from azure_rotator.domain.ports import UnitOfWork


class SqlUnitOfWork(
    TargetRows,
    ItemRows,
    StandingRows,
    FolderRows,
    AccountRows,
    AuditRows,
    ForwarderRows,
    JournalRows,
    Leases,
    Planning,
    ReminderRows,
    CensusRows,
    Steps,
):
    """Implements ``ports.UnitOfWork``: one method per state change, each one transaction. Safe to share by threads.

    Opened by ``opening.open_store``::

        with open_store("sqlite:////var/lib/azure-rotator/store.db", lease_seconds=30.0) as unit_of_work:
            unit_of_work.list_items()
    """

    def __init__(self, database: Database, store_id: str) -> None:
        self._db = database
        self._store_id = store_id

    def store_id(self) -> str:
        return self._store_id

    def close(self) -> None:
        """Close the connections. The object must not be used any more."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


if TYPE_CHECKING:

    def _implements_the_port(store: SqlUnitOfWork) -> UnitOfWork:
        return store
