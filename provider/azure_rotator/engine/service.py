"""``Engine``: every use case behind one name, for the entry points."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from azure_rotator.domain.findings import Finding
from azure_rotator.domain.model import AuditLine, Event
from azure_rotator.domain.names import canonical_path
from azure_rotator.engine.account import Accounts
from azure_rotator.engine.checks import Checks
from azure_rotator.engine.context import Context
from azure_rotator.engine.drift import Drift
from azure_rotator.engine.folders import Folders
from azure_rotator.engine.foreground import Foreground
from azure_rotator.engine.forwarding import Forwarding
from azure_rotator.engine.inventory import Inventory, Stock
from azure_rotator.engine.items import Items
from azure_rotator.engine.planning import Planner
from azure_rotator.engine.reconcile import Reconcile
from azure_rotator.engine.reminders import Reminders
from azure_rotator.engine.reports import Reports
from azure_rotator.engine.runner import Runner
from azure_rotator.engine.secrets import Secrets
from azure_rotator.engine.targets import Targets
from azure_rotator.engine.views import Reconciliation
from azure_rotator.engine.watch import Watch


class Engine:
    """The rotator engine on one store.

    Attributes:
        targets: Use cases of Targets.
        secrets: Use cases of Rotated Secrets.
        folders: Use cases of folders.
        account: The account's settings.
        watch: How fresh items are, and when they are due.
        reports: What was not rotated, and what was not read.
        forwarding: Event forwarders, and ``deliver_due()`` for whoever ticks.
        runner: ``run(rotation_id)``, for whoever dispatches.
        planner: What is due, for the scheduler.
        reminders: What people are told when its time has come, for the scheduler.
    """

    def __init__(self, context: Context) -> None:
        self._c = context
        self.runner = Runner(context)
        self.planner = Planner(context)
        foreground = Foreground(context, self.runner)
        self._checks = Checks(context)
        self._inventory = Inventory(context)
        self.targets = Targets(context, self._checks)
        self.secrets = Secrets(context, foreground)
        self.folders = Folders(context)
        self.account = Accounts(context)
        self.watch = Watch(context)
        self.reminders = Reminders(context)
        self.reports = Reports(context, self.watch)
        self.forwarding = Forwarding(context)
        self._reconcile = Reconcile(context, foreground, Drift(context, foreground, Items(context, foreground)))

    @property
    def store_id(self) -> str:
        return self._c.uow.store_id()

    def reconcile(self, *, target: str | None = None, dry_run: bool = False) -> Reconciliation:
        return self._reconcile.run(target=canonical_path(target) if target else None, dry_run=dry_run)

    def sweep_some(self) -> int:
        """See ``Reconcile.sweep_some``."""
        return self._reconcile.sweep_some()

    def doctor(self, *, target: str | None = None) -> Sequence[Finding]:
        """Look for what keeps, or will keep, rotations from working: every Target and item, or those of one Target.

        Raises:
            NotFound: ``TargetNotFound``.
        """
        if target is None:
            return [*self._checks.run(self._c.uow.list_targets()), *self._checks.stranded()]
        return self._checks.run([self.targets.get(name=target).target])

    def inventory(self, *, target: str, app_id: str | None = None, resource_name: str | None = None) -> Stock:
        """See ``Inventory.run``."""
        return self._inventory.run(target=target, app_id=app_id, resource_name=resource_name)

    def audit(
        self, *, name: str | None = None, since: datetime | None = None, action: str | None = None
    ) -> Sequence[AuditLine]:
        return self._c.uow.audit_lines(path=canonical_path(name) if name else None, since=since, action=action)

    def events(self) -> Sequence[Event]:
        return self._c.uow.events()
