"""The pack as Pulumi meets it: its server over gRPC, and a real preview."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime import rpc
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from azure_rotator.policy import ROTATED_SECRET
from tests.pulumi.dynamic_server import struct
from tests.pulumi.stack import Stack
from tests.rows import row

ROOT = Path(__file__).parents[2]
PACK = ROOT / "policies"
GOOD = {"name": "/a", "auto_rotate": True, "rotation_interval": 30.0, "api_key": "canary8Q~literal"}


@pytest.fixture(scope="module")
def pack() -> Iterator[Any]:
    """The pack's server, started as the CLI starts it."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", str(PACK)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    port = int(process.stdout.readline())
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield analyzer_pb2_grpc.AnalyzerStub(channel)
    process.terminate()
    process.communicate(timeout=30)


def judged(pack: Any, properties: dict[str, Any], type_: str = ROTATED_SECRET) -> list[tuple[str, str, str]]:
    """Policy, level and message of each finding."""
    request = analyzer_pb2.AnalyzeRequest(
        type=type_, urn=f"urn:pulumi:s::p::{type_}::item", name="item", properties=struct(properties)
    )
    levels = {analyzer_pb2.MANDATORY: "mandatory", analyzer_pb2.ADVISORY: "advisory"}
    found = [(d.policyName, levels[d.enforcementLevel], d.message) for d in pack.Analyze(request).diagnostics]
    return sorted(found)


@row("AK-68")
def test_the_pack_says_what_it_is(pack):
    info = pack.GetAnalyzerInfo(empty_pb2.Empty())
    assert info.name == "azure-rotator"
    assert [(p.name, p.enforcementLevel) for p in info.policies] == [
        ("rotation-enabled", analyzer_pb2.MANDATORY),
        ("rotation-interval", analyzer_pb2.MANDATORY),
    ]


@row("AK-68")
def test_a_good_item_passes_and_a_bad_one_is_told_everything_but_its_credential(pack):
    assert judged(pack, GOOD) == []
    found = judged(pack, {**GOOD, "auto_rotate": False, "rotation_interval": 400.0})
    assert [(name, level) for name, level, _ in found] == [
        ("rotation-enabled", "mandatory"),
        ("rotation-interval", "mandatory"),
    ]
    assert "canary8Q" not in str(found)
    assert "is not a whole number of days in 1-365" in found[1][2]


@row("AK-68")
@pytest.mark.parametrize("name", ["auto_rotate", "rotation_interval", "name", "api_key"])
def test_an_unknown_value_is_noted_and_crashes_nothing(pack, name):
    found = judged(pack, {**GOOD, name: rpc.UNKNOWN})
    judges = {"auto_rotate": "rotation-enabled", "rotation_interval": "rotation-interval"}
    assert [(policy, level) for policy, level, _ in found] == ([(judges[name], "advisory")] if name in judges else [])


@pytest.mark.parametrize(
    "type_",
    [
        "pulumi-python:dynamic/azure-rotator:AzureTarget",
        "pulumi-python:dynamic:Resource",
        "pulumi-python:dynamic/azure-rotator:RotatedSecretary",
        "pulumi:pulumi:Stack",
    ],
)
def test_other_resources_are_none_of_its_business(pack, type_):
    assert judged(pack, {"auto_rotate": False, "rotation_interval": 400.0}, type_) == []


@row("AK-49", "AK-68")
@pytest.mark.e2e
def test_a_real_preview_is_refused_and_its_limit_configured(pulumi_environment, tmp_path):
    """No store and no Azure are needed to refuse."""
    stack = Stack(tmp_path, pulumi_environment)
    item = {
        "name": "/a/item",
        "target_name": "/a/target",
        "rotator_type": "api-key",
        "authentication_credentials": "use-target-creds",
        "app_id": "33333333-3333-4333-8333-333333333301",
        "auto_rotate": True,
        "rotation_interval": 90,
    }
    stack.declared["secrets"]["item"] = item
    preview = ("preview", "--policy-pack", str(PACK))
    stack.run(*preview)

    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps({"rotation-interval": {"maxDays": 30}}))
    said = stack.refused(*preview, "--policy-pack-config", str(limits))
    assert "[mandatory]  rotation-interval" in said
    assert "rotation_interval is 90 days, more than the 30 that are allowed" in said

    item.update(auto_rotate=False, rotation_interval=None)
    said = stack.refused(*preview)
    assert "[mandatory]  rotation-enabled" in said
