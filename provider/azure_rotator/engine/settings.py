"""An item's settings from validated arguments: what a create begins with, and what an update may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypedDict

from azure_rotator.domain.kinds import overlap_of
from azure_rotator.domain.model import AuthMode, GraceTiming, Origin, RotatedSecret, StorageKeyMode, Version
from azure_rotator.domain.rotation import current_version
from azure_rotator.domain.schedule import next_rotation_at
from azure_rotator.engine.arguments import Arguments, days, optional_bool, optional_int, optional_text, tags


class Settings(TypedDict):
    """Fields of ``RotatedSecret`` that an update may change."""

    name: str
    authentication: AuthMode
    auto_rotate: bool
    rotation_interval: int | None
    revoke_after: str | None
    description: str
    tags: tuple[str, ...]
    delete_protection: bool
    skip_dry_run: bool
    storage_key_mode: StorageKeyMode | None
    rotate_on_read: bool
    credential_lifetime: int | None
    password_length: int | None
    use_capital_letters: bool | None
    use_lower_letters: bool | None
    use_numbers: bool | None
    use_special_characters: bool | None
    max_versions: int | None
    keep_prev_version: bool | None
    grace_rotation: bool
    grace_rotation_interval: int | None
    grace_rotation_hour: int | None
    grace_rotation_timing: GraceTiming | None


def scheduled(item: RotatedSecret, versions: Sequence[Version]) -> RotatedSecret:
    """The item with the due instant that follows from its settings, its last rotation and its present credential."""
    current = current_version(versions)
    at = due_at(
        item,
        item.last_rotation_at or item.created_at,
        current.expires_at if current else None,
        first=current is None or current.number <= 1,
        minted=current is not None and current.origin is Origin.MINTED,
    )
    return replace(item, next_rotation_at=at)


def due_at(
    item: RotatedSecret, last_at: datetime, expires_at: datetime | None, *, first: bool, minted: bool = False
) -> datetime | None:
    """The next due instant of an item whose present credential ends at ``expires_at``; a disabled one has none.

    Args:
        first: It has not been rotated yet: a grace that lies before the due date brings this one forward (3.6).
        minted: The present credential was minted, at ``last_at``.
    """
    brought = item.grace_rotation and item.grace_rotation_timing is GraceTiming.BEFORE and first
    forward = (item.grace_rotation_interval or 0) if brought else 0
    return next_rotation_at(
        auto_rotate=item.auto_rotate and item.enabled,
        interval_days=None if item.rotation_interval is None else item.rotation_interval - forward,
        last_at=last_at,
        expires_at=expires_at,
        overlap_for=overlap_of(item),
        minted=minted,
    )


def settings(values: Arguments) -> Settings:
    """The settings that these arguments stand for."""
    mode = optional_text(values.get("storage_key_mode"))
    timing = optional_text(values.get("grace_rotation_timing"))
    return Settings(
        name=str(values["name"]),
        authentication=AuthMode(str(values["authentication_credentials"])),
        auto_rotate=bool(values["auto_rotate"]),
        rotation_interval=days(values),
        revoke_after=optional_text(values.get("revoke_after")),
        description=str(values["description"]),
        tags=tags(values),
        delete_protection=bool(values["delete_protection"]),
        skip_dry_run=bool(values["skip_dry_run"]),
        storage_key_mode=StorageKeyMode(mode) if mode else None,
        rotate_on_read=bool(values["rotate_on_read"]),
        credential_lifetime=optional_int(values.get("credential_lifetime")),
        password_length=optional_int(values.get("password_length")),
        use_capital_letters=optional_bool(values.get("use_capital_letters")),
        use_lower_letters=optional_bool(values.get("use_lower_letters")),
        use_numbers=optional_bool(values.get("use_numbers")),
        use_special_characters=optional_bool(values.get("use_special_characters")),
        max_versions=optional_int(values.get("max_versions")),
        keep_prev_version=optional_bool(values.get("keep_prev_version")),
        grace_rotation=values.get("grace_rotation") is True,
        grace_rotation_interval=optional_int(values.get("grace_rotation_interval")),
        grace_rotation_hour=optional_int(values.get("grace_rotation_hour")),
        grace_rotation_timing=GraceTiming(timing) if timing else None,
    )
