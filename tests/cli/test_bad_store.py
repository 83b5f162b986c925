"""A store that is missing, full, damaged or somebody else's: told with code and fix, and left as it is."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.cli.conftest import Place, Terminal
from tests.cli.test_bad_input import refused, unchanged

COMMANDS = {
    "list": ["rotated-secret", "list"],
    "get-value": ["rotated-secret", "get-value", "-n", "old"],
    "rotate": ["rotate-secret", "-n", "old"],
    "delete": ["rotated-secret", "delete", "-n", "old"],
    "target create": ["target", "create", "azure", "-n", "t2", "--connection-type", "cloud-identity"],
}


def files(terminal: Terminal) -> dict[str, bytes]:
    """What lies on the disk, but for the shared memory of readers."""
    found = (path for path in terminal.home.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): path.read_bytes() for path in found}


@contextmanager
def full() -> Iterator[None]:
    """The store's file may not grow by a page, whoever opens it."""

    def limit(connection: Any, record: object) -> None:
        with closing(connection.cursor()) as cursor:
            cursor.execute("PRAGMA max_page_count=1")  # SQLite makes that the present size

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


@pytest.mark.parametrize("what", ["target", "item"])
def test_a_full_disk_is_told_and_nothing_is_changed(place: Place, what: str):
    bulky = ("--description", "x" * 20_000)
    argv = [*COMMANDS["target create"], *bulky] if what == "target" else place.item(*bulky)
    with full(), unchanged(place):
        refused(place.terminal(*argv), "StoreUnavailable", 1, "disk is full")


def test_a_disk_that_takes_nothing_more_stops_a_rotation_before_it_mints(place: Place):
    place.terminal.told(*place.item(name="old"))
    value = place.terminal.told("rotated-secret", "get-value", "-n", "old").out
    with unchanged(place):
        said = place.terminal.process("rotate-secret", "-n", "old", file_bytes=0)
        assert (said.returncode, said.stdout) == (1, b"")
        assert b"(StoreUnavailable)\nhint: " in said.stderr
    assert place.terminal.told("rotated-secret", "get-value", "-n", "old").out == value


def missing_key(terminal: Terminal) -> None:
    terminal.key_file.unlink()


def another_key(terminal: Terminal) -> None:
    terminal.key_file.unlink()
    other = Terminal(terminal.home / "other", None, None)  # type: ignore[arg-type]
    made = other.process(*COMMANDS["target create"], environment=other.settings)
    assert made.returncode == 0
    shutil.copy(other.key_file, terminal.key_file)


def no_key(terminal: Terminal) -> None:
    terminal.key_file.write_text("not a key\n")


def open_key(terminal: Terminal) -> None:
    terminal.key_file.chmod(0o644)


def garbage(terminal: Terminal) -> None:
    terminal.store.write_bytes(b"garbage " * 4096)


def torn(terminal: Terminal) -> None:
    content = bytearray(terminal.store.read_bytes())
    content[1024:-1024] = b"\xff" * (len(content) - 2048)
    terminal.store.write_bytes(content)


def another_program(terminal: Terminal) -> None:
    terminal.store.unlink()
    with closing(sqlite3.connect(terminal.store)) as connection, connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


def newer_release(terminal: Terminal) -> None:
    with closing(sqlite3.connect(terminal.store)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def a_folder(terminal: Terminal) -> None:
    terminal.store.unlink()
    terminal.store.mkdir()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (missing_key, "StoreKeyMissing"),
        (another_key, "StoreKeyWrong"),
        (no_key, "StoreKeyWrong"),
        (open_key, "StoreKeyWrong"),
        (garbage, "StoreCorrupt"),
        (torn, "StoreCorrupt"),
        (another_program, "StoreSchemaMismatch"),
        (newer_release, "StoreSchemaMismatch"),
        (a_folder, "StoreUnavailable"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_damaged_or_foreign_store_is_told_and_left_alone(
    stocked: Terminal, command: str, damage: Callable[[Terminal], None], code: str
):
    damage(stocked)
    before = files(stocked)
    refused(stocked(*COMMANDS[command]), code, 1)
    assert files(stocked) == before


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "target create"])
def test_a_store_that_is_not_there_is_told_and_not_made(terminal: Terminal, command: str):
    refused(terminal(*COMMANDS[command]), "StoreUnavailable", 1, str(terminal.store), "AZURE_ROTATOR_STORE")
    assert list(terminal.home.iterdir()) == []


def test_an_item_of_another_store_is_not_taken_for_a_deleted_one(place: Place):
    place.terminal.told(*place.item(name="old"))
    item_id = place.terminal.told("describe-item", "-n", "old", "--jq-expression", ".item_id").out.strip()
    place.terminal.told("delete-item", "-n", "old")
    refused(place.terminal("describe-item", "--item-id", item_id), "ItemNotFound", 4)
    refused(place.terminal("describe-item", "--item-id", "a" * 16), "StoreMismatch", 1, "AZURE_ROTATOR_STORE")


@pytest.mark.parametrize(
    "url", ["mysql://u:hush-hush@host/db", "sqlite://relative", "/just/a/path"], ids=["scheme", "form", "path"]
)
def test_a_setting_that_is_no_store_is_told_without_repeating_it(
    terminal: Terminal, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_ROTATOR_STORE", url)
    said = terminal("target", "list")
    refused(said, "ParameterInvalid", 2, "AZURE_ROTATOR_STORE")
    assert "hush" not in said.err


def test_the_key_never_lies_beside_its_store(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_ROTATOR_KEY_FILE", str(terminal.store.with_name("k")))
    refused(terminal(*COMMANDS["target create"]), "ParameterInvalid", 2, "AZURE_ROTATOR_KEY_FILE")
    assert not terminal.store.exists()


def test_store_and_key_are_for_their_user_only(terminal: Terminal):
    terminal.told(*COMMANDS["target create"])
    assert {path.stat().st_mode & 0o777 for path in _made(terminal.home)} <= {0o600, 0o700}


def _made(home: Path) -> list[Path]:
    return list(home.rglob("*"))
