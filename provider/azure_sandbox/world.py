"""The sandbox's world: directory, clock, faults and journal of one state folder, and what a test may do to it.

Everything here is what Azure would *not* offer: making tenants and applications out of nothing, looking at the truth,
breaking things. It is reached over the control API only.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from azure_sandbox.authority import Authority, open_authority, write_private
from azure_sandbox.clock import Clock
from azure_sandbox.clouds import data_host
from azure_sandbox.credential import Secret, make_secret
from azure_sandbox.directory import Directory, Unknown
from azure_sandbox.faults import Faults
from azure_sandbox.journal import Journal
from azure_sandbox.keepers import Keepers
from azure_sandbox.objects import Application, Contents, Principal, ServicePrincipal
from azure_sandbox.policy import AppPolicy
from azure_sandbox.roster import Roster
from azure_sandbox.seed import BadSeed, Planted, Planter, default_seed, plant, read_grants
from azure_sandbox.seed_reading import check_keys
from azure_sandbox.store import Store
from azure_sandbox.subscriptions import Subscriptions
from azure_sandbox.tokens import TokenMint

_CHANGEABLE = frozenset(
    {"enabled", "roles", "delegated", "directory_roles", "owners", "audience", "policy", "behaviour"}
)


class World:
    """One state folder, open. The folder must exist and belong to this process alone."""

    def __init__(self, state: Path, seed: str | None = None) -> None:
        """Open a folder.

        Args:
            state: the folder.
            seed: text of the seed to begin with; only a folder without a directory takes it.

        Raises:
            BadSeed: the seed can't be loaded.
        """
        self.state = state
        self.authority: Authority = open_authority(state)
        self.safe = self.authority.safe
        self.store = Store(state / "state.db")
        self.clock = Clock(
            float(self.store.setting("clock_offset") or 0.0),
            lambda offset: self.store.set_setting("clock_offset", offset),
        )
        self.mint = TokenMint(self.authority.signing_key)
        self.directory = Directory(self.store)
        self.faults = Faults()
        self.journal = Journal(self.store)
        self.roster = Roster(self.directory, self.clock)
        self.keepers = Keepers(self.directory, self.safe, self.clock, self.mint)
        self.subscriptions = Subscriptions(self.directory, self.safe, self.clock)
        if not self.directory.tenants:
            self.load_seed(default_seed() if seed is None else seed)
        self.subscriptions.furnish()

    def close(self) -> None:
        """Let go of whom faults hold, and close the database."""
        self.faults.clear()
        self.store.close()

    # Seeds.

    @property
    def seed_text(self) -> str:
        """The seed that ``reset`` goes back to."""
        sealed = self.store.setting("sealed_seed")
        return self.safe.open(sealed) if sealed else str(self.store.setting("seed"))

    def load_seed(self, text: str) -> None:
        """Replace the directory by a seed's; journal and faults go, the clock stays.

        Raises:
            BadSeed: the seed can't be loaded; nothing was changed.
        """
        planted = plant(text, self.clock.now(), self.safe)
        with self.store.transaction():
            self.directory.load(planted.contents)
            # Sealed, because a seed may give secrets and passwords.
            self.store.set_setting("sealed_seed", self.safe.seal(text))
            self.store.set_setting("seed", None)
            self.journal.clear()
        self.faults.clear()
        folder = self.state / "secrets"
        folder.mkdir(mode=0o700, exist_ok=True)
        for stale in folder.iterdir():
            stale.unlink()
        for name, value in planted.hand_over.items():
            write_private(folder / re.sub(r"[^A-Za-z0-9._-]", "-", name), value.encode())

    def has_host(self, host: str) -> bool:
        """Whether an account's or vault's host name leads anywhere."""
        found = data_host(host)
        if found is None:
            return False
        cloud, surface, name = found
        find = self.directory.find_vault if surface == "vault" else self.directory.find_account
        return find(name, cloud) is not None

    # Directory objects made on the fly.

    def create_tenant(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a tenant (keys as in a seed; all may be left out).

        Raises:
            BadSeed: an unknown key, or an id that is taken.
        """
        name = f"tenant-{uuid.uuid4().hex[:8]}"
        tenant, built_in = Planter(self.clock.now(), self.safe).tenant({"name": name, **record})
        if self.directory.find_tenant(tenant.tenant_id) or self.directory.find_tenant(tenant.domain):
            raise BadSeed(f"tenant {tenant.tenant_id} ({tenant.domain}) exists already")
        self.directory.merge(Contents(tenants=(tenant,), service_principals=built_in))
        return {
            "tenant_id": tenant.tenant_id,
            "name": tenant.name,
            "domain": tenant.domain,
            "cloud": tenant.cloud_name,
        }

    def create_application(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make an application with its service principal (keys as in a seed; all may be left out).

        ``owners`` are names or ids of applications, service principals or users; ``self`` is the new one.

        Returns:
            Its ids, and the clear ``secrets`` by name: here and never again.

        Raises:
            BadSeed: an unknown key or name, or an id that is taken.
        """
        fresh = {key: str(uuid.uuid4()) for key in ("app_id", "object_id", "service_principal_id")}
        name = record.get("name") or f"app-{fresh['app_id'][:8]}"
        home = next(iter(self.directory.tenants))
        given: dict[str, Any] = {**fresh, **record, "name": name}
        tenant = self.directory.find_tenant(str(given.get("tenant", home)))
        if tenant is None:
            raise BadSeed(f"{name}: no tenant {given.get('tenant')!r}")
        given["tenant"] = tenant.tenant_id
        given["owners"] = [name if owner == "self" else self._owner(owner) for owner in given.get("owners", ())]
        planter = Planter(self.clock.now(), self.safe, {name: str(given["service_principal_id"])})
        application, principal = planter.application(given, tenant.tenant_id)
        if self.directory.find_any(application.app_id) or self.directory.find_any(application.object_id):
            raise BadSeed(f"{name}: application {application.app_id} exists already")
        planted: Planted = planter.planted(Contents(applications=(application,), service_principals=(principal,)))
        self.directory.merge(planted.contents)
        return {
            **self.describe(application),
            "secrets": {secret or "": value for (_, secret), value in planted.values.items()},
        }

    def update_application(self, id_: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Change ``enabled``, ``roles``, ``delegated``, ``directory_roles``, ``owners``, ``audience``, ``policy`` or
        ``behaviour`` of an application.

        Raises:
            Unknown: no such application.
            BadSeed: an unknown key, role or owner.
            ValueError: a setting of the wrong kind.
        """
        application, principal = self._pair(id_)
        check_keys("application", changes, _CHANGEABLE)
        granted = read_grants(application.name, changes)
        with self.store.transaction():
            if "behaviour" in changes:
                self.directory.set_behaviour(changes["behaviour"], application)
            if "owners" in changes:
                application.owners = principal.owners = tuple(self._owner(owner) for owner in changes["owners"])
            if "policy" in changes:
                policy = changes["policy"]
                application.policy = AppPolicy(**{"policy_id": str(uuid.uuid4()), **policy}) if policy else None
            application.audience = changes.get("audience", application.audience)
            principal.enabled = bool(changes.get("enabled", principal.enabled))
            for name, names in granted.items():
                setattr(principal, name, names)
            self.directory.save(application)
            self.directory.save(principal)
        return self.describe(application)

    def delete_application(self, id_: str) -> None:
        """Delete an application and its service principal.

        Raises:
            Unknown: no such application.
        """
        application, _ = self._pair(id_)
        with self.store.transaction():
            self.directory.delete_application(application)

    def applications(self, tenant: str | None = None) -> list[dict[str, Any]]:
        """All applications, or a tenant's."""
        found = self.directory.find_tenant(tenant) if tenant else None
        if tenant and found is None:
            raise Unknown(f"no tenant {tenant!r}")
        return [self.describe(item) for item in self.directory.applications(found.tenant_id if found else None)]

    # Secrets: the truth, and what a person does in the portal.

    def add_secret(self, id_: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """Add a secret as a person would in the portal; it propagates like any other.

        Args:
            id_: an appId, or the object id of an application or service principal.
            record: ``display_name``, ``days`` and ``value``, each optional.

        Returns:
            The secret's line in the truth report with its ``value``.

        Raises:
            Unknown: no such object.
        """
        holder = self._holder(id_)
        now = self.clock.now()
        days = record.get("days")
        made = make_secret(
            origin="portal",
            added_at=now,
            display_name=record.get("display_name"),
            ends_at=now + timedelta(days=float(days)) if days is not None else None,
            value=record.get("value"),
        )
        self.directory.add_secret(holder, made.secret)
        return {**self._secret_line(holder, made.secret), "value": made.value}

    def remove_secret(self, id_: str, key_id: str) -> None:
        """Remove a secret as a person would in the portal.

        Raises:
            Unknown: no such object, or no such live secret on it.
        """
        holder = self._holder(id_)
        secret = holder.find_secret(key_id)
        if secret is None:
            raise Unknown(f"{id_} has no secret {key_id}")
        self.directory.replace_secret(holder, secret.removed(self.clock.now()))

    def change_secret(self, id_: str, key_id: str, *, ends_in_seconds: float) -> dict[str, Any]:
        """Let a live secret end so many seconds from now (0 or less: it has expired).

        Raises:
            Unknown: no such object, or no such live secret on it.
        """
        holder = self._holder(id_)
        secret = holder.find_secret(key_id)
        if secret is None:
            raise Unknown(f"{id_} has no secret {key_id}")
        changed = replace(secret, ends_at=self.clock.now() + timedelta(seconds=ends_in_seconds))
        self.directory.replace_secret(holder, changed)
        return self._secret_line(holder, changed)

    def secrets(self, id_: str | None = None, managed: Collection[str] | None = None) -> list[dict[str, Any]]:
        """The truth about secrets, removed ones included.

        Args:
            id_: one application or service principal; None for all.
            managed: keyIds that somebody answers for. Given, each line says whether it is an ``orphan``: minted over
                Graph, alive, and not among them.

        Raises:
            Unknown: no such object.
        """
        if id_ is None:
            holders: list[Principal] = [*self.directory.applications(), *self.directory.service_principals()]
        else:
            holders = [self._holder(id_)]
        names = {key_id.lower() for key_id in managed} if managed is not None else None
        return [self._secret_line(holder, secret, names) for holder in holders for secret in holder.secrets]

    def verify(self, id_: str, value: str) -> dict[str, Any] | None:
        """The line of the secret that has this value, removed and unpropagated ones included; None when none has."""
        holder = self._holder(id_)
        for secret in reversed(holder.secrets):
            if secret.matches(value):
                return self._secret_line(holder, secret)
        return None

    def describe(self, application: Application) -> dict[str, Any]:
        """An application in a few words."""
        principal = self.directory.find_service_principal(application.tenant_id, app_id=application.app_id)
        return {
            "name": application.name,
            "tenant_id": application.tenant_id,
            "app_id": application.app_id,
            "object_id": application.object_id,
            "service_principal_id": principal.object_id if principal else None,
            "roles": list(principal.roles) if principal else [],
            "delegated": list(principal.delegated) if principal else [],
            "directory_roles": list(principal.directory_roles) if principal else [],
            "owners": list(application.owners),
            "enabled": principal.enabled if principal else False,
        }

    # Finding things.

    def _secret_line(self, holder: Principal, secret: Secret, managed: set[str] | None = None) -> dict[str, Any]:
        state = secret.state(self.clock.now())
        line: dict[str, Any] = {
            "tenant_id": holder.tenant_id,
            "app_id": holder.app_id,
            "application": holder.name,
            "holder": "service principal" if isinstance(holder, ServicePrincipal) else "application",
            "key_id": secret.key_id,
            "display_name": secret.display_name,
            "hint": secret.hint,
            "origin": secret.origin,
            "state": state,
            "delivered": secret.delivered,
            "added_at": secret.added_at.isoformat(),
            "starts_at": secret.starts_at.isoformat(),
            "ends_at": secret.ends_at.isoformat(),
            "removed_at": secret.removed_at.isoformat() if secret.removed_at else None,
        }
        if managed is not None:
            line["orphan"] = (
                secret.origin == "minted" and not secret.is_removed and secret.key_id.lower() not in managed
            )
        return line

    def _holder(self, id_: str) -> Principal:
        found = self.directory.find_any(id_) or next(
            (item for item in self.directory.applications() if item.name == id_), None
        )
        if found is None:
            raise Unknown(f"no application or service principal {id_!r}")
        return found

    def _pair(self, id_: str) -> tuple[Application, ServicePrincipal]:
        holder = self._holder(id_)
        application = self.directory.find_application(holder.tenant_id, app_id=holder.app_id)
        principal = self.directory.find_service_principal(holder.tenant_id, app_id=holder.app_id)
        if application is None or principal is None:
            raise Unknown(f"no application {id_!r}")
        return application, principal

    def _owner(self, id_: str) -> str:
        """The object id that owns: a user's own, an application's service principal's."""
        for user in self.directory.users.values():
            if id_.lower() in {user.object_id.lower(), user.upn.lower()}:
                return user.object_id
        try:
            return self._pair(id_)[1].object_id
        except Unknown:
            raise BadSeed(f"nobody is called {id_!r}") from None
