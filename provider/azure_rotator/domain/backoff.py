"""How long to wait before the next try (features 3.2). Pure: the wait is stored, nobody sleeps on it."""

from __future__ import annotations

from datetime import timedelta

MAX_ATTEMPTS = 24
_FIRST = timedelta(minutes=1)
_LONGEST = timedelta(hours=6)
_LONGEST_PROOF = timedelta(seconds=15)


def retry_delay(attempts: int, *, jitter: float, retry_after_seconds: float | None) -> timedelta:
    """Delay after the ``attempts``-th failure in a row (from 1): 1, 2, 4 … minutes, at most 6 hours.

    Args:
        jitter: In [0, 1); adds up to a tenth, so that what failed together does not come back together.
        retry_after_seconds: What the service asked for; never undercut.
    """
    delay = min(_FIRST * (1 << min(attempts - 1, 16)), _LONGEST)
    delay += delay * (jitter / 10)
    return max(delay, timedelta(seconds=retry_after_seconds or 0))


def proof_delay(refusals: int) -> timedelta:
    """Delay after the ``refusals``-th refused proof in a row: 1, 2, 4, 8, 15 seconds. A new secret is accepted
    everywhere after 4 to 18 seconds, minutes at worst (design/azure 2.3)."""
    return min(timedelta(seconds=1 << min(refusals - 1, 10)), _LONGEST_PROOF)
