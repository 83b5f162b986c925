"""The account's settings as a row."""

from __future__ import annotations

from sqlalchemy import insert, select, update

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.model import Account, AuditLine
from azure_rotator.store import audit as audit_rows
from azure_rotator.store import tables
from azure_rotator.store.connect import Database

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
        with self._db.writing() as connection:
            # The first change finds no row to lock: the store's own row stands for it.
            connection.execute(select(tables.meta.c.store_id).with_for_update())
            present = connection.execute(select(tables.account.c.revision)).scalar_one_or_none()
            if (present or 0) != account.revision - 1:
                raise _changed_meanwhile()
            if present is None:
                connection.execute(insert(tables.account).values({**values, "account_id": _ONLY}))
            else:
                connection.execute(update(tables.account).values(values))
            audit_rows.add_line(connection, audit)


def _changed_meanwhile() -> Conflict:
    return Conflict(
        "ItemLocked", "the account's settings were changed meanwhile", hint="look at them again, then repeat the change"
    )
