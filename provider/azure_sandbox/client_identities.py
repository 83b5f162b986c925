"""The control API's client, as far as it is about identities without a secret, and key vaults."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from azure_sandbox.told import IdentityInfo, VaultInfo, read


class IdentityControl:
    """A part of :class:`azure_sandbox.client.Control`."""

    def request(self, method: str, path: str, body: Any = None, *, timeout_seconds: float = 30.0) -> Any:
        """Make one call."""
        raise NotImplementedError

    def create_identity(self, **record: Any) -> IdentityInfo:
        """Make a managed identity: ``name``, ``tenant``, ``client_id``, ``object_id``, ``roles``, ``directory_roles``,
        ``assigned`` (``user`` or ``system``), each optional, as in a seed."""
        return read(IdentityInfo, self.request("POST", "/identities", record))

    def delete_identity(self, id_: str) -> None:
        """Delete a managed identity, named by client id or object id."""
        self.request("DELETE", f"/identities/{quote(id_, safe='')}")

    def workload_token(self, *, issuer: str, subject: str, audience: str | None = None) -> str:
        """A token of an issuer outside of Entra, as an application with such a federated credential trusts."""
        body = {"issuer": issuer, "subject": subject, "audience": audience}
        return str(self.request("POST", "/workload-tokens", body)["token"])

    def create_vault(self, **record: Any) -> VaultInfo:
        """Make a key vault: ``name``, ``tenant``, ``subscription``, ``resource_group``, ``secrets`` (values by name),
        each optional, as in a seed; ``readers`` are appIds or object ids that may read its secrets."""
        return read(VaultInfo, self.request("POST", "/vaults", record))

    def put_vault_secret(self, vault: str, name: str, value: str, *, enabled: bool = True) -> str:
        """Add a version of a vault's secret and return the secret's URL, which always leads to the newest one."""
        body = {"name": name, "value": value, "enabled": enabled}
        return str(self.request("POST", f"/vaults/{quote(vault, safe='')}/secrets", body)["url"])
