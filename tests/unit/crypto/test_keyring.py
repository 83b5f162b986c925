"""The store's key: where it comes from, who may read it, how a store knows it again."""

from __future__ import annotations

import base64
import os
import pickle
import stat
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azure_rotator.crypto.keyring import (
    VARIABLE,
    Key,
    create_key_file,
    find_key,
    keep_old_key,
    make_key,
    matching_key,
    new_key_file,
    promote_successor,
    successor_of,
)
from azure_rotator.domain.errors import Corrupt, Rejected, RotatorError, Unavailable

MATERIAL = bytes(range(32))
TEXT = "azure-rotator-key-1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CHECK = "8c51f77b23222b1cbbb93638d743b5b1e540dc091bc338a153784288bea125b0"


class Entropy:
    def token(self, size: int) -> bytes:
        return os.urandom(size)

    def jitter(self) -> float:
        return 0.0


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "key"


@pytest.fixture
def written(key_file: Path) -> Path:
    key_file.parent.mkdir(mode=0o700)
    key_file.write_text(f"{TEXT}\n")
    key_file.chmod(0o600)
    return key_file


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


# --- what a key is


def test_a_key_keeps_its_text_its_id_and_its_check_value_for_ever():
    """Written in key files, in stores and in every sealed value: they must not change with a release."""
    key = Key(MATERIAL, "a test")
    assert (key.as_text(), key.key_id.hex(), key.check_value) == (TEXT, "08e557f38406d46c", CHECK)


def test_a_key_shows_nothing():
    key = Key(MATERIAL, "the key file /etc/key")
    shown = f"{key} {key!r} {[key]}"
    assert shown.count("Key(the key file /etc/key)") == 3
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(key)


def test_derived_bytes_differ_by_purpose_and_from_the_key():
    key = Key(MATERIAL, "a test")
    assert len({key.derive("a"), key.derive("b"), MATERIAL, bytes.fromhex(key.check_value)}) == 4


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_has_32_bytes(size: int):
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytes(size), "a test")


def test_new_keys_differ():
    assert len({make_key(Entropy()).check_value for _ in range(8)}) == 8


# --- where it comes from

SOURCES: dict[str, tuple[dict[str, str], bool, str | None]] = {
    "nowhere": ({}, False, None),
    "the file": ({}, True, "the key file"),
    "the variable": ({VARIABLE: TEXT}, False, f"the variable {VARIABLE}"),
    "the variable, with a line end": ({VARIABLE: f"{TEXT}\r\n"}, False, f"the variable {VARIABLE}"),
    "both: the variable": ({VARIABLE: TEXT}, True, f"the variable {VARIABLE}"),
    "an empty variable is none": ({VARIABLE: ""}, True, "the key file"),
}


@pytest.mark.parametrize(("environ", "file", "origin"), SOURCES.values(), ids=list(SOURCES))
def test_where_a_key_comes_from(key_file: Path, environ: dict[str, str], file: bool, origin: str | None):
    if file:
        create_key_file(key_file, Key(MATERIAL, "a test"), store_folder=None)
    key = find_key(key_file=key_file, environ=environ)
    assert (key is not None) == (origin is not None)
    if key is not None and origin is not None:
        assert key.check_value == CHECK
        assert key.origin.startswith(origin)


MODES = {0o600: True, 0o400: True, 0o700: True, 0o640: False, 0o604: False, 0o660: False, 0o610: False, 0o644: False}


@pytest.mark.parametrize(("mode", "accepted"), MODES.items(), ids=[oct(mode) for mode in MODES])
def test_a_key_that_others_can_read_is_refused(written: Path, mode: int, accepted: bool):
    written.chmod(mode)
    if accepted:
        assert find_key(key_file=written, environ={}) is not None
        return
    with pytest.raises(Corrupt, match="open to other users") as refused:
        find_key(key_file=written, environ={})
    assert refused.value.code == "StoreKeyWrong"
    assert f"chmod 600 {written}" in refused.value.hint


