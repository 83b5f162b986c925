"""How long to wait before the next try (features 3.2). Pure: the wait is stored, nobody sleeps on it."""

from __future__ import annotations

import math
from datetime import timedelta

MAX_ATTEMPTS = 24
_FIRST = timedelta(minutes=1)
_LONGEST = timedelta(hours=6)
_SHORTEST = timedelta(seconds=1)
_LONGEST_PROOF = timedelta(seconds=15)
_LONE_PROOFS = (timedelta(seconds=5), timedelta(seconds=20))
_LONGEST_PAUSE = timedelta(days=1)


def retry_delay(attempts: int, *, jitter: float, retry_after_seconds: float | None) -> timedelta:
    """Delay after the ``attempts``-th failure in a row (from 1): 1, 2, 4 … minutes, at most 6 hours.

    Args:
        jitter: In [0, 1); adds up to a tenth, so that what failed together does not come back together. By the time
            the longest delay is reached, it has long parted.
        retry_after_seconds: What the service asked for; never undercut, though instants are whole seconds.
    """
    delay = _FIRST * (1 << min(attempts - 1, 16))
    delay = min(delay + delay * (jitter / 10), _LONGEST)
    return max(delay, pause(retry_after_seconds or 0))


def pause(retry_after_seconds: float) -> timedelta:
    """What a Retry-After asks for, in whole seconds: a fraction counts as one. No longer than a day: a service that
    names a date years away has made a mistake, and the lane would be frozen until then.
    """
    return min(timedelta(seconds=math.ceil(min(retry_after_seconds, _LONGEST_PAUSE.total_seconds()))), _LONGEST_PAUSE)


def proof_delay(elapsed: timedelta) -> timedelta:
    """Delay after a refused proof, by the time since the secret was minted: about 1, 1, 2, 4, 8, 15, 15 … seconds. A
    new secret is accepted everywhere after 4 to 18 seconds, minutes at worst (design/azure 2.3).
    """
    return min(max(elapsed, _SHORTEST), _LONGEST_PROOF)


def lone_proof_delay(elapsed: timedelta) -> timedelta | None:
    """Delay after a refused proof of a value that revoked the one before it, by the time since it was made: tries after
    0, 5 and 20 seconds. None: it is published as it is, for consumers have nothing else; and Entra locks an account
    after ten wrong passwords.
    """
    return next((at - elapsed for at in _LONE_PROOFS if at > elapsed), None)


def listed_delay(attempts: int) -> timedelta:
    """Delay after the ``attempts``-th read in a row that still lists what was removed: 1, 2, 4 … seconds, 6 hours."""
    return min(_SHORTEST * (1 << min(attempts - 1, 16)), _LONGEST)
