"""What is in users' state and must never change: pickles of the providers, names of outputs, bags of each release.

``tests/fixtures/<release>/pulumi/`` holds the bags of both resources as that release wrote them, in the form in which
Pulumi's engine hands them to a provider. Every later release reads, compares, updates and deletes from them. A release
that adds a property adds a folder and changes none.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from azure_rotator._version import __version__
from azure_rotator.resources.inputs import COMPUTED, CREDENTIALS, FINGERPRINT, matches
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from tests.pulumi.dynamic_server import Driver
from tests.rows import row

FIXTURES = Path(__file__).parents[1] / "fixtures"
RELEASES = sorted(folder.parent.name for folder in FIXTURES.glob("*/pulumi"))
KINDS = {"azure-target": "target", "rotated-secret": "secret", "rotated-secret-adopted": "secret"}
PROVIDERS = {"target": AzureTargetProvider, "secret": RotatedSecretProvider}

MODULE = b"azure_rotator.resources.providers"
PICKLED = {
    AzureTargetProvider: b"\x8c!" + MODULE + b"\x94\x8c\x13AzureTargetProvider\x94\x93\x94)\x81\x94.",
    RotatedSecretProvider: b"\x8c!" + MODULE + b"\x94\x8c\x15RotatedSecretProvider\x94\x93\x94)\x81\x94.",
}


def bag(release: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / release / "pulumi" / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("provider", PICKLED, ids=lambda provider: provider.__name__)
def test_a_provider_is_pickled_by_name_and_holds_nothing(provider):
    pickled = base64.b64decode(serialize_provider(provider()))
    frame = PICKLED[provider]
    assert pickled == b"\x80\x04\x95" + len(frame).to_bytes(8, "little") + frame
    assert vars(provider()) == {}


def test_the_computed_outputs_are_these():
    assert COMPUTED == {
        "target": ("target_id", "store_id", "credential_fingerprint"),
        "secret": (
            "item_id",
            "store_id",
            "credential_fingerprint",
            "version",
            "key_id",
            "last_rotation_date",
            "next_rotation_date",
            "expires_at",
            "status",
        ),
    }


def test_this_release_has_its_bags():
    assert __version__ in RELEASES


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_provider_of_an_old_bag_is_todays_class(release, name):
    pickled = base64.b64decode(bag(release, name)["inputs"]["__provider"])
    assert type(dill.loads(pickled)) is PROVIDERS[KINDS[name]]  # noqa: S301 - our own fixture


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_fingerprint_of_an_old_bag_is_understood(release, name):
    old = bag(release, name)
    given = CREDENTIALS["target" if name == "azure-target" else "secret"].given(old["inputs"])
    assert matches(given, old["outputs"][FINGERPRINT])


# --- old bags in today's providers ----------------------------------------------------------------------------------


@pytest.fixture
def old(request, targets, secrets, rotator, workload, folder):
    """The bags of a release, about things that are in today's store: only what identifies them is put in."""
    release, name = request.param
    target = bag(release, "azure-target")
    live: dict[str, Any] = {"tenant_id": rotator.info.tenant_id, "client_id": rotator.app_id}
    live |= {"name": f"{folder}/contoso", "client_secret": rotator.secret}
    made = targets.made({**told(target["inputs"]), **live})
    if name == "azure-target":
        return aged(targets, target, live, made)
    item = bag(release, name)
    live = {"name": f"{folder}/billing", "target_name": f"{folder}/contoso", "app_id": workload.app_id}
    if "api_id" in item["inputs"]:
        adopted = workload.control.add_secret(workload.app_id)
        live |= {"api_id": adopted.key_id, "api_key": adopted.value}
    return aged(secrets, item, live, secrets.made({**told(item["inputs"]), **live}))


def told(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "__provider"}


def aged(driver: Driver, old: dict[str, Any], live: dict[str, Any], made: Any) -> tuple[Driver, str, Any, Any, Any]:
    """Driver, id, inputs and outputs in the form of the old release; and what today's release wrote."""
    identity = {name: made.bag[name] for name in (*live, *COMPUTED["secret"], "target_id") if name in made.bag}
    inputs = {**told(old["inputs"]), **live}
    outputs = {name: identity.get(name, value) for name, value in told(old["outputs"]).items()}
    return driver, made.id, inputs, outputs, made.bag


EACH = pytest.mark.parametrize("old", [(r, n) for r in RELEASES for n in KINDS], indirect=True, ids="-".join)


@row("F64")
@EACH
def test_an_old_bag_is_no_difference_reads_updates_and_deletes(old, later):
    driver, id_, inputs, outputs, today = old
    checked = driver.check(inputs, inputs)
    assert not checked.failures
    assert not driver.diff(outputs, checked.bag).changes

    read = driver.read(id_, outputs)
    assert read.id == id_
    assert read.inputs is None
    assert read.bag.keys() >= outputs.keys()
    assert not driver.diff(read.bag, checked.bag).changes

    changed = driver.check({**inputs, "description": "by a later release"}, inputs).bag
    assert driver.diff(outputs, changed).changes
    assert driver.update(id_, outputs, changed).bag.keys() == today.keys() | {"description"}

    provider = AzureTargetProvider() if "connection_type" in outputs else RotatedSecretProvider()
    later.of(provider).delete(id_, outputs)
    assert driver.read(id_, outputs).id == ""


@pytest.mark.parametrize("old", [(__version__, name) for name in KINDS], indirect=True, ids=lambda param: param[1])
def test_the_bags_of_this_release_are_as_it_writes_them(old):
    _, _, _, outputs, today = old
    assert outputs.keys() == today.keys()
    assert {name: type(value) for name, value in outputs.items()} == {n: type(v) for n, v in today.items()}