# A good key with a slip in it is still nearly a key: no message may repeat it.
HALF = TEXT[-20:]
MALFORMED = {
    "empty": "",
    "no prefix": TEXT.partition(":")[2],
    "another prefix": TEXT.replace("key-1", "key-2"),
    "a letter too few": TEXT.replace("AAEC", "AAE"),
    "a byte too few": "azure-rotator-key-1:" + base64.b64encode(MATERIAL[:31]).decode(),
    "a byte too many": "azure-rotator-key-1:" + base64.b64encode(MATERIAL + b"x").decode(),
    "two lines": f"{TEXT}\n{TEXT}",
    "a blank inside": TEXT.replace("BgcI", "Bg cI"),
    "not ASCII": TEXT.replace("AAEC", "ÄÄEC"),
    "endless": TEXT * 1000,
}


CASES = [
    (source, name) for source in ("file", "variable") for name, text in MALFORMED.items() if text or source == "file"
]


@pytest.mark.parametrize(("source", "name"), CASES)
def test_a_malformed_key_is_refused_and_not_told(written: Path, source: str, name: str):
    text = MALFORMED[name]
    written.write_text(text if source == "file" else TEXT, encoding="utf-8")
    environ = {VARIABLE: text} if source == "variable" else {}
    with pytest.raises(Corrupt) as refused:
        find_key(key_file=written, environ=environ)
    assert refused.value.code == "StoreKeyWrong"
    told = "".join(traceback.format_exception(refused.value)) + refused.value.hint + str(refused.value.details)
    assert HALF not in told
    assert refused.value.hint


def test_a_folder_and_a_pipe_are_no_key_files(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(Corrupt, match="not a file") as refused:
            find_key(key_file=path, environ={})
        assert refused.value.code == "StoreKeyWrong"


def test_a_key_file_that_cannot_be_read_is_missing(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(Corrupt, match="cannot be read") as refused:
        find_key(key_file=tmp_path / "file" / "key", environ={})
    assert refused.value.code == "StoreKeyMissing"


# --- making the file


def test_a_key_file_is_its_users_alone(no_umask: None, tmp_path: Path):
    key_file = tmp_path / "new" / "deep" / "key"
    made = create_key_file(key_file, Key(MATERIAL, "a test"), store_folder=tmp_path / "data")
    assert made.origin == f"the key file {key_file}"
    assert key_file.read_text() == f"{TEXT}\n"
    modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in (key_file, key_file.parent, tmp_path / "new")]
    assert modes == ["0o600", "0o700", "0o700"]
    assert list(key_file.parent.iterdir()) == [key_file], "the draft is gone"


def test_a_key_file_that_exists_is_never_overwritten(written: Path):
    found = create_key_file(written, make_key(Entropy()), store_folder=None)
    assert found.check_value == CHECK
    assert written.read_text() == f"{TEXT}\n"
    assert list(written.parent.iterdir()) == [written]


def test_many_at_once_agree_on_one_key(key_file: Path):
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: create_key_file(key_file, make_key(Entropy()), store_folder=None), range(16)))
    assert len({key.check_value for key in keys}) == 1
    assert list(key_file.parent.iterdir()) == [key_file]


def _same(folder: Path) -> Path:
    return folder


def _by_another_name(folder: Path) -> Path:
    other = folder.with_name("link")
    other.symlink_to(folder)
    return other


def _roundabout(folder: Path) -> Path:
    return folder / ".." / folder.name


@pytest.mark.parametrize("spelt", [_same, _by_another_name, _roundabout])
def test_no_key_lies_beside_its_store(tmp_path: Path, spelt: Callable[[Path], Path]):
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(Rejected, match="folder of its store") as refused:
        create_key_file(spelt(folder) / "key", Key(MATERIAL, "a test"), store_folder=folder)
    assert refused.value.code == "ParameterInvalid"
    assert list(folder.iterdir()) == []


