"""Items beside what decides about their next rotation: one statement a page, however many items there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, RowMapping, Select, and_, bindparam, func, or_, select, union

from azure_rotator.domain.model import ItemState, RotatedSecret, Rotation, Stage, Standing, Version
from azure_rotator.store import tables
from azure_rotator.store.column_types import Sealed, by_code_point
from azure_rotator.store.connect import Database
from azure_rotator.store.tables import items, labelled, part_of, rotations, versions

# Sealed values are for nobody here, and by far the largest part of a row.
_ITEM, _VERSION, _ROTATION = (
    tuple(column for column in tables.columns_of(table, model) if not isinstance(column.type, Sealed))
    for table, model in ((items, RotatedSecret), (versions, Version), (rotations, Rotation))
)
_BEYOND_EVERY_NAME = "\U0010ffff"


def _every_standing() -> Select[Any]:
    every = versions.alias()
    seen = and_(every.c.item_id == items.c.item_id, every.c.number > 0, every.c.stage != Stage.ABANDONED)
    kept = select(func.count()).select_from(every).where(seen).scalar_subquery()
    # The conditions of two unique indexes, word for word: each finds one row at most, by its index.
    current = and_(versions.c.item_id == items.c.item_id, tables.IS_CURRENT)
    unpublished = and_(rotations.c.item_id == items.c.item_id, tables.UNPUBLISHED)
    return (
        select(*labelled("item", _ITEM), *labelled("version", _VERSION), *labelled("rotation", _ROTATION))
        .add_columns(kept.label("versions_kept"))
        .select_from(items.outerjoin(versions, current).outerjoin(rotations, unpublished))
    )


# Made once: of a store with many items there are many pages, and a statement is garbage that is collected late.
_EVERY = _every_standing()
_SOME = _EVERY.where(items.c.item_id.in_(bindparam("ids", expanding=True))).order_by(items.c.item_id)


class StandingRows:
    """The part of the unit of work about how items stand."""

    _db: Database

    def standings(self, *, prefix: str = "", after: str = "", limit: int = 1_000) -> Sequence[Standing]:
        name = by_code_point(items.c.name)
        statement = (
            _EVERY.where(items.c.state.in_([ItemState.ACTIVE, ItemState.DELETING]), name > after, name >= prefix)
            .where(name < prefix + _BEYOND_EVERY_NAME)
            .order_by(name)
            .limit(limit)
        )
        with self._db.reading() as connection:
            return [_standing(row) for row in connection.execute(statement).mappings()]

    def standings_of(self, item_ids: Collection[str]) -> Sequence[Standing]:
        with self._db.reading() as connection:
            return [_standing(row) for row in connection.execute(_SOME, {"ids": item_ids}).mappings()]

    def to_tell(
        self, *, ends_until: datetime, neglected_since: datetime | None, after: str = "", limit: int
    ) -> Sequence[str]:
        # Each by an index of few rows; only who was neglected, by a walk along the items. No id is named as the column
        # that it is: SQLite would walk along all ids instead.
        worth = [
            select(_no_index(versions.c.item_id)).where(tables.EXPIRES, versions.c.expires_at <= ends_until),
            select(_no_index(rotations.c.item_id)).where(tables.UNPUBLISHED, rotations.c.parked.is_(True)),
        ]
        if neglected_since is not None:
            last_at = (
                func.coalesce(column, items.c.created_at) for column in (items.c.last_rotation_at, items.c.accessed_at)
            )
            neglected = or_(*(at <= neglected_since for at in last_at))
            worth.append(select(_no_index(items.c.item_id)).where(neglected))
        item_id = union(*worth).subquery().c.item_id
        page = select(item_id).where(item_id > after).order_by(item_id).limit(limit)
        with self._db.reading() as connection:
            return connection.execute(page).scalars().all()


def _no_index(item_id: Column[str]) -> ColumnElement[str]:
    return (item_id + "").label("item_id")


def _standing(row: RowMapping) -> Standing:
    version, rotation = part_of(row, "version", _VERSION), part_of(row, "rotation", _ROTATION)
    return Standing(
        item=RotatedSecret(**part_of(row, "item", _ITEM)),
        current=Version(**version, sealed_value=None) if version["version_id"] is not None else None,
        rotation=Rotation(**rotation) if rotation["rotation_id"] is not None else None,
        versions=row["versions_kept"],
    )
