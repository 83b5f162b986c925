"""A client of the control API: what tests and the command line use to look into the sandbox and to break it.

control = Control.of(state_folder)
app = control.create_application(owners=["rotator"], secrets=[{"name": "by hand"}])
fault = control.add_fault("graph.addPassword", app=app.app_id, when="after", hold=True)
...                       # some process calls addPassword
fault.wait_reached()      # the call is inside, committed and unanswered
fault.release()
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from azure_sandbox.client_identities import IdentityControl
from azure_sandbox.client_storage import StorageControl
from azure_sandbox.client_users import UserControl
from azure_sandbox.clock import parse_instant
from azure_sandbox.told import (
    AccountInfo,
    ApplicationInfo,
    IdentityInfo,
    JournalEntry,
    SecretInfo,
    TenantInfo,
    UserInfo,
    VaultInfo,
    read,
)

__all__ = [
    "AccountInfo",
    "ApplicationInfo",
    "Control",
    "ControlError",
    "FaultHandle",
    "IdentityInfo",
    "JournalEntry",
    "SecretInfo",
    "TenantInfo",
    "UserInfo",
    "VaultInfo",
]


class ControlError(Exception):
    """The control API refused; the message says why. ``status`` is 0 when nobody answered."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultHandle:
    """A fault in force."""

    id: str
    control: Control = field(repr=False)

    def wait_reached(self, count: int = 1, timeout_seconds: float = 30.0) -> None:
        """Wait until ``count`` requests have come to the hold.

        Raises:
            TimeoutError: they did not come in time.
        """
        query = urlencode({"count": count, "timeout": timeout_seconds})
        answer = self.control.request("GET", f"/faults/{self.id}/reached?{query}", timeout_seconds=timeout_seconds + 10)
        if not answer["reached"]:
            raise TimeoutError(f"fault {self.id}: {count} requests did not come within {timeout_seconds} s")

    def release(self) -> None:
        """Let go of everyone it holds, and hold nobody from now on."""
        self.control.request("POST", f"/faults/{self.id}/release")

    def remove(self) -> None:
        """Take it away; whom it holds goes on."""
        self.control.request("DELETE", f"/faults/{self.id}")

    @property
    def hits(self) -> int:
        """How many requests it acted on."""
        return int(self.control.request("GET", f"/faults/{self.id}")["hits"])


