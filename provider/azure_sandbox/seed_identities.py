"""Managed identities, what applications trust besides secrets, and key vaults, as a seed writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from azure_sandbox.objects import ServicePrincipal
from azure_sandbox.safe import Safe
from azure_sandbox.seed_reading import BadSeed, check_keys, derived, guid, need
from azure_sandbox.trust import EXCHANGE_AUDIENCE, FederatedCredential, read_certificate
from azure_sandbox.vaults import Vault

_IDENTITY = frozenset({"tenant", "name", "client_id", "object_id", "roles", "delegated", "directory_roles", "assigned"})


def read_identity(record: Mapping[str, Any], home: str, now: datetime, grants: Mapping[str, Any]) -> ServicePrincipal:
    """Read a managed identity, whose grants were read already.

    Raises:
        BadSeed: an unknown or missing key, or one that nobody assigns.
    """
    check_keys("managed identity", record, _IDENTITY)
    name = need("managed identity", record, "name")
    tenant_id = str(record.get("tenant", home)).lower()
    if (assigned := record.get("assigned", "user")) not in {"user", "system"}:
        raise BadSeed(f"{name}: assigned by user or system, not {assigned!r}")
    return ServicePrincipal(
        object_id=guid(name, record.get("object_id")) or derived(tenant_id, "principal", name),
        app_id=guid(name, record.get("client_id")) or derived(tenant_id, "app", name),
        tenant_id=tenant_id,
        name=name,
        created_at=now,
        managed=assigned,
        **grants,
    )


def read_trust(where: str, record: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[FederatedCredential, ...]]:
    """The ``certificates`` (PEM) and ``federated_credentials`` of an application.

    Raises:
        BadSeed: no certificate with an RSA key, or an unknown or missing key.
    """
    certificates = tuple(str(pem) for pem in record.get("certificates", ()))
    for pem in certificates:
        try:
            read_certificate(pem)
        except ValueError as error:
            raise BadSeed(f"{where}: a certificate can't be read: {error}") from None
    federated: list[FederatedCredential] = []
    for trusted in record.get("federated_credentials", ()):
        check_keys("federated credential", trusted, frozenset({"issuer", "subject", "audience"}))
        issuer, subject = (need("federated credential", trusted, key) for key in ("issuer", "subject"))
        audience = str(trusted.get("audience", EXCHANGE_AUDIENCE))
        federated.append(FederatedCredential(issuer=issuer, subject=subject, audience=audience))
    return certificates, tuple(federated)


def read_vault(record: Mapping[str, Any], home: str, safe: Safe, now: datetime) -> Vault:
    """Read a key vault; ``secrets`` is a table of values by name.

    Raises:
        BadSeed: an unknown or missing key, or a name that can't be.
    """
    check_keys("vault", record, frozenset({"tenant", "subscription", "resource_group", "name", "secrets"}))
    try:
        vault = Vault(
            tenant_id=str(record.get("tenant", home)).lower(),
            subscription_id=need("vault", record, "subscription"),
            resource_group=need("vault", record, "resource_group"),
            name=need("vault", record, "name"),
        )
        for name, value in record.get("secrets", {}).items():
            vault.put(name, str(value), safe, now)
    except BadSeed:
        raise
    except ValueError as error:
        raise BadSeed(str(error)) from None
    return vault
