"""The control API: plain HTTP on loopback, for the command line and for tests. Not a part of Azure.

Every request carries the bearer token of the state folder. Bodies and answers are JSON objects; a refusal is
``{"error": "<text>"}`` with 400 (can't be done as asked), 401 or 404.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azure_sandbox.clock import format_instant, parse_duration, parse_instant
from azure_sandbox.directory import Unknown
from azure_sandbox.faults import Fault, FaultSpec
from azure_sandbox.journal import count
from azure_sandbox.world import World

Handler = Callable[[Request], Awaitable[Any]]
_MAX_WAIT_SECONDS = 300.0


class Control:
    """The control API of one world. ``stop`` is called when a stop is asked for."""

    def __init__(
        self, world: World, token: str, stop: Callable[[], None], status: Callable[[], dict[str, Any]]
    ) -> None:
        self._world = world
        self._token = token
        self._stop = stop
        self._status = status

    def application(self) -> Starlette:
        """The ASGI application."""
        handlers: list[tuple[str, str, Handler]] = [
            ("GET", "/status", self._get_status),
            ("POST", "/stop", self._post_stop),
            ("GET", "/clock", self._get_clock),
            ("POST", "/clock", self._post_clock),
            ("GET", "/seed", self._get_seed),
            ("PUT", "/seed", self._put_seed),
            ("POST", "/reset", self._post_reset),
            ("GET", "/behaviour", self._get_behaviour),
            ("PATCH", "/behaviour", self._patch_behaviour),
            ("POST", "/tenants", self._post_tenant),
            ("GET", "/applications", self._get_applications),
            ("POST", "/applications", self._post_application),
            ("PATCH", "/applications/{id}", self._patch_application),
            ("DELETE", "/applications/{id}", self._delete_application),
            ("POST", "/secrets", self._post_secrets_query),
            ("POST", "/applications/{id}/secrets", self._post_secret),
            ("PATCH", "/applications/{id}/secrets/{key_id}", self._patch_secret),
            ("DELETE", "/applications/{id}/secrets/{key_id}", self._delete_secret),
            ("POST", "/applications/{id}/verify", self._post_verify),
            ("GET", "/accounts", self._get_accounts),
            ("POST", "/accounts", self._post_account),
            ("GET", "/accounts/{id}", self._get_account),
            ("PATCH", "/accounts/{id}", self._patch_account),
            ("DELETE", "/accounts/{id}", self._delete_account),
            ("POST", "/accounts/{id}/regenerate", self._post_regenerate),
            ("POST", "/accounts/{id}/verify", self._post_verify_key),
            ("POST", "/role-assignments", self._post_role_assignment),
            ("DELETE", "/role-assignments", self._delete_role_assignment),
            ("POST", "/locks", self._post_lock),
            ("DELETE", "/locks", self._delete_lock),
            ("GET", "/users", self._get_users),
            ("POST", "/users", self._post_user),
            ("GET", "/users/{id}", self._get_user),
            ("PATCH", "/users/{id}", self._patch_user),
            ("DELETE", "/users/{id}", self._delete_user),
            ("POST", "/users/{id}/verify", self._post_verify_password),
            ("POST", "/identities", self._post_identity),
            ("DELETE", "/identities/{id}", self._delete_identity),
            ("POST", "/workload-tokens", self._post_workload_token),
            ("POST", "/vaults", self._post_vault),
            ("POST", "/vaults/{id}/secrets", self._post_vault_secret),
            ("GET", "/faults", self._get_faults),
            ("POST", "/faults", self._post_fault),
            ("DELETE", "/faults", self._delete_faults),
            ("GET", "/faults/{id}", self._get_fault),
            ("DELETE", "/faults/{id}", self._delete_fault),
            ("POST", "/faults/{id}/release", self._post_release),
            ("GET", "/faults/{id}/reached", self._get_reached),
            ("GET", "/journal", self._get_journal),
            ("DELETE", "/journal", self._delete_journal),
        ]
        return Starlette(
            routes=[Route(path, self._guarded(handler), methods=[verb]) for verb, path, handler in handlers]
        )

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return JSONResponse({"error": "the control token is missing or wrong"}, 401)
            try:
                return JSONResponse(await handler(request))
            except Unknown as unknown:
                return JSONResponse({"error": str(unknown)}, 404)
            except (ValueError, TypeError) as wrong:
                return JSONResponse({"error": str(wrong)}, 400)

        return guarded

    # The process.

    async def _get_status(self, _: Request) -> Any:
        world = self._world
        return {
            **self._status(),
            "now": format_instant(world.clock.now()),
            "tenants": [
                {"tenant_id": tenant.tenant_id, "name": tenant.name, "cloud": tenant.cloud_name}
                for tenant in world.directory.tenants.values()
            ],
            "applications": sum(1 for _ in world.directory.applications()),
            "faults": len(world.faults.all()),
        }

    async def _post_stop(self, _: Request) -> Any:
        self._stop()
        return {}

    async def _get_clock(self, _: Request) -> Any:
        clock = self._world.clock
        return {"now": format_instant(clock.now()), "offset_seconds": clock.offset_seconds}

    async def _post_clock(self, request: Request) -> Any:
        body = await _body(request)
        clock = self._world.clock
        if "advance" in body:
            clock.advance(parse_duration(str(body["advance"])))
        elif "set" in body:
            clock.set(parse_instant(str(body["set"])))
        else:
            raise ValueError("advance or set is missing")
        return await self._get_clock(request)

    # Seed and settings.

    async def _get_seed(self, _: Request) -> Any:
        return {"text": self._world.seed_text}

    async def _put_seed(self, request: Request) -> Any:
        self._world.load_seed(str((await _body(request))["text"]))
        return {}

    async def _post_reset(self, _: Request) -> Any:
        self._world.load_seed(self._world.seed_text)
        return {}

    async def _get_behaviour(self, _: Request) -> Any:
        return self._world.directory.behaviour.to_record()

    async def _patch_behaviour(self, request: Request) -> Any:
        self._world.directory.set_behaviour(await _body(request))
        return await self._get_behaviour(request)

    # Directory.

    async def _post_tenant(self, request: Request) -> Any:
        return self._world.create_tenant(await _body(request))

    async def _get_applications(self, request: Request) -> Any:
        return {"applications": self._world.applications(request.query_params.get("tenant"))}

    async def _post_application(self, request: Request) -> Any:
        return self._world.create_application(await _body(request))

    async def _patch_application(self, request: Request) -> Any:
        return self._world.update_application(request.path_params["id"], await _body(request))

    async def _delete_application(self, request: Request) -> Any:
        self._world.delete_application(request.path_params["id"])
        return {}

    # Secrets.

    async def _post_secrets_query(self, request: Request) -> Any:
        body = await _body(request)
        return {"secrets": self._world.secrets(body.get("id"), body.get("managed"))}

    async def _post_secret(self, request: Request) -> Any:
        return self._world.add_secret(request.path_params["id"], await _body(request))

    async def _patch_secret(self, request: Request) -> Any:
        seconds = float((await _body(request))["ends_in_seconds"])
        params = request.path_params
        return self._world.change_secret(params["id"], params["key_id"], ends_in_seconds=seconds)

    async def _delete_secret(self, request: Request) -> Any:
        self._world.remove_secret(request.path_params["id"], request.path_params["key_id"])
        return {}

    async def _post_verify(self, request: Request) -> Any:
        return {"secret": self._world.verify(request.path_params["id"], str((await _body(request))["value"]))}

    # Storage accounts, roles, locks.

    async def _get_accounts(self, request: Request) -> Any:
        return {"accounts": self._world.subscriptions.list(request.query_params.get("tenant"))}

    async def _post_account(self, request: Request) -> Any:
        return self._world.subscriptions.create(await _body(request))

    async def _get_account(self, request: Request) -> Any:
        subscriptions = self._world.subscriptions
        return subscriptions.describe(subscriptions.get(request.path_params["id"]))

    async def _patch_account(self, request: Request) -> Any:
        return self._world.subscriptions.update(request.path_params["id"], await _body(request))

    async def _delete_account(self, request: Request) -> Any:
        self._world.subscriptions.delete(request.path_params["id"])
        return {}

    async def _post_regenerate(self, request: Request) -> Any:
        key_name = str((await _body(request)).get("key"))
        return self._world.subscriptions.regenerate(request.path_params["id"], key_name)

    async def _post_verify_key(self, request: Request) -> Any:
        value = str((await _body(request))["value"])
        return {"key": self._world.subscriptions.verify(request.path_params["id"], value)}

    async def _post_role_assignment(self, request: Request) -> Any:
        return self._world.subscriptions.grant(await _body(request))

    async def _delete_role_assignment(self, request: Request) -> Any:
        self._world.subscriptions.revoke(await _body(request))
        return {}

    async def _post_lock(self, request: Request) -> Any:
        return self._world.subscriptions.lock(await _body(request))

    async def _delete_lock(self, request: Request) -> Any:
        self._world.subscriptions.unlock(await _body(request))
        return {}

    # Users.

    async def _get_users(self, request: Request) -> Any:
        return {"users": self._world.roster.list(request.query_params.get("tenant"))}

    async def _post_user(self, request: Request) -> Any:
        return self._world.roster.create(await _body(request))

    async def _get_user(self, request: Request) -> Any:
        return self._world.roster.describe(self._world.roster.get(request.path_params["id"]))

    async def _patch_user(self, request: Request) -> Any:
        return self._world.roster.update(request.path_params["id"], await _body(request))

    async def _delete_user(self, request: Request) -> Any:
        self._world.roster.delete(request.path_params["id"])
        return {}

    async def _post_verify_password(self, request: Request) -> Any:
        value = str((await _body(request))["value"])
        return {"password": self._world.roster.verify(request.path_params["id"], value)}

    # Identities without a secret, and vaults.

    async def _post_identity(self, request: Request) -> Any:
        return self._world.keepers.create_identity(await _body(request))

    async def _delete_identity(self, request: Request) -> Any:
        self._world.keepers.delete_identity(request.path_params["id"])
        return {}

    async def _post_workload_token(self, request: Request) -> Any:
        return {"token": self._world.keepers.workload_token(await _body(request))}

    async def _post_vault(self, request: Request) -> Any:
        return self._world.keepers.create_vault(await _body(request))

    async def _post_vault_secret(self, request: Request) -> Any:
        return self._world.keepers.put_secret(request.path_params["id"], await _body(request))

    # Faults.

    async def _get_faults(self, _: Request) -> Any:
        return {"faults": [fault.to_record() for fault in self._world.faults.all()]}

    async def _post_fault(self, request: Request) -> Any:
        return self._world.faults.add(FaultSpec.from_record(await _body(request))).to_record()

    async def _delete_faults(self, _: Request) -> Any:
        self._world.faults.clear()
        return {}

    async def _get_fault(self, request: Request) -> Any:
        return self._fault(request).to_record()

    async def _delete_fault(self, request: Request) -> Any:
        self._world.faults.remove(self._fault(request).id)
        return {}

    async def _post_release(self, request: Request) -> Any:
        fault = self._fault(request)
        fault.released.set()
        return fault.to_record()

    async def _get_reached(self, request: Request) -> Any:
        query = request.query_params
        timeout_seconds = min(float(query.get("timeout", "10")), _MAX_WAIT_SECONDS)
        fault = self._fault(request)
        return {"reached": await fault.wait_reached(int(query.get("count", "1")), timeout_seconds)}

    def _fault(self, request: Request) -> Fault:
        fault = self._world.faults.find(request.path_params["id"])
        if fault is None:
            raise Unknown(f"no fault {request.path_params['id']!r}")
        return fault

    # Journal.

    async def _get_journal(self, request: Request) -> Any:
        query = request.query_params
        entries = self._world.journal.entries(
            after=int(query.get("after", "0")),
            operation=query.get("operation"),
            app_id=query.get("app", "").lower() or None,
            account=query.get("account"),
            user=self._user_name(query.get("user")),
            limit=int(query["limit"]) if "limit" in query else None,
        )
        return {"counts": count(entries)} if "counts" in query else {"entries": entries}

    def _user_name(self, id_: str | None) -> str | None:
        """The name under which the journal tells of a user."""
        user = self._world.directory.find_user(id_) if id_ else None
        return user.upn if user else id_

    async def _delete_journal(self, _: Request) -> Any:
        self._world.journal.clear()
        return {}


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    value = json.loads(raw) if raw else {}
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    return value
