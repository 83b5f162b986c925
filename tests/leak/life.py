"""A life cycle in one process, from the Target to its deletion, with all that goes wrong on the way; and what it left
behind wherever a credential might be.

The engine, the store and the Azure SDKs are the real ones, the clock is driven. Logs of all libraries are at DEBUG.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from azure_rotator.cloud import close as close_cloud
from azure_rotator.domain.errors import RotatorError, Unavailable
from azure_sandbox.environment import UNSET
from azure_sandbox.testing import Control, Sandbox
from tests.engine.world import ITEM, TARGET, World
from tests.leak.evidence import Evidence, every_log, files_below, printed, rows_of, told, with_locals
from tests.leak.search import Canaries
from tests.plugins.azure import OWNED_BY, App, _trust
from tests.store.inspection import StoreFile

# Nothing about them looks like a secret, and every encoding changes them: what does not show them does so on purpose.
LITERAL = 'Lit the "Target\'s" own\\secret & söhne+co/%41'
REFERENCED = 'Ref the "Target\'s" file\\secret & söhne+co/%42'
GIVEN = 'Giv an "api\'key" by\\hand & söhne+co/%43'
FIRST_LOGIN = 'Fst an "api\'key" for the\\first login & söhne+co/%44'
CORRECTED = 'Cor an "api\'key" that\\replaces & söhne+co/%45'
WRONG = "Wrg a \"secret' of\\nobody & söhne+co/%46"
ECHOED = "Ech a \"secret' in a broken\\answer & söhne+co/%47"


class Killed(BaseException):
    """As if the process ended here: no handler of the product takes it for an error."""


@contextmanager
def meeting(sandbox: Sandbox) -> Iterator[pytest.MonkeyPatch]:
    """This process meets the sandbox as if it were Azure, as in the fixture ``azure``, for longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in UNSET:
            patch.delenv(name, raising=False)
        for name, value in sandbox.variables().items():
            patch.setenv(name, value)
        _trust(sandbox)
        yield patch
        close_cloud()


@contextmanager
def every_minted_value(take: Callable[[str, str], None]) -> Iterator[None]:
    """Hear keyId and value of every secret that an answer of Graph brings into this process."""
    send = httpx.AsyncClient.send

    async def listening(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await send(self, request, **options)
        if request.url.path.endswith("/addPassword") and response.status_code == 200:
            body = json.loads(response.content)
            take(body["keyId"], body["secretText"])
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.AsyncClient, "send", listening)
        yield


