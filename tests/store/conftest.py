from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from azure_rotator.store.opening import create, open_store
from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store.inspection import StoreFile

STORE_ID = "abcdefghijklmnop"
KEY_CHECK = "c" * 64

Opened = Callable[..., SqlUnitOfWork]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/data/store.db"


@pytest.fixture
def open_again(url: str) -> Iterator[Opened]:
    """Opens the test's store as another process would; closed at the end."""
    create(url, store_id=STORE_ID, key_check=KEY_CHECK)
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(open_store(url, **settings))


@pytest.fixture
def store(open_again: Opened) -> SqlUnitOfWork:
    return open_again()


@pytest.fixture
def file(tmp_path: Path, store: SqlUnitOfWork) -> StoreFile:
    """The store's file, past the store: to look at everything, and to move leases into the past."""
    return StoreFile(tmp_path / "data" / "store.db")
