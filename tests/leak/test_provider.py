"""What leaves the provider holds no credential, whatever goes wrong behind it: a port with a bug that says all it has,
in the true dynamic server of Pulumi; and the guard by itself."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime import rpc

from azure_rotator.domain.errors import Rejected
from azure_rotator.resources.guard import Failed, guarded
from azure_rotator.resources.providers import AzureTargetProvider, RotatedSecretProvider
from azure_sandbox.testing import Control, Sandbox
from tests.leak.evidence import Evidence, files_below, printed, with_locals
from tests.leak.life import FIRST_LOGIN, GIVEN, LITERAL, REFERENCED, WRONG
from tests.leak.search import Canaries
from tests.plugins.azure import App
from tests.pulumi.dynamic_server import DynamicServer, Refused, own_store
from tests.rows import row

# Python imports it at its start. The port does its work first, so that there is something to tell; which bug it has is
# read anew at each call.
SABOTAGE = """
import os
from pathlib import Path

from azure_rotator.cloud.graph import GraphDirectory

add_password = GraphDirectory.add_password


def with_a_bug(self, acting, object_id, display_name, end_at):
    minted = add_password(self, acting, object_id, display_name, end_at)
    value, login = minted.value.reveal(), acting.secret.reveal()
    with Path(os.environ["MINTED"]).open("a") as file:
        file.write(value + "\\n")
    exec(Path(os.environ["BUG"]).read_text())
    return minted


