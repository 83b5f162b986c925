"""What leaves a provider method: code, message, hint; no cause, no context, no credential, no SystemExit."""

from __future__ import annotations

import re
import traceback
from typing import Any

import pytest
from pulumi.runtime import rpc

from azure_rotator.domain.errors import Rejected
from azure_rotator.resources import providers
from azure_rotator.resources.guard import Failed, guarded
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from tests.rows import row

CANARY = "canary8Q~never-to-be-seen"


def raising(error: BaseException):
    @guarded
    def method(self: object, bag: dict[str, object]) -> None:
        value = bag["api_key"]
        try:
            raise KeyError(value)
        except KeyError:
            raise error  # noqa: B904 - with a context that shows the value

    return method


def printed(error: BaseException, bag: dict[str, object] | None = None) -> tuple[str, Failed]:
    """What Pulumi prints of it."""
    with pytest.raises(Failed) as caught:
        raising(error)(None, bag or {"api_key": CANARY})
    return "".join(traceback.format_exception(caught.value)), caught.value


@row("AK-29")
@pytest.mark.parametrize(
    "error",
    [ValueError(CANARY), SystemExit(CANARY), KeyboardInterrupt(CANARY), Rejected("ItemLocked", f"held by {CANARY}")],
    ids=lambda error: type(error).__name__,
)
def test_nothing_of_the_failure_but_its_message_remains(error):
    text, failed = printed(error)
    assert CANARY not in text
    assert CANARY not in "".join(traceback.TracebackException.from_exception(failed, capture_locals=False).format())
    assert (failed.__context__, failed.__cause__) == (None, None)


def test_our_errors_keep_their_voice():
    text, _ = printed(Rejected("NameInvalid", "the name is empty", hint="give one"))
    assert text.endswith("azure_rotator.Failed: NameInvalid: the name is empty\nhint: give one\n")


def test_other_errors_tell_type_and_place_only():
    broken: Any = None
    with pytest.raises(Failed) as caught:
        AzureTargetProvider().check(broken, {"client_secret": CANARY})
    place = r"azure_rotator\.resources\.inputs:\d+"
    assert re.fullmatch(rf"InternalError: AttributeError in {place}\nhint: this is a bug; .*", str(caught.value))


@pytest.mark.parametrize(
    ("bag", "text", "shown"),
    [
        ({"api_key": CANARY}, f"a {CANARY} b", "a *** b"),
        ({"api_key": rpc.wrap_rpc_secret(CANARY)}, f"a {CANARY} b", "a *** b"),
        ({"api_key": "literal:" + CANARY}, f"a {CANARY} b", "a *** b"),
        ({"api_key": "env:NAME"}, "a env:NAME b", "a env:NAME b"),
        ({"api_key": ""}, "a b", "a b"),
    ],
    ids=["a literal", "a marked one", "a literal by prefix", "a reference", "nothing"],
)
def test_a_credential_in_a_message_is_blotted_out_and_a_reference_is_not(bag, text, shown):
    _, failed = printed(Rejected("ItemLocked", text), bag)
    assert str(failed) == f"ItemLocked: {shown}"


def test_every_method_of_both_providers_is_guarded():
    calls = ("configure", "check", "diff", "create", "read", "update", "delete")
    for provider in (AzureTargetProvider, RotatedSecretProvider):
        for name in calls:
            method = getattr(provider, name)
            assert method.__module__ == providers.__name__, name
            assert method.__code__.co_filename.endswith("guard.py"), name
