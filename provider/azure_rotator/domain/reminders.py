"""When people are reminded of what is to come, and told of what is left undone (features 3.5, 3.7, 3.8). Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from azure_rotator.domain.model import RotatedSecret, Standing

EXPIRES_SOON = timedelta(days=14)


def next_reminder(item: RotatedSecret, after: datetime) -> datetime | None:
    """The first reminder of the item's present due instant that lies after ``after``; None: there is none left."""
    due = item.next_rotation_at
    if due is None or not (item.enabled and item.auto_rotate):
        return None
    return min((at for days in item.rotation_event_in if (at := due - timedelta(days=days)) > after), default=None)


def scheduled_at(item: RotatedSecret) -> datetime:
    """When its present due instant was known at the latest: reminders that lay before it are skipped, later ones are
    told, however late the first scheduler sees them."""
    return max(item.created_at, item.modified_at, item.last_rotation_at or item.created_at)


def expires_unrotated(standing: Standing, now: datetime) -> bool:
    """Whether the current credential ends soon, or has ended, and no rotation comes before that. What is parked comes
    when its time has come again, whatever was missed."""
    item, current, rotation = standing.item, standing.current, standing.rotation
    if current is None or current.expires_at is None or current.expires_at - now > EXPIRES_SOON:
        return False
    parked = rotation is not None and rotation.parked
    rotates_at = rotation.next_attempt_at if rotation is not None and parked else item.next_rotation_at
    return rotates_at is None or rotates_at >= current.expires_at


def periods(since: datetime, now: datetime, days: int) -> int:
    """How many periods of so many days have passed."""
    return (now - since) // timedelta(days=days)
