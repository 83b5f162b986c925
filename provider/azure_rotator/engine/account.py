"""The account's settings (features 2.5): defaults and bounds of all items and Targets."""

from __future__ import annotations

from dataclasses import asdict, replace

from azure_rotator.domain.errors import Rejected, rejection
from azure_rotator.domain.model import Account, ItemState
from azure_rotator.domain.parameters import validate_account
from azure_rotator.engine.arguments import Arguments
from azure_rotator.engine.context import Context
from azure_rotator.engine.views import AccountView


class Accounts:
    """Show and change the settings."""

    def __init__(self, context: Context) -> None:
        self._c = context

    def get(self) -> AccountView:
        account = self._c.uow.account()
        return AccountView(account=account, above_max=self._above(account))

    def update(self, changes: Arguments) -> AccountView:
        """Change what is given; None resets to the default. Nothing that exists is changed: items above a new cap are
        listed.

        Raises:
            Rejected: Every failed rule at once.
            Conflict: ``ItemLocked``, somebody else changed them meanwhile.
        """
        present = self._c.uow.account()
        merged = {**asdict(present), **changes}
        merged.pop("revision")
        values, problems = validate_account({name: value for name, value in merged.items() if value is not None})
        if problems:
            raise rejection(problems)
        changed = replace(Account(**values), revision=present.revision + 1)
        self._c.uow.update_account(changed, self._c.audit("update_account_settings", "/", changed=sorted(changes)))
        return AccountView(account=changed, above_max=self._above(changed))

    def _above(self, account: Account) -> tuple[str, ...]:
        items = [i for i in self._c.uow.list_items() if i.state in {ItemState.ACTIVE, ItemState.CREATING}]
        return tuple(item.name for item in items if _is_above(account, item.rotation_interval))


def refuse_interval(account: Account, interval: object) -> None:
    """Raises: Rejected ``IntervalAboveAccountMax``."""
    if isinstance(interval, int) and _is_above(account, interval):
        raise Rejected(
            "IntervalAboveAccountMax",
            f"rotation_interval {interval} is above the account's maximum of {account.max_rotation_interval} days",
            hint=f"set rotation_interval to {account.max_rotation_interval} at most; get-account-settings shows it",
            details={"property": "rotation_interval"},
        )


def refuse_characters(account: Account, name: str) -> None:
    """Raises: Rejected ``NameInvalid``, the account forbids a character of it."""
    found = sorted(set(account.invalid_characters) & set(name.removeprefix("/")))
    if found:
        raise Rejected(
            "NameInvalid",
            f"the name {name!r} has {' '.join(found)}, which the account's invalid-characters forbid",
            hint="choose a name without",
        )


def _is_above(account: Account, interval: int | None) -> bool:
    return account.max_rotation_interval_enable and interval is not None and interval > account.max_rotation_interval
