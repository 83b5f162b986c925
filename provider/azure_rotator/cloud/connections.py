"""Fresh HTTPS connections: one client a call, closed with it. Imports httpx: import it inside functions only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

from azure_rotator.cloud.loop import Kept

_TRUST: Final = "trusted certificates"


@asynccontextmanager
async def connect(kept: Kept, seconds: float) -> AsyncIterator[httpx.AsyncClient]:
    """A client with connections of its own: the services' front ends differ, and each connection may meet another.

    It follows no redirect and repeats nothing. The proxy variables and SSL_CERT_FILE are honoured.
    """
    # Reading the CA file takes longer than all else here: once.
    # HTTP/1.1 only: one request a connection gains nothing by more, and hpack logs the token's header at DEBUG.
    trust = kept.values.get(_TRUST)
    if trust is None:
        trust = kept.values[_TRUST] = httpx.create_ssl_context()
    async with httpx.AsyncClient(verify=trust, timeout=httpx.Timeout(seconds, connect=seconds / 2)) as client:
        yield client