def test_a_key_that_cannot_be_written_says_why(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Not a directory") as refused:
        create_key_file(tmp_path / "file" / "key", Key(MATERIAL, "a test"), store_folder=None)
    assert refused.value.code == "StoreUnavailable"


def test_a_malformed_file_that_exists_is_not_replaced(written: Path):
    written.write_text("half a key")
    with pytest.raises(Corrupt):
        create_key_file(written, make_key(Entropy()), store_folder=None)
    assert written.read_text() == "half a key"


# --- knowing it again

MATCHES = {
    "its own key": (Key(MATERIAL, "a test"), None),
    "no key": (None, "StoreKeyMissing"),
    "another key": (Key(bytes(32), "the key file /etc/other"), "StoreKeyWrong"),
}


@pytest.mark.parametrize(("key", "code"), MATCHES.values(), ids=list(MATCHES))
def test_a_store_knows_its_key(key: Key | None, code: str | None):
    def match() -> Key:
        return matching_key(key, CHECK, key_file=Path("/etc/key"), store="/data/store.db")

    if code is None:
        assert match() is key
        return
    with pytest.raises(RotatorError, match=r"/data/store\.db") as refused:
        match()
    assert isinstance(refused.value, Corrupt)
    assert refused.value.code == code
    assert ("/etc/key" in refused.value.message) or ("/etc/other" in refused.value.message)
    assert "nothing was written" in refused.value.hint


# --- a key that is changed


@pytest.fixture
def successor(written: Path) -> Key:
    """The next key, beside the present one."""
    return create_key_file(successor_of(written), make_key(Entropy()), store_folder=None)


def test_a_store_finds_its_key_in_either_file_and_after_the_change(written: Path, successor: Key):
    old = Key(MATERIAL, "a test")

    def found(key_check: str | None) -> str | None:
        key = find_key(key_file=written, environ={}, key_check=key_check)
        return key.key_id.hex() if key else None

    ids = {None: old.key_id.hex(), CHECK: old.key_id.hex(), successor.check_value: successor.key_id.hex()}
    assert {check: found(check) for check in ids} == ids
    assert found("e" * 64) == old.key_id.hex(), "a store of neither is told about the first"
    kept = keep_old_key(written, old)
    promote_successor(written)
    assert {check: found(check) for check in ids} == dict.fromkeys(ids, successor.key_id.hex())
    assert kept.read_text() == f"{TEXT}\n"
    assert sorted(path.name for path in written.parent.iterdir()) == ["key", "key.08e557f38406d46c.old"]


def test_the_variable_has_no_successor(written: Path, successor: Key):
    key = find_key(key_file=written, environ={VARIABLE: TEXT}, key_check=successor.check_value)
    assert key is not None
    assert key.check_value == CHECK


def test_a_change_that_was_cut_off_is_repeated_without_harm(written: Path, successor: Key):
    old = Key(MATERIAL, "a test")
    assert keep_old_key(written, old) == keep_old_key(written, old)
    for _ in range(2):
        promote_successor(written)
    present = find_key(key_file=written, environ={})
    assert present is not None
    assert present.check_value == successor.check_value


def test_a_person_is_told_that_there_is_a_file(written: Path, tmp_path: Path):
    key = make_key(Entropy())
    made = new_key_file(tmp_path / "new" / "key", key, store_folder=None)
    assert made.check_value == key.check_value
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "text").write_text("precious")
    for taken in (written, tmp_path / "link", tmp_path / "text", tmp_path):
        with pytest.raises(Rejected, match="already") as refused:
            new_key_file(taken, key, store_folder=None)
        assert refused.value.code == "ParameterInvalid"
    assert (written.read_text(), (tmp_path / "text").read_text()) == (f"{TEXT}\n", "precious")


def test_a_folder_that_takes_nothing_is_told(written: Path, successor: Key, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(Unavailable, match="No space left") as refused:
        keep_old_key(written, Key(MATERIAL, "a test"))
    assert refused.value.code == "StoreUnavailable"
    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(Unavailable, match="No space left"):
        promote_successor(written)
