"""What people copy: unit, image, manifests and pipelines name commands, extras and settings that exist."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # pulumi brings it

from azure_rotator.cli.reference import SETTINGS
from azure_rotator.cli.tree import TREE, Branch, load
from azure_rotator.config import Settings
from tests.rows import row

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    path
    for folder in ("scheduler", "pipelines")
    for path in sorted((ROOT / "examples" / folder).iterdir())
    if path.suffix != ".md"
]
MANIFESTS = [path for path in FILES if path.name.startswith("kubernetes")]
LEASE_SECONDS = Settings.read({}).lease_seconds
VARIABLES = {"AZURE_ROTATOR_STORE", "AZURE_ROTATOR_KEY", "AZURE_ROTATOR_KEY_FILE", "AZURE_ROTATOR_WHO"} | {
    name for name in SETTINGS if name.startswith(("AZURE_ROTATOR_METRICS_", "AZURE_ROTATOR_LOG_"))
}
PAGES = {"/metrics", "/healthz", "/readyz"}


def documents(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text()))


def pods(path: Path) -> Iterator[dict[str, Any]]:
    """The pod specs of a manifest."""
    for document in documents(path):
        if document["kind"] == "Deployment":
            yield document["spec"]["template"]["spec"]
        if document["kind"] == "CronJob":
            yield document["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def check_command(words: list[str]) -> None:
    """That these words are a command with flags of its own."""
    at: Any = TREE
    rest = list(words)
    while isinstance(at, Branch):
        at = at.inner[rest.pop(0)]
    known = {flag for parameter in load(at).params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("-")} <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_command_setting_and_extra_exists(path: Path):
    text = path.read_text()
    for line in re.findall(r"azure-rotator ((?:[a-z-]+)(?: [a-z-]+)*)$", text, re.MULTILINE):
        check_command(line.split())
    assert set(re.findall(r"AZURE_ROTATOR_[A-Z_]+", text)) <= VARIABLES
    extras = {name for group in re.findall(r"azure-rotator\[([a-z,]+)\]", text) for name in group.split(",")}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras <= declared.keys()


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in {".yaml", ".yml"}], ids=lambda path: path.name)
def test_yaml_is_read_as_it_is_meant(path: Path):
    assert all(isinstance(document, dict) for document in documents(path))


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_pod_has_no_rights_and_time_to_end(path: Path):
    found = list(pods(path))
    assert found
    for pod in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod.get("terminationGracePeriodSeconds", 60) > LEASE_SECONDS
        for container in pod["containers"]:
            check_command(container["args"])
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            secret = {one["name"] for one in container["env"] if "valueFrom" in one}
            assert secret == {"AZURE_ROTATOR_STORE", "AZURE_ROTATOR_KEY"}, "neither is in clear in the manifest"


@row("B-28")
def test_a_service_is_probed_and_scraped_where_it_serves():
    (deployment,) = [
        one for one in documents(ROOT / "examples/scheduler/kubernetes.yaml") if one["kind"] == "Deployment"
    ]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    flags = dict(zip(container["args"], container["args"][1:], strict=False))
    (port,) = container["ports"]
    assert flags["--metrics-port"] == str(port["containerPort"])
    assert flags["--metrics-address"] == "0.0.0.0", "the kubelet and Prometheus come from elsewhere"  # noqa: S104
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    annotations = template["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/scrape"]) == (flags["--metrics-port"], "true")
    assert annotations["prometheus.io/path"] in PAGES


def test_the_unit_ends_in_order_and_may_write_nothing():
    text = (ROOT / "examples/scheduler/azure-rotator.service").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Za-z]+=", line))
    program, *words = settings["ExecStart"].split()
    assert program.endswith("/azure-rotator")
    check_command(words)
    assert int(settings["TimeoutStopSec"]) > LEASE_SECONDS
    assert (settings["ProtectSystem"], settings["NoNewPrivileges"]) == ("strict", "yes")


def test_the_image_starts_the_scheduler_itself_and_not_as_root():
    lines = dict(
        line.split(" ", 1)
        for line in (ROOT / "examples/scheduler/Dockerfile").read_text().splitlines()
        if re.match(r"[A-Z]+ ", line)
    )
    assert json.loads(lines["ENTRYPOINT"]) == ["azure-rotator"], "a shell would keep SIGTERM to itself"
    check_command(json.loads(lines["CMD"]))
    environment = dict(pair.split("=") for pair in lines["ENV"].split())
    assert f"127.0.0.1:{environment['AZURE_ROTATOR_METRICS_PORT']}/healthz" in lines["HEALTHCHECK"]
    assert lines["EXPOSE"] == environment["AZURE_ROTATOR_METRICS_PORT"]
    assert lines["USER"] not in {"root", "0"}
