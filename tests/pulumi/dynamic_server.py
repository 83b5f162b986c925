"""The true server of dynamic providers, ``python -m pulumi.dynamic``, and the part of Pulumi's engine that talks to it.

    with DynamicServer(environment, config) as server:
        target = server.of(AzureTargetProvider())
        inputs = target.check({"name": "a"}).inputs
        made = target.create(inputs)

Real pickling, real wire types, real threads and errors. As the engine does with a provider that does not accept
secrets, it sends them in clear; what came back marked as one is remembered in ``Answer.secrets``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.dynamic import ResourceProvider
from pulumi.dynamic.dynamic import PROVIDER_KEY, serialize_provider
from pulumi.output import Unknown
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

SIGNATURE = rpc._special_sig_key
UNKNOWN = Unknown()


class Refused(Exception):
    """The provider raised; the text is what Pulumi prints to the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A property bag that came back.

    Args:
        secrets: Names of the properties that were marked as secrets on the wire.
        failures: Of a check: property and reason.
        inputs: Of a read: the inputs it gives, or None.
    """

    id: str = ""
    bag: dict[str, Any] = field(default_factory=dict)
    secrets: frozenset[str] = frozenset()
    failures: Sequence[tuple[str, str]] = ()
    inputs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffAnswer:
    changes: bool
    replaces: Sequence[str]
    delete_before_replace: bool


class DynamicServer:
    """A server process, gone with this object."""

    def __init__(
        self, environment: Mapping[str, str], config: Mapping[str, str] | None = None, *, cwd: Path | None = None
    ) -> None:
        self._environment = dict(environment)
        self._config = dict(config or {})
        self._cwd = cwd

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.dynamic", "127.0.0.1:1"],
            env=self._environment,
            cwd=self._cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        port = int(self._process.stdout.readline())
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])
        self.stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self.stub.Configure(provider_pb2.ConfigureRequest(args=struct(self._config)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._process.terminate()
        _, self.stderr = self._process.communicate(timeout=30)

    def of(self, provider: ResourceProvider) -> Driver:
        """The calls about resources of one provider."""
        return Driver(self.stub, serialize_provider(provider))


class Driver:
    """Each call of the engine about one resource."""

    def __init__(self, stub: Any, pickled: str) -> None:
        self._stub = stub
        self._provider = pickled

    def check(self, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> Answer:
        request = provider_pb2.CheckRequest(olds=self._bag(olds or {}), news=self._bag(news))
        answer = self._call(self._stub.Check, request)
        bag, secrets = opened(answer.inputs)
        return Answer(bag=bag, secrets=secrets, failures=[(f.property, f.reason) for f in answer.failures])

    def diff(self, olds: Mapping[str, Any], news: Mapping[str, Any], *, id_: str = "i") -> DiffAnswer:
        answer = self._call(
            self._stub.Diff, provider_pb2.DiffRequest(id=id_, olds=self._bag(olds), news=self._bag(news))
        )
        assert answer.changes != provider_pb2.DiffResponse.DIFF_UNKNOWN
        return DiffAnswer(
            changes=answer.changes == provider_pb2.DiffResponse.DIFF_SOME,
            replaces=list(answer.replaces),
            delete_before_replace=answer.deleteBeforeReplace,
        )

    def create(self, inputs: Mapping[str, Any]) -> Answer:
        answer = self._call(self._stub.Create, provider_pb2.CreateRequest(properties=self._bag(inputs)))
        bag, secrets = opened(answer.properties)
        return Answer(id=answer.id, bag=bag, secrets=secrets)

    def read(self, id_: str, outputs: Mapping[str, Any]) -> Answer:
        answer = self._call(self._stub.Read, provider_pb2.ReadRequest(id=id_, properties=self._bag(outputs)))
        bag, secrets = opened(answer.properties)
        inputs = opened(answer.inputs)[0] if answer.HasField("inputs") else None
        return Answer(id=answer.id, bag=bag, secrets=secrets, inputs=inputs)

    def update(self, id_: str, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> Answer:
        request = provider_pb2.UpdateRequest(id=id_, olds=self._bag(outputs), news=self._bag(inputs))
        bag, secrets = opened(self._call(self._stub.Update, request).properties)
        return Answer(id=id_, bag=bag, secrets=secrets)

    def delete(self, id_: str, outputs: Mapping[str, Any]) -> None:
        self._call(self._stub.Delete, provider_pb2.DeleteRequest(id=id_, properties=self._bag(outputs)))

    def made(self, news: Mapping[str, Any]) -> Answer:
        """Check and create, as an ``up`` does."""
        checked = self.check(news)
        assert not checked.failures
        return self.create(checked.bag)

    def updated(self, id_: str, outputs: Mapping[str, Any], olds: Mapping[str, Any], news: Mapping[str, Any]) -> Answer:
        """Check, diff and, if there is a difference, update."""
        checked = self.check(news, olds)
        assert not checked.failures
        difference = self.diff(outputs, checked.bag, id_=id_)
        assert difference.changes
        assert not difference.replaces
        return self.update(id_, outputs, checked.bag)

    def _bag(self, bag: Mapping[str, Any]) -> struct_pb2.Struct:
        return struct({**bag, PROVIDER_KEY: self._provider})

    @staticmethod
    def _call(method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=120)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNKNOWN:
                raise
            raise Refused(error.details()) from None


def struct(bag: Mapping[str, Any]) -> struct_pb2.Struct:
    """A bag as the engine sends it: without what is None, unknown values by their sentinel."""
    told = {name: _sent(value) for name, value in bag.items() if value is not None}
    return json_format.ParseDict(told, struct_pb2.Struct())


def _sent(value: Any) -> Any:
    if isinstance(value, Unknown):
        return rpc.UNKNOWN
    return [_sent(entry) for entry in value] if isinstance(value, list | tuple) else value


def opened(bag: struct_pb2.Struct) -> tuple[dict[str, Any], frozenset[str]]:
    """A bag as the engine keeps it, without the provider, and the names of its secrets."""
    values = {name: value for name, value in json_format.MessageToDict(bag).items() if name != PROVIDER_KEY}
    secrets = frozenset(name for name, value in values.items() if isinstance(value, dict) and SIGNATURE in value)
    return {name: value["value"] if name in secrets else value for name, value in values.items()}, secrets


def own_store(folder: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment with a store and a key of its own in this folder."""
    for name in ("store", "key"):
        (folder / name).mkdir(exist_ok=True)
    return {
        **(os.environ if base is None else base),
        "AZURE_ROTATOR_STORE": f"sqlite:///{folder / 'store' / 'store.db'}",
        "AZURE_ROTATOR_KEY_FILE": str(folder / "key" / "store.key"),
        "AZURE_ROTATOR_TIMEOUT": "60",
    }
