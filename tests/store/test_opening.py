"""Finding, making, upgrading and opening stores."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from azure_rotator.domain.errors import Corrupt, Rejected, Unavailable
from azure_rotator.store import opening, tables
from azure_rotator.store.connect import Database, make_file
from azure_rotator.store.location import locate
from azure_rotator.store.opening import StoreMeta, create, open_store, peek, upgrade
from tests.store import samples
from tests.store.conftest import KEY_CHECK, STORE_ID, on_postgresql, on_sqlite
from tests.store.inspection import StoreDatabase, outside_of, schema

META = StoreMeta(store_id=STORE_ID, key_check=KEY_CHECK, revision=opening.REVISIONS[-1])

# --- the setting

PLACES = {
    "absolute": ("sqlite:////var/lib/x.db", Path("/var/lib/x.db")),
    "relative": ("sqlite:///data/x.db", Path.cwd() / "data/x.db"),
    "with spaces and percents": ("sqlite:////tmp/a b%20c.db", Path("/tmp/a b%20c.db")),
}


@pytest.mark.parametrize(("url", "path"), PLACES.values(), ids=list(PLACES))
def test_a_sqlite_url_names_a_file(url: str, path: Path):
    location = locate(url)
    assert (location.path, location.folder, location.label) == (path, path.parent, str(path))


SERVERS = {
    "all of it": (
        "ann:hunter2@db.example:5432/rotator?sslmode=require&password=hunter2",
        "db.example:5432/rotator",
    ),
    "no user": ("db.example/rotator", "db.example/rotator"),
    "nothing but the options": ("?host=/run/postgresql&password=hunter2", ""),
    "a socket": ("ann@/rotator?host=/run/postgresql", "/rotator"),
    "several hosts": ("ann:hunter2@a:5432,b:5433/rotator?target_session_attrs=any", "a:5432,b:5433/rotator"),
    "IPv6": ("ann:hunter2@[2001:db8::1]:5432/rotator", "[2001:db8::1]:5432/rotator"),
    "a password with percents": ("ann:hunter2%40%2F%3F@db.example/rotator", "db.example/rotator"),
    "an empty password": ("ann:@db.example/rotator", "db.example/rotator"),
}


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize(("address", "label"), SERVERS.values(), ids=list(SERVERS))
def test_a_postgresql_url_is_shown_without_its_password(scheme: str, address: str, label: str):
    location = locate(f"{scheme}://{address}")
    assert location.label == f"postgresql://{label}"
    assert location.url == f"postgresql://{address}"
    assert (location.path, location.folder) == (None, None)
    assert "hunter2" not in repr(location)


REFUSED = [
    "",
    "hunter2",
    "/var/lib/x.db",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:////var/lib/",
    "sqlite:///x.db?mode=hunter2",
    "mysql://ann:hunter2@db/rotator",
    "postgres://ann:hunter2@db/rotator",
    "postgresql+asyncpg://ann:hunter2@db/rotator",
    # What looks like a password with a bare sign in it is never taken for a host or a database.
    "postgresql://ann:hunter2@hunter2@db/rotator",
    "postgresql://ann:1?hunter2@db/rotator",
    "postgresql://ann:hunter2/hunter2@db/rotator",
    "postgresql://ann:hunter2#@db/rotator",
    "postgresql://ann:hunter2 @db/rotator",
    "postgresql://db/rotator?password=hunter2#",
    "postgresql://db/rotator?" + "a=b" * 40 + "#hunter2",
]


@pytest.mark.parametrize("url", REFUSED)
def test_any_other_setting_is_refused_and_not_echoed(url: str):
    for use in (locate, peek, upgrade, open_store, lambda url: create(url, store_id=STORE_ID, key_check=KEY_CHECK)):
        with pytest.raises(Rejected, match="AZURE_ROTATOR_STORE") as refused:
            use(url)
        assert refused.value.code == "ParameterInvalid"
        assert "hunter2" not in f"{refused.value} {refused.value.hint} {refused.value.details}"


def test_postgresql_without_its_driver_says_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Unavailable, match="psycopg") as refused:
        peek("postgresql://ann:hunter2@db.example/rotator")
    assert refused.value.code == "StoreUnavailable"
    assert "azure-rotator[postgres]" in refused.value.hint
    assert "sqlite:////" in refused.value.hint
    assert "hunter2" not in str(refused.value)


# --- making


def test_a_store_is_made_once_and_knows_itself(url: str):
    assert peek(url) is None
    assert create(url, store_id=STORE_ID, key_check=KEY_CHECK) == META
    assert create(url, store_id="another2another2", key_check="d" * 64) == META, "the first one stays"
    assert peek(url) == META
    with open_store(url) as store:
        assert store.store_id() == STORE_ID


def test_looking_for_a_store_makes_nothing(url: str, database: str, tmp_path: Path):
    assert peek(url) is None
    with pytest.raises(Unavailable, match="no store") as refused:
        open_store(url)
    assert refused.value.code == "StoreUnavailable"
    with pytest.raises(Unavailable, match="no store"):
        upgrade(url)
    assert list(tmp_path.iterdir()) == []
    if database == "postgresql":
        assert StoreDatabase(url).everything() == {}


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_its_user_can_read_a_store(umask: None, tmp_path: Path):
    url = f"sqlite:///{tmp_path}/new/deep/store.db"
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with open_store(url) as store:
        samples.add_target(store)
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "new").rglob("*")}
    assert modes == {"deep": "0o700", "store.db": "0o600", "store.db-wal": "0o600", "store.db-shm": "0o600"}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_there_keeps_its_permissions(tmp_path: Path):
    tmp_path.chmod(0o755)
    create(f"sqlite:///{tmp_path}/store.db", store_id=STORE_ID, key_check=KEY_CHECK)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_an_empty_file_becomes_the_store(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "store.db").touch()
    assert peek(url) is None
    assert create(url, store_id=STORE_ID, key_check=KEY_CHECK) == META


def test_many_at_once_make_one_store(url: str):
    def make(number: int) -> StoreMeta:
        return create(url, store_id=f"{number:016d}", key_check=f"{number:064d}")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(make, range(16)))
    assert len(set(answers)) == 1
    assert peek(url) == answers[0]


def test_making_a_store_waits_for_another_process(tmp_path: Path):
    """SQLite does not, for the switch to WAL."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="another process holds its lock"):
            create(f"sqlite:///{path}", store_id=STORE_ID, key_check=KEY_CHECK, busy_seconds=0.05)
        release = Timer(0.1, other.execute, ["ROLLBACK"])
        release.start()
        assert create(f"sqlite:///{path}", store_id=STORE_ID, key_check=KEY_CHECK) == META
        release.join()


