from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from azure_rotator.store.opening import create, open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.plugins.postgres import Postgres
from tests.store.inspection import Inspection, StoreFile, outside_of

STORE_ID = "abcdefghijklmnop"
KEY_CHECK = "c" * 64

Opened = Callable[..., SqlUnitOfWork]

# For what is true of one database only, and for what costs seconds a row.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
postgresql_in_full = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.full)], indirect=True
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on: both, unless it says otherwise."""
    return str(request.param)


@pytest.fixture
def url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a store may be made; there is none yet."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path}/data/store.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.create()
    yield made
    server.drop(made)


@pytest.fixture(scope="session")
def made_once(postgres: Postgres) -> str:
    """A new store in PostgreSQL, to be copied: making one takes ten times as long."""
    url = postgres.create()
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    return url


@pytest.fixture
def store_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A store that is made."""
    if database == "sqlite":
        url = f"sqlite:///{tmp_path}/data/store.db"
        create(url, store_id=STORE_ID, key_check=KEY_CHECK)
        yield url
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.create(template=request.getfixturevalue("made_once"))
    yield made
    server.drop(made)


@pytest.fixture
def open_again(store_url: str) -> Iterator[Opened]:
    """Opens the test's store as another process would; closed at the end."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(open_store(store_url, **settings))


@pytest.fixture
def store(open_again: Opened) -> SqlUnitOfWork:
    return open_again()


@pytest.fixture
def file(tmp_path: Path, store: SqlUnitOfWork) -> StoreFile:
    """The file of a store in SQLite."""
    return StoreFile(tmp_path / "data" / "store.db")


@pytest.fixture
def outside(store_url: str) -> Inspection:
    """The store past its code: to look at everything, and to move leases into the past."""
    return outside_of(store_url)


@pytest.fixture
def another_url(database: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Room for a second store beside the first."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path}/another/store.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    made = server.create()
    yield made
    server.drop(made)
