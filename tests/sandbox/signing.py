"""Requests to a storage account, signed with one of its keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx


def signed(
    host: str,
    target: str,
    key: str,
    *,
    method: str = "GET",
    body: bytes = b"",
    account: str = "",
    date: str = "",
    **changed: str,
) -> httpx.Request:
    """A request to the blob service, signed with Shared Key as its documentation tells.

    ``changed``: headers that differ from what was signed; an empty one is left out. ``PUT`` with a body makes a blob.
    """
    headers = {"x-ms-date": date or format_datetime(datetime.now(UTC), usegmt=True), "x-ms-version": "2021-08-06"}
    if body:
        headers["x-ms-blob-type"] = "BlockBlob"
    url = httpx.URL(f"https://{host}{target}")
    name = account or host.partition(".")[0]
    own = "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()))
    resource = f"/{name}{url.path}" + "".join(f"\n{item}:{url.params[item]}" for item in sorted(url.params))
    text = f"{method}\n\n\n{len(body) or ''}" + "\n" * 9 + own + resource
    mac = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers["authorization"] = f"SharedKey {name}:{base64.b64encode(mac).decode()}"
    headers |= {header.replace("_", "-"): value for header, value in changed.items()}
    kept = {header: value for header, value in headers.items() if value}
    return httpx.Request(method, url, headers=kept, content=body)
