from __future__ import annotations

from collections.abc import Iterator

import pytest

from azure_sandbox.testing import Sandbox
from tests.crash import table
from tests.crash.estate import Estate, Lab

pytest_configure = table.pytest_configure


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One sandbox and one nursery for all crash tests of a process; its clock is theirs alone."""
    with Sandbox() as sandbox:
        made = Lab(sandbox, lambda: request.getfixturevalue("postgres"))
        yield made
        made.close()


@pytest.fixture
def estate(lab: Lab) -> Estate:
    return lab.estate()
