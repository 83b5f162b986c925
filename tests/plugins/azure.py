"""A local Azure for tests: one sandbox per test process, and the Azure adapters in front of it.

    def test_a_secret_logs_in(login, workload):          # in this process, through the real SDKs, over TLS
        login.prove(workload.identity())

    def test_the_command_line(sandbox, workload):        # in another process
        subprocess.run([...], env=sandbox.environment())

A test makes its own tenant and applications (``tenant``, ``rotator``, ``workload``, ``make_application``) and names
them in its faults, so that nothing needs a reset. Faults and clock are put back after each test that asks for
``control``.

The variables that lead to the sandbox are set for the tests that use the adapters and for no others: ``azure``.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from azure_rotator.cloud import EntraLogin, GraphDirectory
from azure_rotator.cloud import close as close_cloud
from azure_rotator.domain.ports import Identity
from azure_rotator.domain.secrettext import SecretText
from azure_sandbox.environment import UNSET
from azure_sandbox.testing import ApplicationInfo, Control, JournalEntry, Sandbox, TenantInfo

OWNED_BY = "Application.ReadWrite.OwnedBy"


def pytest_configure(config: pytest.Config) -> None:
    # The SDKs' own modules warn while they are imported; this is about them, not about us.
    config.addinivalue_line(
        "filterwarnings", r"ignore:This class is deprecated\. Please use the generic:DeprecationWarning"
    )
    config.addinivalue_line("filterwarnings", r"ignore:GetQueryParameters is deprecated:DeprecationWarning")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application in the sandbox, with the value of its first secret where it has one."""

    info: ApplicationInfo
    control: Control = field(repr=False)
    cloud: str = "AzureCloud"

    @property
    def app_id(self) -> str:
        return self.info.app_id

    @property
    def object_id(self) -> str:
        return self.info.object_id

    @property
    def secret(self) -> str:
        """The clear value of the secret it was made with."""
        return self.info.secrets["boot"]

    def identity(self, secret: str | None = None, *, label: str | None = None) -> Identity:
        """It as the one who acts or is proven."""
        return Identity(
            tenant_id=self.info.tenant_id,
            client_id=self.app_id,
            secret=SecretText(secret if secret is not None else self.secret),
            label=label or f'target "/{self.info.name}"',
            azure_cloud=self.cloud,
        )

    def requests(self, operation: str) -> Sequence[JournalEntry]:
        """What was asked about it, e.g. ``graph.addPassword``; ``login.token`` are its own logins."""
        return self.control.journal(app=self.app_id, operation=operation)

    def live_key_ids(self) -> set[str]:
        """The truth, whatever reads of Graph say."""
        return {secret.key_id for secret in self.control.secrets(self.app_id) if secret.is_alive}


class MakeApplication(Protocol):
    def __call__(self, name: str, **record: Any) -> App: ...


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """The sandbox of this test process; ``sandbox.environment()`` leads a child process to it."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def control(sandbox: Sandbox) -> Iterator[Control]:
    """Looks into the sandbox and breaks it."""
    yield sandbox.control
    sandbox.control.clear_faults()
    now = datetime.now(UTC)
    if abs(sandbox.control.now() - now) > timedelta(seconds=1):
        sandbox.control.set_clock(now)


@pytest.fixture
def azure(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """This process meets the sandbox as if it were Azure, and no test before or after it notices."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in sandbox.variables().items():
        monkeypatch.setenv(name, value)
    _trust(sandbox)
    yield sandbox
    close_cloud()


@pytest.fixture
def login(azure: Sandbox) -> EntraLogin:
    return EntraLogin()


@pytest.fixture
def directory(azure: Sandbox) -> GraphDirectory:
    return GraphDirectory()


@pytest.fixture
def tenant(control: Control) -> TenantInfo:
    """A tenant that no other test knows."""
    return control.create_tenant()


@pytest.fixture
def make_application(control: Control, tenant: TenantInfo) -> MakeApplication:
    """Make an application in the test's tenant, from a record as in a seed; by default with one secret, ``boot``."""

    def make(name: str, **record: Any) -> App:
        given = {"tenant": tenant.tenant_id, "secrets": [{"name": "boot"}]} | record
        return App(info=control.create_application(name=name, **given), control=control)

    return make


@pytest.fixture
def rotator(make_application: MakeApplication) -> App:
    """The privileged application: ``Application.ReadWrite.OwnedBy``, and owner of itself."""
    return make_application("rotator", roles=[OWNED_BY], owners=["self"])


@pytest.fixture
def workload(make_application: MakeApplication, rotator: App) -> App:
    """An application that the rotator owns, with a secret made by somebody else."""
    return make_application("workload", owners=[rotator.app_id])


def _trust(sandbox: Sandbox) -> None:
    """aiohttp makes its SSL context when it is imported, which may have been long before this sandbox. Programs get it
    by SSL_CERT_FILE at their start; here the context that is there learns the sandbox's root."""
    from aiohttp import connector

    context = connector._SSL_CONTEXT_VERIFIED
    if not isinstance(context, ssl.SSLContext):
        raise TypeError("aiohttp keeps its SSL context somewhere else by now")
    context.load_verify_locations(cafile=os.fspath(sandbox.ca_file))
