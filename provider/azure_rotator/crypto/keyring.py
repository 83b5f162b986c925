"""The store's key: what it is, where it comes from, how a store knows it again.

A key is 32 random bytes, written as one line of text: ``azure-rotator-key-1:`` and their base64. It lies in a file that
only its user can read, or in the variable ``AZURE_ROTATOR_KEY``, which goes first. The key itself encrypts nothing:
each use has a key of its own, derived from it. Its check value is derived too; it tells a store's key from every other
and tells nothing about it.

A key is changed by way of a second file, its successor, ``store.key.next``: it is there before the store is under it,
and takes the first one's place after. In between a store finds its key in either::

    store.key (old)                      the store is under the old key
    store.key (old), store.key.next      … until its one transaction; from then on under the new one
    store.key (new)                      the old one stays as store.key.<its key id>.old: older backups need it

No message here ever holds a piece of what was read: a malformed key may be a good key with a slip in it.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from azure_rotator.domain.errors import Corrupt, Rejected, Unavailable
from azure_rotator.domain.ports import Entropy

VARIABLE = "AZURE_ROTATOR_KEY"
FILE_SETTING = "AZURE_ROTATOR_KEY_FILE"
_PREFIX = "azure-rotator-key-1:"
_KEY_BYTES = 32
_ID_BYTES = 8
_LONGEST = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Key:
    """A key-encryption key. Shows nothing and cannot be copied into a pickle.

    Args:
        material: 32 random bytes.
        origin: Where it was found, for messages: ``the key file /path`` or ``the variable AZURE_ROTATOR_KEY``.
    """

    __slots__ = ("_material", "check_value", "key_id", "origin")

    def __init__(self, material: bytes, origin: str) -> None:
        if len(material) != _KEY_BYTES:
            raise ValueError(f"a key is made of {_KEY_BYTES} bytes")
        self._material = material
        self.origin = origin
        self.key_id: bytes = self.derive("key id", _ID_BYTES)
        """Eight bytes in every sealed value that name the key it was sealed under."""
        self.check_value: str = self.derive("key check").hex()
        """64 characters by which a store knows its key."""

    def derive(self, purpose: str, size: int = _KEY_BYTES) -> bytes:
        """Bytes for one purpose that tell nothing about those for another."""
        return HKDF(SHA256(), size, salt=None, info=f"azure-rotator/1/{purpose}".encode()).derive(self._material)

    def as_text(self) -> str:
        """The line that a key file holds. For writing that file only."""
        return f"{_PREFIX}{base64.b64encode(self._material).decode()}"

    def __repr__(self) -> str:
        return f"Key({self.origin})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key cannot be pickled or copied")


def make_key(entropy: Entropy) -> Key:
    """A new random key, not written anywhere yet."""
    return Key(entropy.token(_KEY_BYTES), "a new key")


def find_key(*, key_file: Path, environ: Mapping[str, str], key_check: str | None = None) -> Key | None:
    """The key that is there: the variable's, else the file's; None if there is neither. An empty variable is none.

    Args:
        key_check: What the store has. If it is not the file's key, its successor may be the one, of a change of the key
            that goes on at this moment or was cut short.

    Raises:
        Corrupt: ``StoreKeyWrong`` for what is no key, or a file that others can read; ``StoreKeyMissing`` for a file
            that cannot be read.
    """
    text = environ.get(VARIABLE, "")
    if text:
        return _parse(text, f"the variable {VARIABLE}")
    key = _read(key_file)
    if key_check is None or (key is not None and key.check_value == key_check):
        return key
    # The first file a second time: the successor may have taken its place after the first look.
    for place in (successor_of(key_file), key_file):
        other = _read(place)
        if other is not None and other.check_value == key_check:
            return other
    return key


def successor_of(key_file: Path) -> Path:
    """Where the next key lies while the key is changed."""
    return key_file.with_name(f"{key_file.name}.next")


def create_key_file(key_file: Path, key: Key, *, store_folder: Path | None) -> Key:
    """Write the file, whole or not at all, for this user only, and onto the disk before returning.

    Args:
        store_folder: The folder of the SQLite file: a copy of that folder must not be a copy of store *and* key.

    Returns:
        The file's key: another process's if that one was faster.

    Raises:
        Rejected: ``ParameterInvalid``, the file would lie in the store's folder.
        Unavailable: ``StoreUnavailable``, it cannot be written.
        Corrupt: As ``find_key``.
    """
    folder = key_file.absolute().parent
    if store_folder is not None and folder.resolve() == store_folder.resolve():
        raise Rejected(
            "ParameterInvalid",
            f"the key file {key_file} would lie in the folder of its store",
            hint=f"name a file elsewhere with {FILE_SETTING}: who copies the store must not get its key with it",
            details={"property": "key_file"},
        )
    draft = folder / f".{key_file.name}.{os.getpid()}-{base64.b32encode(os.urandom(5)).decode().lower()}"
    try:
        _make_folder(folder)
        try:
            _write(draft, f"{key.as_text()}\n".encode())
            # A link and not a rename: it fails where a file exists, and a key is never overwritten.
            os.link(draft, key_file)
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(folder)
    except OSError as error:
        raise _not_written(key_file, error) from None
    found = _read(key_file)
    if found is None:
        raise _missing(f"the key file {key_file} vanished while it was made")
    return found


def new_key_file(key_file: Path, key: Key, *, store_folder: Path | None) -> Key:
    """``create_key_file`` for a person, who is told that there is a file.

    Raises:
        Rejected: ``ParameterInvalid``, also when there is a file, whatever it holds.
    """
    made = None
    if not os.path.lexists(key_file):
        made = create_key_file(key_file, key, store_folder=store_folder)
    if made is None or made.key_id != key.key_id:
        raise Rejected(
            "ParameterInvalid",
            f"there is a file at {key_file} already",
            hint="name another place with --to; a key is never overwritten",
            details={"property": "to"},
        )
    return made


def keep_old_key(key_file: Path, key: Key) -> Path:
    """Give the file a second name that it keeps when its successor takes the first. Returns: that name.

    Raises:
        Unavailable: ``StoreUnavailable``, it cannot be written.
    """
    kept = old_key_file(key_file, key)
    try:
        with suppress(FileExistsError):  # an attempt before this one
            os.link(key_file, kept)
        _sync_folder(key_file.absolute().parent)
    except OSError as error:
        raise _not_written(kept, error) from None
    return kept


def old_key_file(key_file: Path, key: Key) -> Path:
    """Where a key stays when the file has another."""
    return key_file.with_name(f"{key_file.name}.{key.key_id.hex()}.old")


def promote_successor(key_file: Path) -> None:
    """The successor takes its place; nothing happens if it has done so.

    Raises:
        Unavailable: ``StoreUnavailable``, it cannot be written.
    """
    try:
        with suppress(FileNotFoundError):
            successor_of(key_file).rename(key_file)
        _sync_folder(key_file.absolute().parent)
    except OSError as error:
        raise _not_written(key_file, error) from None


def matching_key(key: Key | None, key_check: str, *, key_file: Path, store: str) -> Key:
    """The key, if it is the one that this store was made with.

    Args:
        key_check: What the store holds.
        store: How messages name the store.

    Raises:
        Corrupt: ``StoreKeyMissing``, ``StoreKeyWrong``.
    """
    if key is None:
        raise _missing(f"the store {store} has a key, and there is none in {key_file} nor in {VARIABLE}")
    if key.check_value != key_check:
        raise Corrupt(
            "StoreKeyWrong",
            f"the store {store} was made with another key than {key.origin}",
            hint=f"name the key that belongs to this store with {FILE_SETTING} or {VARIABLE}; nothing was written",
        )
    return key


def _read(path: Path) -> Key | None:
    origin = f"the key file {path}"
    try:
        # Not blocking: a pipe that nobody writes to is refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _missing(f"{origin} cannot be read: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _malformed(f"{origin} is not a file")
        if status.st_mode & _OTHERS:
            raise Corrupt(
                "StoreKeyWrong",
                f"{origin} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
                hint=f"close it with: chmod 600 {path}; if others may have read it, treat its secrets as known",
            )
        content = os.read(descriptor, _LONGEST)
    except OSError as error:
        raise _missing(f"{origin} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    try:
        return _parse(content.decode("ascii"), origin)
    except UnicodeDecodeError:
        raise _malformed(f"{origin} does not hold a key") from None


def _parse(text: str, origin: str) -> Key:
    line = text.strip()
    if not line.startswith(_PREFIX):
        raise _malformed(f"{origin} does not hold a key")
    try:
        material = base64.b64decode(line.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise _malformed(f"{origin} holds a damaged key") from None
    if len(material) != _KEY_BYTES:
        raise _malformed(f"{origin} holds a damaged key")
    return Key(material, origin)


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)  # whatever the umask made of it
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _make_folder(folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for step in reversed(missing):
        step.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    # The name must survive a power cut as well as the content: a store may be made right after.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(key_file: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "StoreUnavailable",
        f"the key file {key_file} cannot be made: {error.strerror}",
        hint=f"let this user write there, or name another place with {FILE_SETTING}",
        applied="no",
    )


def _missing(message: str) -> Corrupt:
    return Corrupt(
        "StoreKeyMissing",
        message,
        hint=f"put the key of this store back, or name it with {FILE_SETTING} or {VARIABLE}; nothing was written",
    )


def _malformed(message: str) -> Corrupt:
    return Corrupt(
        "StoreKeyWrong",
        message,
        hint=f"a key is one line that begins with {_PREFIX}; restore it from its backup; nothing was written",
    )
