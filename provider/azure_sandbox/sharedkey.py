"""Shared Key: how a request to a storage account is signed with one of its keys.

Source: "Authorize with Shared Key" on learn.microsoft.com, for service versions from 2015-02-21 on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

_SIGNED_HEADERS = (
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


def string_to_sign(method: str, account: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """What caller and service sign.

    Args:
        method: the HTTP method, in capitals.
        account: the account's name.
        path: the path as sent, still percent-encoded.
        query: decoded parameters.
        headers: by lower-case name.
    """
    values = [headers.get(name, "") for name in _SIGNED_HEADERS]
    if values[2] == "0":
        values[2] = ""
    if "x-ms-date" in headers:
        values[5] = ""
    own = sorted(name for name in headers if name.startswith("x-ms-"))
    canonical_headers = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in own)
    parameters = sorted((name.lower(), value) for name, value in query.items())
    resource = f"/{account}{path}" + "".join(f"\n{name}:{value}" for name, value in parameters)
    return "\n".join([method, *values]) + f"\n{canonical_headers}{resource}"


def sign(key: str, text: str) -> str:
    """The signature of a text with a key in base64."""
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def is_signed_with(key: str, text: str, signature: str) -> bool:
    """Whether a signature is this key's."""
    return hmac.compare_digest(sign(key, text).encode(), signature.encode())
