"""Sealed values: one data key a value, wrapped by the store's key; AES-256-GCM-SIV for both.

    version 1 ‖ key id 8 ‖ wrap nonce 12 ‖ wrapped data key 48 ‖ nonce 12 ‖ ciphertext and tag

The associated data of both ciphertexts is the place: table, row and version, each with its length before it, so that no
two places read alike. A value copied to another row, or an older value put back under a newer version, does not open.
The wrapped data key is bound to the key id as well; the value is not, so that a change of the store's key rewraps 48
bytes and no values.

GCM-SIV because a nonce that repeats (a virtual machine resumed twice from one snapshot) tells only whether two values
are equal, where GCM would give the key away.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from azure_rotator.crypto.keyring import Key
from azure_rotator.domain.errors import Corrupt, Unavailable
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText

_FORMAT = b"\x01"
_ID, _NONCE, _DATA_KEY, _TAG = 8, 12, 32, 16
_WRAP_AT = 1 + _ID
_NONCE_AT = _WRAP_AT + _NONCE + _DATA_KEY + _TAG
_VALUE_AT = _NONCE_AT + _NONCE


class EnvelopeSealer:
    """Implements ``ports.Sealer`` under one key. Safe to share by threads.

    Raises:
        Unavailable: ``StoreUnavailable`` at construction, when the OpenSSL behind ``cryptography`` has no AES-GCM-SIV.
    """

    def __init__(self, key: Key) -> None:
        self._key_id = key.key_id
        try:
            self._wrap = AESGCMSIV(key.derive("wrap"))
        except UnsupportedAlgorithm:
            raise Unavailable(
                "StoreUnavailable",
                "this installation cannot seal secrets: its OpenSSL has no AES-GCM-SIV",
                hint="install cryptography as a wheel from PyPI, or build it against OpenSSL 3.2 or later",
                applied="no",
            ) from None

    def seal(self, value: SecretText, place: SealedFor) -> SealedBytes:
        """Encrypt for this place. Two seals of one value never look alike."""
        data_key, nonce = os.urandom(_DATA_KEY), os.urandom(_NONCE)
        # surrogatepass: an environment variable that is not UTF-8 is a credential all the same.
        text = value.reveal().encode("utf-8", "surrogatepass")
        ciphertext = AESGCMSIV(data_key).encrypt(nonce, text, _FORMAT + _bound_to(place))
        return SealedBytes(self._wrapped(data_key, place) + nonce + ciphertext)

    def open(self, sealed: SealedBytes, place: SealedFor) -> SecretText:
        """Decrypt what was sealed for this place.

        Raises:
            Corrupt: ``StoreKeyWrong`` for another key's; ``StoreCorrupt`` for what was altered, moved or cut.
        """
        data = self._ours(sealed, place)
        try:
            data_key = self._unwrapped(data, place)
            text = AESGCMSIV(data_key).decrypt(data[_NONCE_AT:_VALUE_AT], data[_VALUE_AT:], _FORMAT + _bound_to(place))
            return SecretText(text.decode("utf-8", "surrogatepass"))
        except InvalidTag:
            raise _corrupt(place, f"does not open with its key {self._key_id.hex()}") from None

    def reseal(self, sealed: SealedBytes, place: SealedFor, under: EnvelopeSealer) -> SealedBytes:
        """The same value under another key: its data key is wrapped anew, the value itself stays as it is.

        Raises:
            Corrupt: As ``open``; also if what was made does not open.
        """
        data = self._ours(sealed, place)
        try:
            wrapped = under._wrapped(self._unwrapped(data, place), place)
        except InvalidTag:
            raise _corrupt(place, f"does not open with its key {self._key_id.hex()}") from None
        made = SealedBytes(wrapped + data[_NONCE_AT:])
        under.open(made, place)
        return made

    def _ours(self, sealed: SealedBytes, place: SealedFor) -> bytes:
        data = sealed.data
        key_id = data[1:_WRAP_AT]
        if data[:1] != _FORMAT or len(data) < _VALUE_AT + _TAG:
            raise _corrupt(place, "is not a sealed value that this release knows")
        if key_id != self._key_id:
            raise Corrupt(
                "StoreKeyWrong",
                f"{_named(place)} is sealed under the key {key_id.hex()}, this store's is {self._key_id.hex()}",
                hint="if the key was rotated, begin again with the new one; else restore the store from a backup",
                details={"key_id": key_id.hex()},
            )
        return data

    def _wrapped(self, data_key: bytes, place: SealedFor) -> bytes:
        nonce = os.urandom(_NONCE)
        head = _FORMAT + self._key_id
        return head + nonce + self._wrap.encrypt(nonce, data_key, head + _bound_to(place))

    def _unwrapped(self, data: bytes, place: SealedFor) -> bytes:
        return self._wrap.decrypt(
            data[_WRAP_AT : _WRAP_AT + _NONCE], data[_WRAP_AT + _NONCE : _NONCE_AT], data[:_WRAP_AT] + _bound_to(place)
        )


def _bound_to(place: SealedFor) -> bytes:
    """Table, row and version, each after its length: ``("ab", "c")`` and ``("a", "bc")`` differ."""
    parts = (place.table.encode(), place.row.encode(), str(place.version).encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _named(place: SealedFor) -> str:
    return f"the secret in {place.table} {place.row} version {place.version}"


def _corrupt(place: SealedFor, what: str) -> Corrupt:
    return Corrupt(
        "StoreCorrupt",
        f"{_named(place)} {what}",
        hint="it was altered or moved: stop using the store, and restore a backup of it",
        details={"table": place.table, "row": place.row, "version": place.version},
    )
