"""The account's settings as a row."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import Account, AuditLine
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.connect import Database
from azure_rotator.store.faults import RuleBroken

_ACCOUNT = tables.columns_of(tables.account, Account)
_ONLY = 1


class AccountRows:
    """The part of the unit of work about the account's settings."""

    _db: Database

    def account(self) -> Account:
        with self._db.reading() as connection:
            row = connection.execute(select(*_ACCOUNT)).mappings().one_or_none()
        return Account() if row is None else Account(**row)

    def update_account(self, account: Account, audit: AuditLine) -> None:
        values = tables.values_of(account)
        changed = update(tables.account).where(tables.account.c.revision == account.revision - 1).values(values)
        try:
            with self._db.writing() as connection:
                if account.revision == 1:
                    connection.execute(insert(tables.account).values({**values, "account_id": _ONLY}))
                elif connection.execute(changed).rowcount != 1:
                    raise _changed_meanwhile()
                audit_rows.add_line(connection, audit)
        except RuleBroken:
            raise _changed_meanwhile() from None


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "ItemLocked", "the account's settings were changed meanwhile", hint="look at them again, then repeat the change"
    )
