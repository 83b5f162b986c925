"""The store and its key as a whole, on both databases: made, shown, changed, looked through, copied."""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from azure_rotator.cli import main
from tests.cli.conftest import PROGRAM, Place, Said, Terminal, offline_item, offline_target
from tests.cli.test_bad_input import refused
from tests.plugins.postgres import Postgres
from tests.rows import row

VALUE = ("rotated-secret", "get-value", "-n", "s", "--jq-expression", ".value.client_secret")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def terminal(
    terminal: Terminal, database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """The terminal, on either database; there is neither store nor key yet."""
    if database == "sqlite":
        yield terminal
        return
    server: Postgres = request.getfixturevalue("postgres")
    terminal.url = server.create()
    monkeypatch.setenv("AZURE_ROTATOR_STORE", terminal.url)
    yield terminal
    server.drop(terminal.url)


@pytest.fixture
def keyed(terminal: Terminal) -> Terminal:
    """With a key."""
    terminal.told("key", "create", "--quiet")
    return terminal


@pytest.fixture
def stocked(keyed: Terminal) -> Terminal:
    """With a store, a Target and an item, made without Azure."""
    keyed.told(*offline_target())
    keyed.told(*offline_item("s"), stdin="made-up-too")
    return keyed


@pytest.fixture
def place(keyed: Terminal, place: Place) -> Place:
    """With a store and a Target that owns an application in Azure; the key was there first."""
    return place


on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _says_nothing_of_the_key(said: Said, *files: Path) -> None:
    for file in files:
        material = file.read_text().strip().partition(":")[2]
        for spelling in (material, base64.b64decode(material).hex()):
            assert spelling not in said.out + said.err


# --- a store in PostgreSQL ----------------------------------------------------------------------------------------


@on_postgresql
def test_a_store_in_postgresql_gets_no_key_on_the_quiet(terminal: Terminal):
    for argv in (offline_target(), ["db", "upgrade"]):
        refused(terminal(*argv), "StoreKeyMissing", 1, "azure-rotator key create")
    assert not terminal.key_file.exists()
    terminal.told("key", "create")
    terminal.told(*offline_target())
    assert [target["target_name"] for target in terminal.told("target", "list", "--json").json["targets"]] == ["/t"]


@on_postgresql
def test_an_empty_database_becomes_a_store(keyed: Terminal):
    refused(keyed("target", "list"), "StoreUnavailable", 1, "db upgrade")
    made = keyed.told("db", "upgrade", "--json").json
    assert (made["made"], made["schema_before"]) == (True, None)
    again = keyed.told("db", "upgrade", "--json").json
    assert again == made | {"made": False, "schema_before": made["schema"]}
    assert keyed.told("target", "list", "--json").json["targets"] == []


@pytest.mark.full
@on_postgresql
def test_a_life_in_postgresql(place: Place):
    """Key, store, Target, item, rotation, deletion: against Azure, each command a process."""
    terminal = place.terminal

    def told(*argv: str) -> str:
        done = terminal.process(*argv)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    told("target", "test", "-n", "t")
    told(*place.item())
    first = told(*VALUE)
    told("rotate-secret", "-n", "s")
    second = told(*VALUE)
    assert first != second
    assert "no orphans" in told("reconcile")
    assert told("db", "check", "--jq-expression", ".problems") == "[]\n"
    told("rotated-secret", "delete", "-n", "s")
    told("target", "delete", "-n", "t")
    assert [s.display_name for s in place.control.secrets(place.workload.app_id) if s.is_alive] == ["boot"]
    actions = [line["action"] for line in terminal.told("audit", "list", "--json").json["lines"]]
    assert actions[0] == "create_target"
    assert actions[-1] == "delete_target"


# --- key create, show, backup -------------------------------------------------------------------------------------


def test_a_key_is_made_for_its_user_alone_and_never_shown(terminal: Terminal):
    said = terminal.told("key", "create")
    assert _mode(terminal.key_file) == 0o600
    assert str(terminal.key_file) in said.out
    assert "back " in said.err
    _says_nothing_of_the_key(said, terminal.key_file)
    shown = terminal.told("key", "show", "--json")
    _says_nothing_of_the_key(shown, terminal.key_file)
    assert re.fullmatch(r"[0-9a-f]{64}", shown.json["check_value"])
    assert shown.json["check_value"] in said.out
    assert (shown.json["belongs_to_store"], shown.json["store_id"]) == (None, None)
    assert "hunter2" not in shown.out


def test_what_is_there_is_never_overwritten(stocked: Terminal, tmp_path: Path):
    other = tmp_path / "other"
    other.write_text("precious")
    before = stocked.key_file.read_bytes()
    refused(stocked("key", "create"), "ParameterInvalid", 2, "already", "--to")
    for words in (["key", "create"], ["key", "backup"]):
        refused(stocked(*words, "--to", str(other)), "ParameterInvalid", 2, "already")
    assert (other.read_text(), stocked.key_file.read_bytes()) == ("precious", before)


def test_a_lost_key_is_not_replaced_by_a_new_one(stocked: Terminal, tmp_path: Path):
    stocked.key_file.unlink()
    refused(stocked("key", "create"), "StoreKeyMissing", 1, "would not open it", "--to")
    assert not stocked.key_file.exists()
    refused(stocked("key", "show"), "StoreKeyMissing", 1)
    stocked.told("key", "create", "--to", str(tmp_path / "for" / "another" / "store.key"))


def test_a_key_is_shown_with_whether_it_is_the_stores(stocked: Terminal, tmp_path: Path, monkeypatch):
    assert stocked.told("key", "show", "--json").json["belongs_to_store"] is True
    stocked.told("key", "create", "--to", str(tmp_path / "another.key"))
    monkeypatch.setenv("AZURE_ROTATOR_KEY_FILE", str(tmp_path / "another.key"))
    assert stocked.told("key", "show", "--json").json["belongs_to_store"] is False
    refused(stocked("key", "backup", "--to", str(tmp_path / "copy")), "StoreKeyWrong", 1)
    refused(stocked("db", "check"), "StoreKeyWrong", 1)
    refused(stocked("key", "rotate"), "StoreKeyWrong", 1)


def test_a_backed_up_key_opens_the_store(stocked: Terminal, tmp_path: Path):
    copy = tmp_path / "safe" / "copy.key"
    said = stocked.told("key", "backup", "--to", str(copy))
    _says_nothing_of_the_key(said, copy)
    assert (_mode(copy), _mode(copy.parent)) == (0o600, 0o700)
    stocked.key_file.unlink()
    refused(stocked(*VALUE), "StoreKeyMissing", 1)
    copy.rename(stocked.key_file)
    assert stocked.told(*VALUE).out == "made-up-too\n"


@on_sqlite
def test_no_key_is_put_beside_its_store(stocked: Terminal):
    for words in (["key", "create"], ["key", "backup"], ["key", "rotate"]):
        refused(
            stocked(*words, "--to", str(stocked.store.with_name("k"))), "ParameterInvalid", 2, "folder of its store"
        )


@pytest.mark.parametrize("words", [["key", "backup"], ["db", "backup"]], ids=" ".join)
def test_a_backup_needs_a_file(stocked: Terminal, words: list[str]):
    refused(stocked(*words), "ParameterMissing", 2, "--to")


# --- key rotate ---------------------------------------------------------------------------------------------------


def _key_files(terminal: Terminal) -> list[str]:
    return sorted(path.name for path in terminal.key_file.parent.iterdir())


def test_another_key_opens_what_was_sealed_before_and_seals_from_then_on(stocked: Terminal):
    stocked.told("target", "update", "azure", "-n", "t", "--client-secret", "-", stdin="its second")
    sealed = stocked.told("db", "check", "--json").json["sealed_values"]
    before = stocked.told("key", "show", "--json").json
    old = stocked.key_file.read_bytes()
    said = stocked.told("key", "rotate", "--json")
    assert said.json["values"] == sealed >= 3, "what the Target had before is sealed, too"
    kept = Path(said.json["old_key_file"])
    assert _key_files(stocked) == ["store.key", f"store.key.{before['key_id']}.old"]
    assert (kept.read_bytes(), _mode(kept), _mode(stocked.key_file)) == (old, 0o600, 0o600)
    _says_nothing_of_the_key(said, kept, stocked.key_file)
    after = stocked.told("key", "show", "--json").json
    assert after["check_value"] == said.json["check_value"] != before["check_value"]
    assert (after["store_id"], after["belongs_to_store"]) == (before["store_id"], True)
    assert stocked.told(*VALUE).out == "made-up-too\n"
    stocked.told(*offline_item("another", key=7), stdin="sealed under the new one")
    assert stocked.told("db", "check", "--json").json["sealed_values"] == sealed + 1
    shutil.copy(kept, stocked.key_file)
    refused(stocked(*VALUE), "StoreKeyWrong", 1, "another key")


def test_all_machines_may_have_the_new_key_before(stocked: Terminal, tmp_path: Path):
    """Each has it as the successor of the old one; who opens the store after the change finds it there."""
    another = tmp_path / "another-machine" / "store.key"
    another.parent.mkdir()
    shutil.copy(stocked.key_file, another)
    stocked.told("key", "create", "--to", f"{stocked.key_file}.next")
    shutil.copy(f"{stocked.key_file}.next", f"{another}.next")
    stocked.told("key", "rotate")
    done = stocked.process(*VALUE, environment={"AZURE_ROTATOR_KEY_FILE": str(another)})
    assert (done.returncode, done.stdout) == (0, b"made-up-too\n")


def test_a_key_in_the_variable_is_changed_by_way_of_a_file(stocked: Terminal, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AZURE_ROTATOR_KEY", stocked.key_file.read_text())
    stocked.key_file.unlink()
    refused(stocked("key", "rotate"), "ParameterMissing", 2, "--to")
    new = tmp_path / "new.key"
    assert stocked.told("key", "rotate", "--to", str(new), "--json").json["old_key_file"] is None
    refused(stocked(*VALUE), "StoreKeyWrong", 1, "the variable AZURE_ROTATOR_KEY")
    again = stocked.told("key", "rotate", "--to", str(new), "--json").json
    assert again["values"] is None, "it is under that key already"
    monkeypatch.setenv("AZURE_ROTATOR_KEY", new.read_text())
    assert stocked.told(*VALUE).out == "made-up-too\n"


def test_a_store_with_a_broken_value_keeps_its_key(stocked: Terminal, database: str):
    broken = _broken_value(stocked, database)
    refused(stocked("key", "rotate"), "StoreCorrupt", 1, broken)
    assert stocked.told("key", "show", "--json").json["belongs_to_store"] is True
    stocked.told("target", "list")


def _broken_value(terminal: Terminal, database: str) -> str:
    """Cut the item's value. Returns: how messages name it."""
    from tests.store.inspection import outside_of

    outside = outside_of(terminal.url)
    half = "substr(sealed_value, 1, 90)" if database == "sqlite" else "substring(sealed_value FROM 1 FOR 90)"
    ((version_id,),) = outside.execute("SELECT version_id FROM versions")
    outside.execute(f"UPDATE versions SET sealed_value = {half}")  # noqa: S608 - one of the two above
    return str(version_id)


class _Victim:
    """Ends this process with kill -9 before its n-th effect: a statement, a commit, a connection given back, a file."""

    def __init__(self, number: int) -> None:
        self.left = number
        for name in ("open", "link", "fsync", "rename", "unlink"):
            setattr(os, name, self._counted(getattr(os, name)))
        for target, what in ((Engine, "before_cursor_execute"), (Engine, "commit"), (Pool, "checkin")):
            event.listen(target, what, self.step)

    def step(self, *_: object) -> None:
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def _counted(self, function: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **options: object) -> object:
            self.step()
            return function(*args, **options)

        return counted


def _cut_off(number: int, *argv: str) -> bool:
    """Run a command in a process that is killed before its n-th effect. Returns: whether it came so far."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            _Victim(number)
            code = main(argv)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status in {0, signal.SIGKILL}, f"it ended with {status}"
    return status == signal.SIGKILL


@row("F67")
@pytest.mark.full
@pytest.mark.crash
@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_change_of_the_key_may_be_cut_off_anywhere(
    stocked: Terminal, database: str, tmp_path: Path, monkeypatch, request: pytest.FixtureRequest
):
    """At every moment the store opens with what is on the disk; the same command goes on."""
    url, keys = stocked.url, stocked.key_file.parent
    for number in itertools.count():
        folder = tmp_path / f"cut-{number}"
        shutil.copytree(keys, folder / "key")
        monkeypatch.setenv("AZURE_ROTATOR_KEY_FILE", str(folder / "key" / "store.key"))
        if database == "sqlite":
            stocked.told("db", "backup", "--to", str(tmp_path / f"{number}.db"), "--quiet")
            copy = f"sqlite:///{tmp_path}/{number}.db"
        else:
            copy = request.getfixturevalue("postgres").create(template=url)
        with monkeypatch.context() as patch:
            patch.setenv("AZURE_ROTATOR_STORE", copy)
            killed = _cut_off(number, "key", "rotate", "--quiet")
            assert stocked.told(*VALUE).out == "made-up-too\n", f"killed before effect {number}"
            assert stocked.told("key", "show", "--json").json["belongs_to_store"] is True
            if killed:
                stocked.told("key", "rotate")
            assert stocked.told("db", "check", "--json").json["problems"] == []
            names = sorted(path.name for path in (folder / "key").iterdir() if not path.name.startswith("."))
            assert names[0] == "store.key"
            assert not any(name.endswith(".next") for name in names)
        if database == "postgresql":
            request.getfixturevalue("postgres").drop(copy)
        if not killed:
            break
    assert number > 20


# --- db -----------------------------------------------------------------------------------------------------------


def test_a_store_in_order(stocked: Terminal):
    done = stocked.told("db", "check", "--json").json
    assert done["problems"] == []
    assert done["sealed_values"] >= 2
    assert (done["rows"]["items"], done["rows"]["targets"], done["rows"]["versions"]) == (1, 1, 1)
    assert done["store_id"] == stocked.told("key", "show", "--json").json["store_id"]
    assert "made-up" not in stocked.told("db", "check").out


def test_a_value_that_does_not_open_is_told_with_its_place(stocked: Terminal, database: str):
    broken = _broken_value(stocked, database)
    said = stocked("db", "check", "--json")
    assert (said.code, said.error["code"]) == (1, "StoreCorrupt")
    (problem,) = said.json["problems"]
    assert broken in problem


@on_sqlite
def test_a_copied_store_opens_with_its_key(stocked: Terminal, tmp_path: Path):
    copy = tmp_path / "backup.db"
    made = stocked.told("db", "backup", "--to", str(copy), "--json").json
    assert made["bytes"] == copy.stat().st_size
    assert _mode(copy) == 0o600
    done = stocked.process(*VALUE, environment={"AZURE_ROTATOR_STORE": f"sqlite:///{copy}"})
    assert (done.returncode, done.stdout) == (0, b"made-up-too\n")
    refused(stocked("db", "backup", "--to", str(copy)), "ParameterInvalid", 2, "already")


@on_postgresql
def test_postgresql_is_backed_up_by_its_own_tool(stocked: Terminal, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("AZURE_ROTATOR_STORE", "postgresql://ann:hunter2@db.example/rotator")
    to = tmp_path / "a b.dump"
    said = stocked("db", "backup", "--to", str(to))
    refused(said, "FormatNotAvailable", 2, f"pg_dump --format=custom --file='{to}' postgresql://db.example/rotator")
    assert "hunter2" not in said.out + said.err
    assert not to.exists()


@on_sqlite
def test_db_commands_make_no_store(terminal: Terminal, tmp_path: Path):
    for words in (["db", "upgrade"], ["db", "check"], ["db", "backup", "--to", str(tmp_path / "x")]):
        refused(terminal(*words), "StoreUnavailable", 1, "no store")
    assert not terminal.store.exists()


# --- a key that is lost or changed while a rotation runs ----------------------------------------------------------


def _rotating(place: Place) -> subprocess.Popen[bytes]:
    env = os.environ | place.terminal.settings
    return subprocess.Popen(
        [PROGRAM, "rotate-secret", "-n", "s"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def _alive(place: Place) -> set[str]:
    return {s.key_id for s in place.control.secrets(place.workload.app_id) if s.is_alive}


@row("F67")
@pytest.mark.full
@pytest.mark.crash
def test_a_key_that_is_changed_while_a_secret_is_minted(place: Place):
    terminal = place.terminal
    terminal.told(*place.item())
    value, alive = terminal.told(*VALUE).out, _alive(place)
    held = place.control.add_fault("graph.addPassword", app=place.workload.app_id, when="after", hold=True)
    with _rotating(place) as process:
        held.wait_reached(timeout_seconds=60)
        terminal.told("key", "rotate")
        held.release()
        _, told = process.communicate(timeout=60)
    held.remove()
    assert process.returncode == 1
    assert b"(StoreKeyWrong)\nhint: begin again with the new key" in told
    assert _alive(place) == alive, "what could not be stored was removed at once"
    assert terminal.told(*VALUE).out == value
    terminal.told("rotate-secret", "-n", "s")
    assert terminal.told(*VALUE).out != value
    assert terminal.told("db", "check", "--json").json["problems"] == []
    assert "no orphans" in terminal.told("reconcile").out


@row("F67")
@pytest.mark.full
@pytest.mark.crash
def test_a_key_that_is_lost_while_a_secret_is_minted(place: Place, tmp_path: Path, monkeypatch):
    terminal = place.terminal
    monkeypatch.setenv("AZURE_ROTATOR_LEASE", "1")
    terminal.told(*place.item())
    value = terminal.told(*VALUE).out
    terminal.told("key", "backup", "--to", str(tmp_path / "safe.key"))
    held = place.control.add_fault("graph.addPassword", app=place.workload.app_id, when="after", hold=True)
    with _rotating(place) as process:
        held.wait_reached(timeout_seconds=60)
        terminal.key_file.unlink()
        process.kill()
    held.release()
    held.remove()
    for argv in (VALUE, ("rotate-secret", "-n", "s"), ("reconcile",), ("key", "rotate"), ("db", "check")):
        refused(terminal(*argv), "StoreKeyMissing", 1)
    (tmp_path / "safe.key").rename(terminal.key_file)
    assert terminal.told(*VALUE).out == value
    terminal.told("rotate-secret", "-n", "s", "--timeout", "120")
    assert terminal.told(*VALUE).out != value
    assert "no orphans" in terminal.told("reconcile").out