@on_sqlite
def test_a_restored_store_is_switched_to_wal(url: str, tmp_path: Path):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    _sql(url, "PRAGMA journal_mode=DELETE")
    with open_store(url) as store:
        samples.add_target(store)
        assert (tmp_path / "data" / "store.db-wal").exists()


@on_sqlite
def test_every_commit_is_on_the_disk(url: str):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with open_store(url) as store, store._db.reading() as connection:
        settings = {
            pragma: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


# --- what is not a store of ours


def _newer(url: str) -> None:
    _sql(url, "UPDATE alembic_version SET version_num = '9999'")


def _no_revision(url: str) -> None:
    _sql(url, "DELETE FROM alembic_version")


def _another_program(url: str) -> None:
    path = locate(url).path
    if path is not None:
        path.unlink()
        path.touch()
    else:
        _sql(url, "DROP SCHEMA public CASCADE")
        _sql(url, "CREATE SCHEMA public")
    _sql(url, "CREATE TABLE bookmarks (url TEXT)")


def _lost_meta(url: str) -> None:
    _sql(url, "DELETE FROM meta")


def _header_overwritten(url: str) -> None:
    with _file(url).open("r+b") as file:
        file.write(b"\xde\xad" * 50)


def _cut(url: str) -> None:
    os.truncate(_file(url), _file(url).stat().st_size // 2)


def _text(url: str) -> None:
    _file(url).write_text("this is not a database, it is a letter\n" * 100)


def _sql(url: str, statement: str) -> list[tuple[object, ...]]:
    return outside_of(url).execute(statement)


def _file(url: str) -> Path:
    path = locate(url).path
    assert path is not None
    return path


Damage = Callable[[str], None]
NOT_A_STORE: dict[str, tuple[Damage, str]] = {
    "a newer release's schema": (_newer, "StoreSchemaMismatch"),
    "a schema of no release": (_no_revision, "StoreSchemaMismatch"),
    "another program's database": (_another_program, "StoreSchemaMismatch"),
    "a store without its id": (_lost_meta, "StoreCorrupt"),
}
NOT_A_FILE_OF_OURS: dict[str, tuple[Damage, str]] = NOT_A_STORE | {
    "a header overwritten": (_header_overwritten, "StoreCorrupt"),
    "a file cut in half": (_cut, "StoreCorrupt"),
    "a text file": (_text, "StoreCorrupt"),
}
USES: list[Callable[[str], object]] = [
    peek,
    open_store,
    upgrade,
    lambda url: create(url, store_id=STORE_ID, key_check=KEY_CHECK),
]


@pytest.mark.parametrize(("damage", "code"), NOT_A_STORE.values(), ids=list(NOT_A_STORE))
def test_what_is_not_our_store_is_refused_and_left_alone(url: str, damage: Damage, code: str):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    damage(url)
    before = outside_of(url).everything()
    for use in USES:
        with pytest.raises(Corrupt) as refused:
            use(url)
        assert refused.value.code == code
        assert refused.value.hint
        assert outside_of(url).everything() == before


@on_sqlite
@pytest.mark.parametrize(("damage", "code"), NOT_A_FILE_OF_OURS.values(), ids=list(NOT_A_FILE_OF_OURS))
def test_a_file_that_is_not_our_store_keeps_every_byte(url: str, damage: Damage, code: str):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    damage(url)
    before = _file(url).read_bytes()
    for use in USES:
        with pytest.raises(Corrupt) as refused:
            use(url)
        assert refused.value.code == code
        assert _file(url).read_bytes() == before
    assert [file.name for file in _file(url).parent.iterdir()] == ["store.db"]


def test_a_folder_is_not_a_store(tmp_path: Path):
    with pytest.raises(Unavailable) as refused:
        peek(f"sqlite:///{tmp_path}")
    assert refused.value.code == "StoreUnavailable"


def test_a_store_that_cannot_be_made_says_why(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Not a directory") as refused:
        create(f"sqlite:///{tmp_path}/file/store.db", store_id=STORE_ID, key_check=KEY_CHECK)
    assert refused.value.code == "StoreUnavailable"


# --- the schema


def _migrated(url: str, to: str = "head") -> None:
    path = locate(url).path
    if path is not None:
        make_file(path)
    with closing(Database(locate(url))) as database:
        opening._migrate(database, to)


def test_making_a_store_and_migrating_one_give_the_sameschema(url: str, another_url: str):
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    _migrated(another_url)
    assert schema(url) == schema(another_url)


def test_the_migrations_make_what_the_tables_say(url: str):
    _migrated(url)
    with closing(Database(locate(url))) as database, database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_the_list_of_revisions_is_that_of_the_scripts():
    config = Config()
    config.set_main_option("script_location", str(opening.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == opening.REVISIONS


def test_opening_a_current_store_loads_no_alembic(url: str):
    program = (
        "import sys\n"
        "from azure_rotator.store.opening import create, open_store\n"
        f"create({url!r}, store_id='a' * 16, key_check='b' * 64)\n"
        f"with open_store({url!r}) as store: store.list_items()\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'alembic'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- upgrades

NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = {before!r}


def upgrade():
    with op.batch_alter_table("targets") as batch:
        batch.add_column(sa.Column("note", sa.Text(), nullable=False, server_default="none"))
        batch.alter_column("description", new_column_name="remark")
    {then}
"""

Release = Callable[[str], str]


@pytest.fixture
def next_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Release:
    """Makes this process a release whose schema is one revision on; answers with what makes another process one."""

    def install(then: str) -> str:
        scripts = tmp_path / "migrations"
        shutil.copytree(opening.MIGRATIONS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
        script = NEXT_REVISION.format(before=opening.REVISIONS[-1], then=then)
        (scripts / "versions" / "r9000_next.py").write_text(script)
        monkeypatch.setattr(opening, "MIGRATIONS", scripts)
        monkeypatch.setattr(opening, "REVISIONS", (*opening.REVISIONS, "9000"))
        return (
            "from pathlib import Path\n"
            "from azure_rotator.store import opening\n"
            f"opening.MIGRATIONS, opening.REVISIONS = Path({str(scripts)!r}), {opening.REVISIONS!r}\n"
        )

    return install


def _older_store(url: str) -> None:
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with open_store(url) as store:
        samples.add_item(store)


def _was_upgraded(url: str) -> None:
    assert peek(url) == StoreMeta(store_id=STORE_ID, key_check=KEY_CHECK, revision="9000")
    assert _sql(url, "SELECT note, remark FROM targets") == [("none", "")]
    assert _sql(url, "SELECT count(*) FROM items") == [(1,)], "rebuilding a parent kept its children"


@on_sqlite
def test_an_older_store_is_upgraded_when_it_is_opened(url: str, next_release: Release):
    _older_store(url)
    next_release("pass")
    open_store(url).close()
    _was_upgraded(url)
    assert _sql(url, "PRAGMA foreign_key_check") == []


@on_postgresql
def test_an_older_store_that_others_use_is_upgraded_when_a_person_says_so(url: str, next_release: Release):
    _older_store(url)
    next_release("pass")
    with pytest.raises(Corrupt, match="has the schema") as refused:
        open_store(url)
    assert refused.value.code == "StoreSchemaMismatch"
    assert "azure-rotator db upgrade" in refused.value.hint
    upgrade(url)
    _was_upgraded(url)
    open_store(url).close()


def test_many_at_once_upgrade_once(url: str, next_release: Release):
    _older_store(url)
    next_release("pass")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: upgrade(url), range(8)))
    _was_upgraded(url)


def test_processes_that_upgrade_at_once_do_not_clash(url: str, next_release: Release, tmp_path: Path):
    _older_store(url)
    program = next_release("pass") + (
        "import time\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "import alembic.command, os\n"
        "(folder / f'{os.getpid()}.ready').touch()\n"
        "while not (folder / 'go').exists(): time.sleep(0.001)\n"
        f"opening.upgrade({url!r})\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.ready"))) < len(processes):
        assert time.monotonic() < deadline, "the processes did not start"
    (tmp_path / "go").touch()
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in processes] == [("", 0)] * 3
    _was_upgraded(url)


def test_an_upgrade_that_fails_changes_nothing(url: str, next_release: Release):
    _older_store(url)
    before = schema(url)
    next_release("raise RuntimeError('the power went')")
    with pytest.raises(RuntimeError):
        upgrade(url)
    assert schema(url) == before
    found = peek(url)
    assert found is not None
    assert found.revision == opening.REVISIONS[-2]


def test_upgrading_a_current_store_changes_nothing(url: str):
    _older_store(url)
    before = outside_of(url).everything()
    upgrade(url)
    assert outside_of(url).everything() == before
