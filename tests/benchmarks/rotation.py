"""What a rotation costs besides Azure's answers: the engine against the bare SDK calls of the same rotation.

Both run in one process, in turn, against one sandbox in another: the floor is what a careful script would write with
azure-identity and msgraph-sdk (one login, the application read, addPassword, three proofs with fresh credentials,
removePassword), the case is ``engine.secrets.rotate`` with ``revoke_after`` 0 on an SQLite store with
``synchronous=FULL``. CPU is this process's own, so the sandbox's work is in the wall time only.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from azure_sandbox.testing import ApplicationInfo, Control, Sandbox

_ITEM = "/bench/billing"
_OWNED_BY = "Application.ReadWrite.OwnedBy"


def report(*, quick: bool) -> None:
    """Print it."""
    with Sandbox() as sandbox:
        command = [sys.executable, "-m", "tests.benchmarks.rotation", str(sandbox.state), "5" if quick else "25"]
        done = subprocess.run(command, env=sandbox.environment(), check=True, capture_output=True, text=True)
    print(f"\n{'one rotation (api-key), median':<42} {'wall ms':>8} {'CPU ms':>8} {'requests':>9}")
    told = json.loads(done.stdout)
    for name, figures in told.items():
        print(f"{name:<42} {figures['wall'] * 1000:8.1f} {figures['cpu'] * 1000:8.1f} {figures['requests']:9.0f}")
    engine, floor = told["azure-rotator"], told["bare SDK calls"]
    print(f"{'its own cost':<42} {(engine['wall'] - floor['wall']) * 1000:8.1f} ", end="")
    print(f"{(engine['cpu'] - floor['cpu']) * 1000:8.1f} {engine['requests'] - floor['requests']:+9.0f}")


def main(state: Path, rounds: int) -> None:
    """Measure, in turn, and print the figures as JSON."""
    warnings.simplefilter("ignore", DeprecationWarning)  # the SDKs' own, while their modules are imported
    control = Control.of(state)
    tenant = control.create_tenant().tenant_id
    rotator = control.create_application(tenant=tenant, roles=[_OWNED_BY], secrets=[{"name": "boot"}])
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "bare SDK calls": _bare(control, rotator, _workload(control, rotator)),
            "azure-rotator": _engine(Path(folder), rotator, _workload(control, rotator)),
        }
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for number in range(rounds + 1):
            for name, rotate in cases.items():
                before = _last(control)
                wall, cpu = time.perf_counter(), time.process_time()
                rotate()
                figures = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
                if number:  # the first round imports and connects
                    seen[name].append({**figures, "requests": float(_last(control) - before)})
    middle = {
        name: {kind: median(one[kind] for one in every) for kind in ("wall", "cpu", "requests")}
        for name, every in seen.items()
    }
    print(json.dumps(middle))


def _workload(control: Control, rotator: ApplicationInfo) -> ApplicationInfo:
    return control.create_application(tenant=rotator.tenant_id, owners=[rotator.app_id], secrets=[])


def _last(control: Control) -> int:
    return max((entry.seq for entry in control.journal(limit=1)), default=0)


def _engine(folder: Path, rotator: ApplicationInfo, workload: ApplicationInfo) -> Callable[[], object]:
    from azure_rotator.config import Settings
    from azure_rotator.wiring import engine_for

    settings = Settings(store_url=f"sqlite:///{folder}/store/store.db", key_file=folder / "key" / "store.key")
    engine = engine_for(settings, who="bench")
    target = {
        "name": "/bench/target",
        "tenant_id": rotator.tenant_id,
        "client_id": rotator.app_id,
        "client_secret": rotator.secrets["boot"],
    }
    engine.targets.create(target)
    item = {
        "name": _ITEM,
        "target_name": "/bench/target",
        "rotator_type": "api-key",
        "authentication_credentials": "use-target-creds",
        "app_id": workload.app_id,
        "revoke_after": "0",
    }
    engine.secrets.create(item)
    return lambda: engine.secrets.rotate(name=_ITEM)


def _bare(control: Control, rotator: ApplicationInfo, workload: ApplicationInfo) -> Callable[[], object]:
    """The same by hand; the loop is kept, as a script with several applications would."""
    loop = asyncio.new_event_loop()
    present: list[UUID] = []

    async def rotate() -> None:
        from azure.identity.aio import ClientSecretCredential
        from kiota_abstractions.base_request_configuration import RequestConfiguration
        from msgraph import GraphServiceClient
        from msgraph.generated.applications.item.add_password.add_password_post_request_body import (
            AddPasswordPostRequestBody,
        )
        from msgraph.generated.applications.item.application_item_request_builder import (
            ApplicationItemRequestBuilder,
        )
        from msgraph.generated.applications.item.remove_password.remove_password_post_request_body import (
            RemovePasswordPostRequestBody,
        )
        from msgraph.generated.models.password_credential import PasswordCredential

        scope = "https://graph.microsoft.com/.default"
        async with ClientSecretCredential(rotator.tenant_id, rotator.app_id, rotator.secrets["boot"]) as credential:
            application = GraphServiceClient(credential, scopes=[scope]).applications.by_application_id(
                workload.object_id
            )
            query = ApplicationItemRequestBuilder.ApplicationItemRequestBuilderGetQueryParameters(
                select=["id", "appId", "passwordCredentials"]
            )
            await application.get(RequestConfiguration(query_parameters=query))
            ends = datetime.now(UTC) + timedelta(days=180)
            wanted = PasswordCredential(display_name="bench", end_date_time=ends)
            made: Any = await application.add_password.post(AddPasswordPostRequestBody(password_credential=wanted))
            for _ in range(3):
                async with ClientSecretCredential(rotator.tenant_id, workload.app_id, made.secret_text) as candidate:
                    await candidate.get_token(scope)
            if present:
                await application.remove_password.post(RemovePasswordPostRequestBody(key_id=present.pop()))
            present.append(made.key_id)

    return lambda: loop.run_until_complete(rotate())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