class Life:
    """The life cycle, its canaries and its evidence."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self.control: Control = sandbox.control
        self.canaries = Canaries()
        self.evidence = Evidence()
        self.minted: dict[str, str] = {}
        self.loggers: set[str] = set()
        tenant = self.control.create_tenant().tenant_id

        def application(name: str, **record: Any) -> App:
            return App(info=self.control.create_application(name=name, tenant=tenant, **record), control=self.control)

        add = self.canaries.add
        self.rotator = application(
            "rotator",
            roles=[OWNED_BY],
            owners=["self"],
            secrets=[
                {"name": "boot", "value": add("the Target's secret", LITERAL)},
                {"name": "referenced", "value": add("the Target's secret by reference", REFERENCED)},
            ],
        )
        self.workload = application("workload", owners=[self.rotator.app_id], secrets=[{"name": "boot"}])
        self.alone = application(
            "alone",
            roles=[OWNED_BY],
            owners=["self"],
            secrets=[{"name": "boot", "value": add("the first login's secret", FIRST_LOGIN)}],
        )
        self.given = self.control.add_secret(self.workload.app_id, value=add("the api_key", GIVEN))
        self.other = self.control.add_secret(self.workload.app_id, value=add("the second api_key", CORRECTED))
        add("a wrong secret", WRONG)
        add("a secret in a broken answer", ECHOED)
        (folder / "given").mkdir()
        self.file = folder / "given" / "secret.txt"
        self.file.write_text(REFERENCED)
        self.world: World

    @property
    def store(self) -> Path:
        return self.folder / "store" / "main"

    @property
    def keys(self) -> Path:
        return self.folder / "store" / "keys"

    def live(self) -> None:
        (self.folder / "store").mkdir()
        with (
            meeting(self.sandbox),
            every_minted_value(self._minted),
            every_log(lambda line: self.evidence.add("logs", f"line {line[:60]!r}", line)) as self.loggers,
        ):
            self.world = World(self.folder / "store", self.control, self.rotator, self.workload, seed="leak")
            try:
                self._targets()
                self._credentials_of_people()
                self._rotations_that_fail()
                self._a_process_that_ends()
                self._answers()
                self._the_end()
            finally:
                self.world.close()
        self._look("after the last process")
        for process in self.processes:
            self.evidence.add("talk", "what is said and noted", repr((process.notes.said, process.notes.noted)))
        for name, content in files_below(self.sandbox.state):
            # There it hands its own demonstration secrets over; and a certificate may look like a token by chance.
            if not name.startswith("secrets/") and not name.endswith(".pem"):
                self.evidence.add("the sandbox", name, content)
        self.evidence.add("the sandbox", "its journal", repr(self.control.journal()))

    # --- chapters -----------------------------------------------------------------------------------------------

    def _targets(self) -> None:
        world = self.world
        self.processes = [world.main]
        reference = f"file:{self.file}"
        self._does("make a Target", world.create_target)
        self._does("make a Target by reference", world.create_target, "/azure/file", client_secret=reference)
        self._fails("NameConflict", "make it again", world.create_target, client_secret=LITERAL)
        missing = f"file:{self.file}.missing"
        self._fails("ReferenceUnresolved", "no such file", world.create_target, "/azure/none", client_secret=missing)
        test, update = world.engine.targets.test, world.engine.targets.update
        self._does("test it", test, name=TARGET)
        self._does("take a wrong secret", update, {"client_secret": WRONG}, name=TARGET)
        self._fails("AzureAuthFailed", "log in with it", test, name=TARGET)
        self._fails("AzureAuthFailed", "make an item with it", world.create)
        self._does("take the right secret", update, {"client_secret": f"literal:{LITERAL}"}, name=TARGET)
        self._fails("IdentifierMixedUp", "paste it as an id", update, {"tenant_id": LITERAL}, name=TARGET)

    def _credentials_of_people(self) -> None:
        world, change = self.world, self.world.engine.secrets.update
        name, key_id = "/prod/adopted", self.given.key_id
        pasted = {"name": name, "api_id": GIVEN, "api_key": key_id}
        self._fails("IdentifierMixedUp", "mix up value and id", world.create, **pasted)
        adopted = {"name": name, "api_id": key_id}
        self._fails("IdentifierMixedUp", "adopt with a wrong value", world.create, **adopted, api_key=WRONG)
        refused = GIVEN[:3] + WRONG
        self._fails("AzureAuthFailed", "adopt with a refused value", world.create, **adopted, api_key=refused)
        self._does("adopt", world.create, **adopted, api_key=GIVEN)
        self._does("correct the value", change, {"api_key": GIVEN}, name=name)
        both = {"api_id": self.other.key_id, "api_key": CORRECTED}
        self._fails("IdentifierMixedUp", "adopt another wrongly", change, both | {"api_key": WRONG}, name=name)
        self._does("adopt another", change, both, name=name)
        own = {"name": "/prod/alone", "app_id": self.alone.app_id, "authentication_credentials": "use-user-creds"}
        self._does("mint with a first login", world.create, **own, api_key=FIRST_LOGIN)
        self._does("rotate by itself", world.rotate, "/prod/alone")
        self._does("mint by reference", world.create, name="/prod/file", target_name="/azure/file")
        self._does("look for what is wrong", world.engine.doctor)
        self._does("list what there is", world.engine.inventory, target=TARGET)
        self._does("look how fresh it is", world.engine.watch.status)
        self._does("look what is neglected", world.engine.reports.rules)

    def _rotations_that_fail(self) -> None:
        world, workload = self.world, self.workload.app_id

        def broken(what: str, operation: str = "graph.addPassword", **fault: Any) -> None:
            handle = self.control.add_fault(operation, app=workload, **fault)
            self._does(what, world.rotate)
            assert handle.hits, what
            handle.remove()

        self._does("mint", world.create)
        answer = {"keyId": self.other.key_id, "secretText": ECHOED, "displayName": ECHOED, "hint": "Ech"}
        echo = json.dumps({**answer, "endDateTime": ECHOED, "error": {"code": ECHOED, "message": ECHOED}})
        faults: dict[str, dict[str, Any]] = {
            "throttled": {"preset": "throttled"},
            "the answer is lost": {"preset": "dropped", "when": "after"},
            "the answer has no end": {"when": "after", "without": ["endDateTime"]},
            "the answer is another": {"when": "after", "status": 200, "body": echo},
            "the answer is another, and cut off": {"when": "after", "status": 200, "body": echo, "cut": 0.9},
            "an error that quotes": {"status": 503, "body": echo},
        }
        for what, fault in faults.items():
            broken(what, **fault)
        broken("a proof is throttled", "login.token", preset="throttled")
        denied = self.control.add_fault("graph.addPassword", app=workload, preset="denied")
        self._fails("AzurePermissionMissing", "denied", world.rotate)
        denied.remove()
        self.control.set_behaviour(workload, visible_after=[86_400])
        self._fails("VerificationTimeout", "never proven", world.rotate)
        self.control.set_behaviour(workload, visible_after=[0])

        def full(*_: Any) -> None:
            raise Unavailable("StoreUnavailable", "the disk is full", applied="no")

        world.main.store.before["store_pending"] = full
        self._fails("StoreUnavailable", "not stored", world.rotate)
        del world.main.store.before["store_pending"]
        world.clock.advance(hours=25)
        self._does("finish", world.engine.reconcile)

    def _a_process_that_ends(self) -> None:
        """Right after a secret was minted, once before and once after it is in the store."""
        for method in ("store_pending", "record_proof"):
            dying = self.world.process()
            self.processes.append(dying)

            def die(*_: Any, **__: Any) -> None:
                raise Killed

            dying.store.before[method] = die
            self._fails(None, f"killed before {method}", self.world.rotate, engine=dying.engine)
            StoreFile(self.store / "store.db").run_out_leases()
            self._does("take it over", self.world.engine.reconcile)
            self._does("go on", self.world.rotate)

    def _answers(self) -> None:
        engine = self.world.engine
        for name in (ITEM, "/prod/adopted", "/prod/alone", "/prod/file"):
            view = self._does("describe", engine.secrets.describe, name=name)
            facts = json.dumps(view.facts(show_versions=True))
            self.evidence.add("answers", "describe as JSON", facts)
            self._does("get the value", engine.secrets.get_value, name=name)
        self._fails("VersionNotFound", "get another", engine.secrets.get_value, name=ITEM, version=99)
        questions: dict[str, Callable[[], Any]] = {
            "list": engine.secrets.list_all,
            "list Targets": engine.targets.list_all,
            "audit": engine.audit,
            "events": engine.events,
            "a dry run": lambda: engine.reconcile(dry_run=True),
        }
        for what, ask in questions.items():
            self._does(what, ask)
        for table, content in rows_of(self.store / "store.db"):
            self.evidence.add("rows", table, content)

    def _the_end(self) -> None:
        engine = self.world.engine
        self._fails("TargetInUse", "delete a Target in use", engine.targets.delete, name=TARGET)
        for name in (ITEM, "/prod/adopted", "/prod/alone", "/prod/file"):
            self._does("delete", engine.secrets.delete, name=name)
        for name in (TARGET, "/azure/file"):
            self._does("delete the Target", engine.targets.delete, name=name)

    # --- what they are made of ----------------------------------------------------------------------------------

    def _minted(self, key_id: str, value: str) -> None:
        if value != ECHOED:
            name = f"minted secret {len(self.minted) + 1}"
            self.canaries.add(name, value)
            self.minted[key_id] = name

    def _does(self, what: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What must go well. Its answer, and the store's files as they are then, are evidence."""
        answer = call(*arguments, **named)
        self.evidence.add("answers", what, told(answer))
        self._look(what)
        return answer

    def _fails(self, code: str | None, what: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """What must fail with this code; None: by ``Killed``."""
        with pytest.raises((RotatorError, Killed)) as failed:
            call(*arguments, **named)
        error = failed.value
        assert getattr(error, "code", None) == code, f"{what}: {error}"
        self.evidence.add("errors", what, printed(error))
        # What the call itself was given in clear, its arguments hold.
        given = self.canaries.named_in(repr((arguments, named)))
        self.evidence.add("errors with local variables", what, with_locals(error), but=given)
        self._look(what)

    def _look(self, what: str) -> None:
        """The files of the store right now: the database, its write-ahead log and index, and any journal."""
        self.evidence.add_files("the store's files", self.store, moment=f"after: {what}")
        self.evidence.add_files("the key's folder", self.keys, moment=f"after: {what}")
