"""What a test may do about identities that have no secret, and about key vaults."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from azure_sandbox.clock import Clock
from azure_sandbox.directory import Directory, Unknown
from azure_sandbox.objects import Contents, RoleAssignment, ServicePrincipal
from azure_sandbox.safe import Safe
from azure_sandbox.seed import read_grants
from azure_sandbox.seed_identities import read_identity, read_vault
from azure_sandbox.seed_reading import BadSeed
from azure_sandbox.tokens import TokenMint
from azure_sandbox.trust import EXCHANGE_AUDIENCE
from azure_sandbox.vaults import Vault

_READER = "Key Vault Secrets User"


class Keepers:
    """Managed identities, issuers of workload tokens, and vaults of one world; reached over the control API only."""

    def __init__(self, directory: Directory, safe: Safe, clock: Clock, mint: TokenMint) -> None:
        self._directory = directory
        self._safe = safe
        self._clock = clock
        self._mint = mint

    def create_identity(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a managed identity (keys as in a seed; all may be left out).

        Raises:
            BadSeed: an unknown key or role, or an id that is taken.
        """
        tenant_id = self._tenant(record)
        made_up = {"client_id": str(uuid.uuid4()), "object_id": str(uuid.uuid4())}
        given = {**made_up, "name": f"identity-{made_up['client_id'][:8]}", **record, "tenant": tenant_id}
        identity = read_identity(given, tenant_id, self._clock.now(), read_grants(given["name"], given))
        if self._directory.find_any(identity.app_id) or self._directory.find_any(identity.object_id):
            raise BadSeed(f"{identity.name}: {identity.app_id} exists already")
        self._directory.save(identity)
        return {
            "name": identity.name,
            "tenant_id": identity.tenant_id,
            "client_id": identity.app_id,
            "object_id": identity.object_id,
            "assigned": identity.managed,
            "roles": list(identity.roles),
        }

    def delete_identity(self, id_: str) -> None:
        """Take a managed identity away from the machine, and out of the directory.

        Raises:
            Unknown: there is none with this client id or object id.
        """
        found = self._directory.find_any(id_)
        if not isinstance(found, ServicePrincipal) or not found.managed:
            raise Unknown(f"no managed identity {id_!r}")
        self._directory.delete(found)

    def workload_token(self, record: Mapping[str, Any]) -> str:
        """A token of an issuer outside of Entra: ``issuer``, ``subject`` and, unless it is the usual one, ``audience``.

        Raises:
            KeyError: one of them is missing.
        """
        return self._mint.issue_workload(
            issuer=str(record["issuer"]),
            subject=str(record["subject"]),
            audience=str(record.get("audience") or EXCHANGE_AUDIENCE),
            wall=datetime.now(UTC),
        )

    def create_vault(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a key vault (keys as in a seed; all may be left out); ``readers`` may read its secrets.

        Raises:
            BadSeed: an unknown key or reader, or a name that is taken in its cloud.
        """
        given = dict(record)
        readers = given.pop("readers", ())
        tenant_id = self._tenant(record)
        made_up = {
            "name": f"vault-{uuid.uuid4().hex[:12]}",
            "subscription": str(uuid.uuid4()),
            "resource_group": "group",
        }
        given = {**made_up, **given, "tenant": tenant_id}
        vault = read_vault(given, tenant_id, self._safe, self._clock.now())
        if self._directory.find_vault(vault.name, self._directory.tenants[tenant_id].cloud):
            raise BadSeed(f"vault {vault.name}: the name is taken; names are unique in a cloud")
        roles = [
            RoleAssignment(
                tenant_id=tenant_id, principal_id=self._principal(reader), role=_READER, scope=vault.resource_id
            )
            for reader in readers
        ]
        self._directory.merge(Contents(vaults=(vault,), role_assignments=tuple(roles)))
        return self._describe(vault)

    def put_secret(self, vault: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Add a version of a vault's secret: ``name``, ``value``, and ``enabled`` unless it is.

        Raises:
            Unknown: no such vault.
            ValueError: a secret can't be called so.
        """
        found = self._directory.find_vault(vault)
        if found is None:
            raise Unknown(f"no vault {vault!r}")
        made = found.put(
            str(record["name"]),
            str(record["value"]),
            self._safe,
            self._clock.now(),
            enabled=bool(record.get("enabled", True)),
        )
        self._directory.save(found)
        return {"url": f"https://{self._host(found)}/secrets/{made.name}", "version": made.version}

    def _describe(self, vault: Vault) -> dict[str, Any]:
        host = self._host(vault)
        return {
            "name": vault.name,
            "tenant_id": vault.tenant_id,
            "resource_id": vault.resource_id,
            "host": host,
            "secrets": {item.name: f"https://{host}/secrets/{item.name}" for item in vault.secrets},
        }

    def _host(self, vault: Vault) -> str:
        return self._directory.tenants[vault.tenant_id].cloud.vault_host(vault.name)

    def _principal(self, name: str) -> str:
        found = self._directory.find_any(name)
        principal = self._directory.find_service_principal(found.tenant_id, app_id=found.app_id) if found else None
        if principal is None:
            raise BadSeed(f"nobody is called {name!r}")
        return principal.object_id

    def _tenant(self, record: Mapping[str, Any]) -> str:
        home = next(iter(self._directory.tenants))
        tenant = self._directory.find_tenant(str(record.get("tenant", home)))
        if tenant is None:
            raise BadSeed(f"no tenant {record.get('tenant')!r}")
        return tenant.tenant_id