class Control(StorageControl, UserControl, IdentityControl):
    """Calls the control API; a connection per call, so it may be used from any thread or after a fork."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token

    @classmethod
    def of(cls, state: Path) -> Control:
        """The control of the sandbox that runs on a state folder.

        Raises:
            ControlError: none has ever run there.
        """
        try:
            address = json.loads((state / "server.json").read_text())
        except FileNotFoundError:
            raise ControlError(0, f"no sandbox has run on {state}") from None
        return cls(address["control_port"], address["token"])

    def request(self, method: str, path: str, body: Any = None, *, timeout_seconds: float = 30.0) -> Any:
        """Make one call.

        Raises:
            ControlError: a refusal, or nobody there.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_seconds)
        headers = {"Authorization": f"Bearer {self._token}", "Connection": "close"}
        try:
            connection.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ControlError(0, f"the sandbox does not answer: {str(error) or type(error).__name__}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(response.status, answer.get("error", f"HTTP {response.status}"))
        return answer

    # The process and its clock.

    def status(self) -> dict[str, Any]:
        """Ports, pid, clock, tenants, and the hosts that the proxy has refused."""
        return dict(self.request("GET", "/status"))

    def stop(self) -> None:
        """Ask the process to end; returns at once."""
        self.request("POST", "/stop")

    def now(self) -> datetime:
        """The sandbox's instant."""
        return parse_instant(self.request("GET", "/clock")["now"])

    def advance(self, by: float | str) -> datetime:
        """Move the clock by seconds or ``2h``, ``1d12h`` (negative: back) and return the new instant."""
        return parse_instant(
            self.request("POST", "/clock", {"advance": by if isinstance(by, str) else f"{by:f}"})["now"]
        )

    def set_clock(self, to: datetime) -> datetime:
        """Make the clock show ``to``, an aware instant."""
        return parse_instant(self.request("POST", "/clock", {"set": to.isoformat()})["now"])

    # Seed and settings.

    def seed(self) -> str:
        """The seed's text."""
        return str(self.request("GET", "/seed")["text"])

    def load_seed(self, text: str) -> None:
        """Replace the directory by a seed's; journal and faults go."""
        self.request("PUT", "/seed", {"text": text})

    def reset(self) -> None:
        """Go back to the seed; journal and faults go, the clock stays."""
        self.request("POST", "/reset")

    def behaviour(self) -> dict[str, Any]:
        """The global settings; see :class:`azure_sandbox.behaviour.Behaviour`."""
        return dict(self.request("GET", "/behaviour"))

    def set_behaviour(self, app: str | None = None, **settings: Any) -> None:
        """Change settings of one application, or of all that have none of their own.

        ``set_behaviour(app.app_id, visible_after=[5, 20])``: two front ends, late by 5 and 20 seconds.
        """
        if app is None:
            self.request("PATCH", "/behaviour", settings)
        else:
            self.request("PATCH", f"/applications/{quote(app)}", {"behaviour": settings})

    # Directory.

    def create_tenant(self, **record: Any) -> TenantInfo:
        """Make a tenant: ``name``, ``domain``, ``cloud``, ``id``, ``policy``, each optional."""
        return TenantInfo(**self.request("POST", "/tenants", record))

    def create_application(self, **record: Any) -> ApplicationInfo:
        """Make an application: ``name``, ``tenant``, ``owners``, ``roles``, ``secrets``, ``audience``, ``policy``,
        ``behaviour``, ``enabled``, ``app_id``, ``delegated``, ``directory_roles``, ``certificates``,
        ``federated_credentials``, each optional, as in a seed;
        an owner ``self`` is itself."""
        return read(ApplicationInfo, self.request("POST", "/applications", record))

    def update_application(self, id_: str, **changes: Any) -> ApplicationInfo:
        """Change ``enabled``, ``roles``, ``delegated``, ``directory_roles``, ``owners``, ``audience``, ``policy`` or
        ``behaviour``."""
        return read(ApplicationInfo, self.request("PATCH", f"/applications/{quote(id_)}", changes))

    def delete_application(self, id_: str) -> None:
        """Delete an application and its service principal."""
        self.request("DELETE", f"/applications/{quote(id_)}")

    def applications(self, tenant: str | None = None) -> list[ApplicationInfo]:
        """All applications, or a tenant's."""
        path = "/applications" + (f"?{urlencode({'tenant': tenant})}" if tenant else "")
        return [read(ApplicationInfo, record) for record in self.request("GET", path)["applications"]]

    # Secrets.

    def secrets(self, id_: str | None = None, *, managed: Iterable[str] | None = None) -> list[SecretInfo]:
        """The truth about the secrets of one application (appId, object id or name), or of all, removed included.

        ``managed``: keyIds that somebody answers for; each line then says whether it is an ``orphan``.
        """
        body = {"id": id_, "managed": list(managed) if managed is not None else None}
        return [read(SecretInfo, record) for record in self.request("POST", "/secrets", body)["secrets"]]

    def add_secret(
        self, id_: str, *, display_name: str | None = None, days: float | None = None, value: str | None = None
    ) -> SecretInfo:
        """Add a secret as a person in the portal would; the answer carries its value."""
        body = {"display_name": display_name, "days": days, "value": value}
        return read(SecretInfo, self.request("POST", f"/applications/{quote(id_)}/secrets", body))

    def remove_secret(self, id_: str, key_id: str) -> None:
        """Remove a secret as a person in the portal would."""
        self.request("DELETE", f"/applications/{quote(id_)}/secrets/{quote(key_id)}")

    def expire_secret(self, id_: str, key_id: str, *, ends_in_seconds: float = 0.0) -> SecretInfo:
        """Let a secret end now, or in so many seconds."""
        path = f"/applications/{quote(id_)}/secrets/{quote(key_id)}"
        return read(SecretInfo, self.request("PATCH", path, {"ends_in_seconds": ends_in_seconds}))

    def verify(self, id_: str, value: str) -> SecretInfo | None:
        """Which secret has this value, propagated or not, removed or not; None when none has."""
        found = self.request("POST", f"/applications/{quote(id_)}/verify", {"value": value})["secret"]
        return read(SecretInfo, found) if found is not None else None

    # Faults.

    def add_fault(self, operation: str = "*", **spec: Any) -> FaultHandle:
        """Put a fault in force: ``preset`` and the attributes of :class:`azure_sandbox.faults.FaultSpec`."""
        answer = self.request("POST", "/faults", {"operation": operation, **spec})
        return FaultHandle(id=answer["id"], control=self)

    def faults(self) -> list[dict[str, Any]]:
        """The faults in force, spent ones included."""
        return list(self.request("GET", "/faults")["faults"])

    def clear_faults(self) -> None:
        """Take all faults away."""
        self.request("DELETE", "/faults")

    # Journal.

    def journal(
        self,
        *,
        app: str | None = None,
        account: str | None = None,
        user: str | None = None,
        operation: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[JournalEntry]:
        """Requests, oldest first: of one appId, storage account, user (as the requests name him) or operation, with a
        ``seq`` above ``after``, the last ``limit``."""
        query = _query(app=app, account=account, user=user, operation=operation, after=after, limit=limit)
        return [read(JournalEntry, record) for record in self.request("GET", f"/journal?{query}")["entries"]]

    def counts(
        self,
        *,
        app: str | None = None,
        account: str | None = None,
        user: str | None = None,
        operation: str | None = None,
        after: int = 0,
    ) -> dict[str, int]:
        """How many requests, creations, removals, regenerations, password changes, undelivered ones, logins, refused
        logins, faults."""
        query = _query(app=app, account=account, user=user, operation=operation, after=after, counts=1)
        return dict(self.request("GET", f"/journal?{query}")["counts"])

    def clear_journal(self) -> None:
        """Forget the journal."""
        self.request("DELETE", "/journal")


def _query(**parts: Any) -> str:
    return urlencode({name: value for name, value in parts.items() if value is not None})
