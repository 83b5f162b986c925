"""What a provider takes for gone, and what not."""

from __future__ import annotations

import pytest

from azure_rotator.domain.errors import Corrupt, NotFound, RotatorError
from azure_rotator.resources.providers import _unless_gone


def raising(error: RotatorError):
    def ask() -> str:
        raise error

    return ask


def test_what_the_journal_knows_and_no_row_holds_is_gone():
    assert _unless_gone(lambda: "there") == "there"
    assert _unless_gone(raising(NotFound("ItemNotFound", "deleted", details={"gone": True}))) is None


@pytest.mark.parametrize(
    "error",
    [
        NotFound("ApplicationNotFound", "Azure no longer has the application"),
        NotFound("TargetNotFound", "there is no such Target", details={"gone": False}),
        Corrupt("StoreMismatch", "another store"),
    ],
    ids=lambda error: error.code,
)
def test_what_else_is_missing_is_an_error_and_the_resource_stays(error):
    with pytest.raises(RotatorError) as raised:
        _unless_gone(raising(error))
    assert raised.value is error
