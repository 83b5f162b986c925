"""Pulumi's mocks, without the event loops that they leave open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pulumi
from pulumi.runtime import config as stack_config
from pulumi.runtime import mocks


class Recorded(mocks.Mocks):
    """Keeps what was registered and answers as an engine does: inputs as outputs, the rest as the test says."""

    def __init__(self) -> None:
        self.resources: dict[str, pulumi.runtime.MockResourceArgs] = {}
        self.outputs: dict[str, Any] = {}
        self.ids: dict[str, str] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.resources[args.name] = args
        return self.ids.get(args.name, f"id-of-{args.name}"), {**args.inputs, **self.outputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        raise NotImplementedError

    def inputs(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.resources[name].inputs.items() if key != "__provider"}


class Monitor(mocks.MockMonitor):
    """Pulumi's, which makes an event loop in each of its threads and leaves it open."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - its name
        if threading.current_thread() is threading.main_thread():
            return super().RegisterResource(request)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            return super().RegisterResource(request)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def run(program: Callable[[], Any]) -> Any:
    """Run a program to its end. For the output that it gives: its value, whether it is known, whether it is secret."""

    async def whole() -> Any:
        given = program()
        await pulumi.runtime.stack.wait_for_rpcs()
        if isinstance(given, pulumi.Output):
            return await given.future(), await given.is_known(), await given.is_secret()
        return None

    return asyncio.get_event_loop().run_until_complete(whole())


@contextmanager
def mocked(*, preview: bool = False) -> Iterator[Recorded]:
    """An engine that records, of the stack ``prod`` of the project ``shop``."""
    recorded = Recorded()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    mocks.set_mocks(recorded, project="shop", stack="prod", preview=preview, monitor=Monitor(recorded))
    try:
        yield recorded
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        asyncio.set_event_loop(None)
        loop.close()


@contextmanager
def configured(values: Mapping[str, str], *secret_keys: str) -> Iterator[None]:
    """The stack's configuration."""
    stack_config.set_all_config(dict(values), list(secret_keys))
    try:
        yield
    finally:
        stack_config.set_all_config({}, [])
