"""An item's settings from validated arguments: what a create begins with, and what an update may change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypedDict

from azure_rotator.domain.calendar import Cadence
from azure_rotator.domain.due import cadence_of, due_at
from azure_rotator.domain.kinds import overlap_of, stays_until_the_next
from azure_rotator.domain.model import AuthMode, GraceTiming, Origin, RotatedSecret, StorageKeyMode, Version
from azure_rotator.domain.rotation import current_version
from azure_rotator.engine.arguments import Arguments, days, numbers, optional_bool, optional_int, optional_text, tags


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
    rotation_hour: int | None
    time_zone: str
    rotation_offset: int | None
    rotation_event_in: tuple[int, ...]


def rescheduled(
    before: RotatedSecret, after: RotatedSecret, versions: Sequence[Version], now: datetime
) -> RotatedSecret:
    """The changed item with its next due instant, counted from the last rotation (F56). If that is past, its chance
    comes at once or at its hour; if nothing about the schedule changed, it stays where it was, past or not."""
    was, is_now = _counted(before, versions), _counted(after, versions)
    if was == is_now:
        return replace(after, next_rotation_at=before.next_rotation_at)
    cadence = cadence_of(after)
    if is_now is not None and is_now < now and cadence is not None:
        is_now = cadence.from_now(now)
    return replace(after, next_rotation_at=is_now)


def _counted(item: RotatedSecret, versions: Sequence[Version]) -> datetime | None:
    current = current_version(versions)
    return due_at(
        item,
        item.last_rotation_at or item.created_at,
        current.expires_at if current else None,
        first=current is None or current.number <= 1,
        minted=current is not None and current.origin is Origin.MINTED,
    )


def both_valid_for(item: RotatedSecret, published_at: datetime) -> timedelta | None:
    """How long a replaced client secret stays valid from its replacement on; a grace of days ends at its hour. None:
    until the next rotation."""
    if stays_until_the_next(item):
        return None
    hour = item.rotation_hour if item.grace_rotation_hour is None else item.grace_rotation_hour
    if not item.grace_rotation or hour is None or item.grace_rotation_interval is None:
        return overlap_of(item)
    grace = Cadence(interval_days=item.grace_rotation_interval, hour=hour, zone=item.time_zone)
    return grace.after(item.counted_from or published_at) - published_at


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
        rotation_hour=optional_int(values.get("rotation_hour")),
        time_zone=str(values["time_zone"]),
        rotation_offset=optional_int(values.get("rotation_offset")),
        rotation_event_in=numbers(values, "rotation_event_in"),
    )
