"""A sealed value opens under its key, in its place, unaltered; and in no other case."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from hypothesis import given
from hypothesis import strategies as st

from azure_rotator.crypto import envelope
from azure_rotator.crypto.envelope import EnvelopeSealer
from azure_rotator.crypto.keyring import Key
from azure_rotator.domain.errors import Corrupt, Unavailable
from azure_rotator.domain.secrettext import SealedBytes, SealedFor, SecretText

KEY = Key(bytes(range(32)), "a test")
SEALER = EnvelopeSealer(KEY)
PLACE = SealedFor(table="versions", row="abcdefghijklmnop", version=3)

# Sealed by the first release under KEY for PLACE.
FROZEN = (
    "0108e557f38406d46c40d27e2bd0328093286b327f6cd357ba9ca23a589f5e1f52527e0d4a04b066a630d20a47bde55a962f"
    "c3fc1b9a3721be4d0b082c4d2080e512023aefe9fd1e76965b6bc72d8423af67416ed1ffe9129a65e60bba7d56a19ed45dd8"
    "85decca97f147cd6cc7d6b4a58ce010fed41"
)

# Lone surrogates too: what os.environ makes of bytes that are not UTF-8.
texts = st.text(st.characters(exclude_categories=())) | st.text("\udc80\udcff a")
places = st.builds(SealedFor, table=st.text(max_size=12), row=st.text(max_size=12), version=st.integers(0, 10**6))


@given(text=texts, place=places)
def test_any_text_opens_to_itself(text: str, place: SealedFor):
    assert SEALER.open(SEALER.seal(SecretText(text), place), place).reveal() == text


@given(text=texts, place=places, other=places)
def test_a_value_opens_in_its_own_place_only(text: str, place: SealedFor, other: SealedFor):
    sealed = SEALER.seal(SecretText(text), place)
    if other != place:
        with pytest.raises(Corrupt):
            SEALER.open(sealed, other)


MOVED = {
    "another row": SealedFor(table="versions", row="abcdefghijklmnoq", version=3),
    "another version": SealedFor(table="versions", row="abcdefghijklmnop", version=2),
    "another table": SealedFor(table="targets", row="abcdefghijklmnop", version=3),
    "a letter moved from row to table": SealedFor(table="versionsa", row="bcdefghijklmnop", version=3),
    "a digit moved from version to row": SealedFor(table="versions", row="abcdefghijklmnop3", version=0),
}


@pytest.mark.parametrize("place", MOVED.values(), ids=list(MOVED))
def test_a_moved_value_does_not_open(place: SealedFor):
    with pytest.raises(Corrupt, match=f"{place.table} {place.row} version {place.version}") as refused:
        SEALER.open(SEALER.seal(SecretText("made up"), PLACE), place)
    assert refused.value.code == "StoreCorrupt"
    assert KEY.key_id.hex() in refused.value.message


@given(text=texts, data=st.data())
def test_a_flipped_bit_is_noticed_wherever_it_is(text: str, data: st.DataObject):
    sealed = bytearray(SEALER.seal(SecretText(text), PLACE).data)
    position = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[position // 8] ^= 1 << position % 8
    with pytest.raises(Corrupt) as refused:
        SEALER.open(SealedBytes(bytes(sealed)), PLACE)
    expected = "StoreKeyWrong" if 1 <= position // 8 < 9 else "StoreCorrupt"
    assert refused.value.code == expected


@given(size=st.integers(0, 110))
def test_a_cut_value_does_not_open(size: int):
    sealed = SEALER.seal(SecretText("made up, and then some more of it"), PLACE)
    with pytest.raises(Corrupt):
        SEALER.open(SealedBytes(sealed.data[:size]), PLACE)


@given(noise=st.binary(max_size=200))
def test_what_was_never_sealed_does_not_open(noise: bytes):
    with pytest.raises(Corrupt):
        SEALER.open(SealedBytes(noise), PLACE)


def test_another_key_is_told_by_its_id():
    other = Key(bytes(32), "another")
    sealed = EnvelopeSealer(other).seal(SecretText("made up"), PLACE)
    with pytest.raises(Corrupt, match=other.key_id.hex()) as refused:
        SEALER.open(sealed, PLACE)
    assert refused.value.code == "StoreKeyWrong"


def test_two_seals_of_one_value_never_look_alike():
    sealed = [SEALER.seal(SecretText("made up"), PLACE).data for _ in range(64)]
    head = 1 + 8
    assert len({value[:head] for value in sealed}) == 1
    for part in (slice(head, 21), slice(21, 69), slice(69, 81), slice(81, None)):
        assert len({value[part] for value in sealed}) == 64


def test_a_sealed_value_holds_nothing_of_the_text():
    text = "made~up~client~secret" * 4
    assert text.encode()[:8] not in SEALER.seal(SecretText(text), PLACE).data


def test_no_error_holds_bytes_of_value_or_key():
    text = "canary~client~secret"
    sealed = SEALER.seal(SecretText(text), PLACE)
    with pytest.raises(Corrupt) as refused:
        SEALER.open(sealed, MOVED["another row"])
    told = "".join(traceback.format_exception(refused.value)) + f"{refused.value.details} {refused.value.hint}"
    for hidden in (text, sealed.data.hex()[20:], repr(sealed.data)[2:40], bytes(range(32)).hex(), "InvalidTag"):
        assert hidden not in told


def test_what_the_first_release_sealed_opens():
    assert SEALER.open(SealedBytes(bytes.fromhex(FROZEN)), PLACE).reveal() == "made~up~client~secret"


def test_one_sealer_serves_many_threads():
    def both(number: int) -> str:
        place = SealedFor(table="versions", row="abcdefghijklmnop", version=number)
        return SEALER.open(SEALER.seal(SecretText(f"value {number}"), place), place).reveal()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(both, range(200))) == [f"value {number}" for number in range(200)]


def test_an_openssl_without_the_cipher_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch):
    def missing(key: bytes) -> None:
        raise UnsupportedAlgorithm("AES-GCM-SIV is not supported by this version of OpenSSL")

    monkeypatch.setattr(envelope, "AESGCMSIV", missing)
    with pytest.raises(Unavailable, match="OpenSSL has no AES-GCM-SIV") as refused:
        EnvelopeSealer(KEY)
    assert refused.value.code == "StoreUnavailable"
    assert "3.2" in refused.value.hint


# --- under another key

NEXT = EnvelopeSealer(Key(bytes(range(1, 33)), "the next"))


@given(text=texts, place=places)
def test_a_value_under_another_key_opens_to_itself_and_under_that_key_only(text: str, place: SealedFor):
    sealed = SEALER.seal(SecretText(text), place)
    moved = SEALER.reseal(sealed, place, NEXT)
    assert NEXT.open(moved, place).reveal() == text
    with pytest.raises(Corrupt) as refused:
        SEALER.open(moved, place)
    assert refused.value.code == "StoreKeyWrong"


def test_the_value_itself_is_not_sealed_anew():
    """Its data key is: what the ciphertext holds never passes through a change of the key."""
    sealed = SEALER.seal(SecretText("made up"), PLACE).data
    moved = SEALER.reseal(SealedBytes(sealed), PLACE, NEXT).data
    assert moved[69:] == sealed[69:]
    assert moved[1:69] != sealed[1:69]


def test_what_the_first_release_sealed_gets_another_key():
    moved = SEALER.reseal(SealedBytes(bytes.fromhex(FROZEN)), PLACE, NEXT)
    assert NEXT.open(moved, PLACE) == SEALER.open(SealedBytes(bytes.fromhex(FROZEN)), PLACE)


@pytest.mark.parametrize(
    "at", [0, 5, 15, 40, 75, 90], ids=["format", "key id", "nonce", "data key", "nonce 2", "value"]
)
def test_a_broken_value_is_not_moved_to_another_key(at: int):
    data = bytearray(SEALER.seal(SecretText("made up"), PLACE).data)
    data[at] ^= 1
    with pytest.raises(Corrupt):
        SEALER.reseal(SealedBytes(bytes(data)), PLACE, NEXT)


def test_a_moved_value_does_not_get_another_key():
    sealed = SEALER.seal(SecretText("made up"), PLACE)
    with pytest.raises(Corrupt):
        SEALER.reseal(sealed, SealedFor(table="versions", row="another", version=3), NEXT)