GraphDirectory.add_password = with_a_bug
"""

BUGS = {
    "an error that tells all": "raise RuntimeError(f'{value} by {login}')",
    "a key that is missing": "raise KeyError(value)",
    "an exit": "raise SystemExit(value)",
    "an interrupt": "raise KeyboardInterrupt(value)",
    "an assertion": "assert value == login, (value, login)",
    "text that is no text": "value.encode().join([b'\\xff', b'']).decode()",
    "a cause": "raise ValueError('bad') from KeyError(value, login)",
    "a context": "try:\n    {}[value]\nexcept KeyError:\n    raise ValueError(login)",
    "a group": "raise ExceptionGroup(value, [KeyError(login)])",
    "a note": "error = ValueError('bad'); error.add_note(value); raise error",
    "a name that is not there": "from os import value_of_nothing",
    "a type of its own": "raise type('Odd', (Exception,), {'__str__': lambda s: value, '__repr__': lambda s: login})",
    "no error at all, and a broken type": "minted = object.__new__(type(minted)); minted.key_id",
}


class Provider:
    """A provider process whose port has a bug, and all that it said.

    Attributes:
        own: Its environment's folder.
    """

    def __init__(self, folder: Path, sandbox: Sandbox, canaries: Canaries) -> None:
        self.canaries = canaries
        self.evidence = Evidence()
        self.folder = folder
        (folder / "sabotage").mkdir()
        (folder / "sabotage" / "sitecustomize.py").write_text(SABOTAGE)
        self._bug, self._minted = folder / "bug.py", folder / "minted.txt"
        self._bug.touch()
        paths = [str(folder / "sabotage"), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            **own_store(folder, sandbox.environment()),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "BUG": str(self._bug),
            "MINTED": str(self._minted),
        }

    def has(self, bug: str) -> None:
        self._bug.write_text(bug)

    def refuses(self, what: str, call: Any, *arguments: Any) -> str:
        with pytest.raises(Refused) as refused:
            call(*arguments)
        text = str(refused.value)
        self.evidence.add("gRPC errors", what, text)
        return text

    def look(self) -> list[str]:
        """Leaks everywhere, of all that was minted until now too."""
        for number, value in enumerate(self._minted.read_text().splitlines()):
            self.canaries.add(f"minted secret {number + 1}", value)
        for name in ("store", "key"):
            self.evidence.add_files("files", self.folder / name)
        return [leak for place in self.evidence.found for leak in self.evidence.leaks(place, self.canaries)]


@pytest.fixture
def canaries() -> Canaries:
    canaries = Canaries()
    for name, value in {
        "the Target's secret": LITERAL,
        "the Target's secret by reference": REFERENCED,
        "the api_key": GIVEN,
        "the first login's secret": FIRST_LOGIN,
        "a wrong secret": WRONG,
    }.items():
        canaries.add(name, value)
    return canaries


@pytest.fixture
def provider(tmp_path: Path, sandbox: Sandbox, canaries: Canaries) -> Provider:
    return Provider(tmp_path, sandbox, canaries)


@row("AK-29", "AK-65")
def test_no_error_of_a_provider_tells_a_credential(
    provider: Provider, control: Control, rotator: App, make_application, tmp_path: Path
):
    control.add_secret(rotator.app_id, value=LITERAL)
    control.add_secret(rotator.app_id, value=REFERENCED)
    (tmp_path / "given.txt").write_text(REFERENCED)
    target = {"name": "/t", "tenant_id": rotator.info.tenant_id, "client_id": rotator.app_id, "owner": "shop/t"}
    item = {"target_name": "/t", "rotator_type": "api-key", "authentication_credentials": "use-target-creds"}
    bags: list[Any] = []
    with DynamicServer(provider.environment) as server:
        targets, secrets = server.of(AzureTargetProvider()), server.of(RotatedSecretProvider())
        made = targets.made({**target, "client_secret": LITERAL})
        bags.append(made)
        for number, (bug, code) in enumerate(BUGS.items()):
            provider.has(code)
            # Its own application: the lane of a dead operation is free only when its lease has run out.
            workload = make_application(f"w{number}", owners=[rotator.app_id])
            given = {**item, "name": f"/w{number}", "owner": f"shop/w{number}", "app_id": workload.app_id}
            text = provider.refuses(bug, secrets.made, given)
            assert "InternalError: " in text, bug

        provider.has("")
        workload = make_application("workload", owners=[rotator.app_id])
        own = control.add_secret(workload.app_id, value=GIVEN)
        given = {**item, "name": "/w", "owner": "shop/w", "app_id": workload.app_id}
        wrongly = {**given, "api_id": own.key_id, "api_key": WRONG}
        assert "IdentifierMixedUp" in provider.refuses("a wrong value", secrets.made, wrongly)
        refused = {**wrongly, "api_key": GIVEN[:3] + WRONG}
        assert "AzureAuthFailed" in provider.refuses("a refused value", secrets.made, refused)
        adopted = {**given, "name": "/adopted", "api_id": own.key_id, "api_key": f"literal:{GIVEN}"}
        bags += [minted := secrets.made(given), secrets.made(adopted)]
        trigger = secrets.check({**given, "rotation_trigger": "now"}, given).bag
        provider.has("raise RuntimeError(value)")
        provider.refuses("an update", secrets.update, minted.id, minted.bag, trigger)
        provider.has("")

        checked = secrets.check({**given, "api_id": GIVEN, "api_key": own.key_id})
        assert len(checked.failures) == 2
        provider.evidence.add("failures of a check", "a mix-up", repr(checked.failures))
        referenced = {**target, "client_secret": f"file:{tmp_path / 'given.txt'}"}
        bags.append(targets.update(made.id, made.bag, targets.check(referenced, target).bag))
        bags += [targets.read(made.id, made.bag), secrets.read(minted.id, minted.bag)]
        other = {**target, "name": "/u", "client_secret": WRONG, "owner": "shop/u"}
        targets.made(other)
        provider.refuses("a name that is taken", targets.made, {**other, "owner": "somebody"})
    provider.evidence.add("stderr", "of the server", server.stderr)
    provider.evidence.add("outputs", "bags", repr(bags))
    assert provider.look() == []
    assert len([name for name in provider.canaries.names if name.startswith("minted")]) == len(BUGS) + 2


class Boom(Exception):
    """Shows what it was given."""

    def __init__(self, held: object) -> None:
        super().__init__(f"boom: {held}")
        self.held = held


ERRORS = {
    "our own": lambda: Rejected("ItemLocked", f"held by {LITERAL}", hint="wait", details={"text": "x"}),
    "any": lambda: ValueError(LITERAL),
    "one with attributes": lambda: Boom(LITERAL),
    "an exit": lambda: SystemExit(LITERAL),
    "a group": lambda: BaseExceptionGroup(LITERAL, [KeyError(LITERAL)]),
}


@row("AK-29")
@pytest.mark.parametrize("wrap", [lambda v: v, rpc.wrap_rpc_secret, "literal:{}".format], ids=["plain", "marked", "x:"])
@pytest.mark.parametrize("error", ERRORS)
def test_the_guard_lets_nothing_of_a_failure_through_but_its_text(canaries: Canaries, error: str, wrap: Any):
    """Not even to a tool that prints the local variables of each frame."""

    @guarded
    def create(self: object, bag: dict[str, object], *, api_key: object) -> None:
        try:
            raise KeyError(bag)
        except KeyError:
            bad = ERRORS[error]()
            raise bad  # noqa: B904 - with a context that shows the bag

    with pytest.raises(Failed) as failed:
        create(None, {"client_secret": wrap(LITERAL)}, api_key=wrap(LITERAL))
    assert canaries.found(printed(failed.value)) == []
    assert canaries.found(with_locals(failed.value)) == []
    assert vars(failed.value) == {}


@row("AK-65")
@pytest.mark.parametrize("provider", [AzureTargetProvider, RotatedSecretProvider])
def test_a_pickled_provider_holds_no_credential(canaries: Canaries, provider: type, monkeypatch: pytest.MonkeyPatch):
    """Not of its environment, not of a program that made one with globals and attributes of its own."""
    monkeypatch.setenv("AZURE_CLIENT_SECRET", LITERAL)
    made = provider()
    pickled = serialize_provider(made)
    assert canaries.found(pickled) == []
    assert canaries.found(base64.b64decode(pickled)) == []
    assert canaries.found(repr(vars(dill.loads(base64.b64decode(pickled))))) == []  # noqa: S301 - just made


def test_the_sabotage_reaches_the_provider(provider: Provider, rotator: App, workload: App, canaries: Canaries):
    """The same with a bug that goes past the guard, to what its process says: the search finds it there."""
    provider.has("import sys; print(value, file=sys.stderr)")
    with DynamicServer(provider.environment) as server:
        target = {"name": "/t", "tenant_id": rotator.info.tenant_id, "client_id": rotator.app_id, "owner": "shop/t"}
        server.of(AzureTargetProvider()).made({**target, "client_secret": rotator.secret})
        item = {"name": "/w", "target_name": "/t", "rotator_type": "api-key", "app_id": workload.app_id, "owner": "w"}
        item["authentication_credentials"] = "use-target-creds"
        server.of(RotatedSecretProvider()).made(item)
    provider.evidence.add("stderr", "of the server", server.stderr)
    assert provider.look() == ["minted secret 1 as plain in of the server"]
    assert dict(files_below(provider.folder / "store"))
