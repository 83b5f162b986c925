"""An Azure that keeps keyIds in a dictionary: the port of all four kinds, with what a crash needs to be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import datetime

from azure_rotator.domain.model import Mint
from azure_rotator.domain.ports import (
    Adoption,
    Job,
    Minted,
    PasswordCredential,
    Plan,
    Recovery,
    Removal,
    Subject,
)
from azure_rotator.domain.secrettext import SecretText


class Ledger:
    """Implements ``ports.Rotator``.

    Args:
        risk: Called before and after each effect; it may raise, as a process that is killed there.
    """

    def __init__(self, risk: Callable[[], None]) -> None:
        self.alive: dict[str, tuple[str, str]] = {}
        self.mints: list[tuple[str, str]] = []
        self._risk = risk
        self._numbers = itertools.count(1)

    def examine(self, subject: Subject) -> Adoption | None:
        raise NotImplementedError("items are put into the store as they are")

    def observe(self, subject: Subject, key_id: str) -> SecretText | None:
        return None

    def prepare(self, job: Job) -> Plan:
        self._risk()
        return Plan(object_id=job.item.item_id)

    def mint(self, job: Job, plan: Plan, mint_id: str, end_at: datetime) -> Minted:
        job.guard()
        self._risk()
        key_id = f"00000000-0000-4000-8000-{next(self._numbers):012d}"
        self.alive[key_id] = (job.item.item_id, mint_id)
        self.mints.append((job.item.item_id, mint_id))
        self._risk()
        return Minted(key_id=key_id, value=SecretText(key_id), expires_at=end_at)

    def recover(self, job: Job, mint: Mint) -> Recovery:
        found = [key_id for key_id, (_, mint_id) in self.alive.items() if mint_id == mint.mint_id]
        for key_id in found:
            job.guard()
            del self.alive[key_id]
            self._risk()
        return Recovery(absent=not found)

    def prove(self, job: Job, key_id: str, value: SecretText) -> None:
        self._risk()
        assert key_id in self.alive
        assert value.reveal() == key_id

    def remove(self, job: Job, key_id: str) -> Removal:
        job.guard()
        self._risk()
        return Removal.REMOVED if self.alive.pop(key_id, None) else Removal.ABSENT

    def check_removal(self, subject: Subject, key_ids: Sequence[str]) -> None:
        """It would be let."""

    def sweep(self, job: Job) -> Sequence[PasswordCredential]:
        return []
