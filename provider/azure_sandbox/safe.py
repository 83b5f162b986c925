"""Values that Azure itself shows again (storage keys, vault secrets), kept sealed in the state folder.

Client secrets and passwords are hashed, because nobody may ever read them back. These must be readable, so they are
encrypted with a key in a file of its own: a copied database tells nothing.
"""

from __future__ import annotations

import base64
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class Safe:
    """Seals and opens texts with one key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: str) -> str:
        """Encrypt a value; each time another text comes out."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, value.encode(), None)).decode()

    def open(self, sealed: str) -> str:
        """The inverse of :meth:`seal`.

        Raises:
            cryptography.exceptions.InvalidTag: sealed with another key, or damaged.
        """
        raw = base64.b64decode(sealed)
        return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
