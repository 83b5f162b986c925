"""Shared Key: how a storage account's key signs a request to its blob service.

Source: "Authorize with Shared Key" on learn.microsoft.com. It is thirty lines, against the 0.35 s and 54 MB of a client
for blobs; the sandbox checks signatures with code of its own.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from azure_rotator.domain.secrettext import SecretText

API_VERSION: Final = "2021-12-02"

_SIGNED_HEADERS: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def authorization(
    account: str, key: SecretText, *, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> str:
    """The value of the Authorization header.

    Args:
        path: Encoded, as it is sent.
        query: Decoded; one value a name.
        headers: Names in lower case, ``x-ms-date`` and ``x-ms-version`` among them.

    Raises:
        ValueError: the key is no base64.
    """
    own = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("x-ms-"))
    asked = "".join(f"\n{name.lower()}:{query[name]}" for name in sorted(query, key=str.lower))
    named = "\n".join(headers.get(name, "") for name in _SIGNED_HEADERS)
    text = f"{method}\n{named}\n{own}/{account}{path}{asked}"
    return f"SharedKey {account}:{_signature(key, text)}"


def _signature(key: SecretText, text: str) -> str:
    try:
        secret = base64.b64decode(key.reveal(), validate=True)
    except ValueError:
        secret = b""
    if not secret:
        raise ValueError("the key is no base64")
    return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()
