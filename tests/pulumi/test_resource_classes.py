"""The resource classes under Pulumi's mocks: type tokens, what is marked secret, what is filled in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import dill  # type: ignore[import-untyped]
import pulumi
import pytest
from pulumi.runtime import rpc

from azure_rotator import AzureTarget, RotatedSecret, RotatorType
from azure_rotator.resources.inputs import COMPUTED
from azure_rotator.resources.marking import marked
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from tests.pulumi.mocked import Recorded, configured, run

TARGET: dict[str, Any] = {"name": "/a/target", "tenant_id": "1" * 8, "client_id": "2" * 8}
ITEM: dict[str, Any] = {"name": "/a/item", "rotator_type": "api-key", "app_id": "3" * 8}


def secret_inputs(engine: Recorded, name: str) -> set[str]:
    return {key for key, value in engine.inputs(name).items() if rpc.is_rpc_secret(value)}


def test_type_tokens_and_providers(engine):
    def program() -> None:
        target = AzureTarget("contoso", **TARGET, client_secret="env:X")
        RotatedSecret("billing", **ITEM, target=target, authentication_credentials="use-target-creds")

    run(program)
    assert engine.resources["contoso"].typ == "pulumi-python:dynamic/azure-rotator:AzureTarget"
    assert engine.resources["billing"].typ == "pulumi-python:dynamic/azure-rotator:RotatedSecret"
    for name, kind in (("contoso", AzureTargetProvider), ("billing", RotatedSecretProvider)):
        pickled = rpc.unwrap_rpc_secret(engine.resources[name].inputs["__provider"])
        assert type(dill.loads(base64.b64decode(pickled))) is kind  # noqa: S301 - our own


def test_the_class_fills_in_owner_target_name_and_target_id(engine):
    def program() -> None:
        target = AzureTarget("contoso", **TARGET, client_secret="env:X")
        RotatedSecret("billing", **{**ITEM, "rotator_type": RotatorType.API_KEY}, target=target)
        RotatedSecret("other", **ITEM, target="/a/path")
        RotatedSecret("third", **ITEM, target_name="/a/path")

    run(program)
    assert engine.inputs("contoso") == {**TARGET, "client_secret": "env:X", "owner": "shop/prod/contoso"}
    filled = {"target_name": "/a/target", "target_id": "id-of-contoso", "owner": "shop/prod/billing"}
    assert engine.inputs("billing") == {**ITEM, **filled}
    assert engine.inputs("other") == {**ITEM, "target_name": "/a/path", "owner": "shop/prod/other"}
    assert engine.inputs("third") == {**ITEM, "target_name": "/a/path", "owner": "shop/prod/third"}


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        (lambda: "a-literal-of-length", True),
        (lambda: "literal:env:not-a-reference", True),
        (lambda: pulumi.Output.from_input("a-literal-of-length"), True),
        (lambda: pulumi.Output.secret("a-literal-of-length"), True),
        (lambda: "env:NAME", False),
        (lambda: "file:/run/secret", False),
        (lambda: pulumi.Output.from_input("env:NAME"), False),
    ],
    ids=["literal", "literal by prefix", "output", "secret output", "env", "file", "output of a reference"],
)
def test_a_literal_is_a_secret_and_a_reference_is_not(engine, given, secret):
    def program() -> None:
        AzureTarget("contoso", **TARGET, client_secret=given())
        RotatedSecret("billing", **ITEM, target_name="/a", api_key=given())

    run(program)
    assert secret_inputs(engine, "contoso") == ({"client_secret"} if secret else set())
    assert secret_inputs(engine, "billing") == ({"api_key"} if secret else set())


@pytest.fixture
def configuration() -> Iterator[dict[str, str]]:
    """The stack's configuration; ``shop:marked`` is a secret."""
    values = {
        "shop:marked": "marked8Q~credential",
        "shop:plain": "plain8Q~credential",
        "shop:json": '{"a": "in8Q~json"}',
    }
    with configured(values, "shop:marked"):
        yield values


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("marked8Q~credential", None),
        ("plain8Q~credential", "shop:plain"),
        ("in8Q~json", "shop:json"),
        ("other8Q", None),
    ],
)
@pytest.mark.parametrize("wrap", [str, pulumi.Output.from_input], ids=["text", "output"])
def test_a_literal_that_stands_in_clear_in_the_configuration_is_refused(engine, configuration, value, key, wrap):
    def program() -> Any:
        return marked("client_secret", wrap(value))

    if key is None:
        assert run(program) == (value, True, True)
    else:
        with pytest.raises(pulumi.RunError, match=f"client_secret stands in clear .* as {key}, and Pulumi") as refused:
            run(program)
        assert value not in str(refused.value)


def test_target_and_target_name_together_are_a_mistake(engine):
    with pytest.raises(ValueError, match="billing: give target or target_name, not both"):
        run(lambda: RotatedSecret("billing", **ITEM, target="/a", target_name="/a"))


@pytest.mark.parametrize("mode", [None, "use-user-creds"])
def test_a_mode_that_is_left_out_is_warned_of(engine, monkeypatch, mode):
    warnings: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", lambda text, **_: warnings.append(text))
    run(lambda: RotatedSecret("billing", **ITEM, target="/a", authentication_credentials=mode))
    assert [text.startswith("authentication_credentials is left out") for text in warnings] == [True] * (mode is None)


def test_outputs_are_typed_attributes_and_the_fingerprint_is_secret(engine):
    engine.outputs = {"version": 3.0, "key_id": "k", "credential_fingerprint": rpc.wrap_rpc_secret("f")}

    def of(name: str) -> Any:
        def program() -> pulumi.Output[Any]:
            item: pulumi.Output[Any] = getattr(
                RotatedSecret("billing", **ITEM, target="/a", rotation_interval=30), name
            )
            return item

        return run(program)

    assert of("version") == (3, True, False)
    assert isinstance(of("version")[0], int)
    assert isinstance(of("rotation_interval")[0], int)
    assert of("credential_fingerprint") == ("f", True, True)
    for name in COMPUTED["secret"]:
        assert name in RotatedSecret.__annotations__
    for name in COMPUTED["target"]:
        assert name in AzureTarget.__annotations__
