"""The engine broken on purpose, by a port that does not do what it is asked, or does more: each breaks one promise.

A checker that stays green on any of these is worth nothing (``test_sabotage``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, cast

from azure_rotator.domain.model import Mint
from azure_rotator.domain.ports import (
    Claim,
    Directory,
    Identity,
    Login,
    NewPassword,
    Observer,
    StorageKeys,
    UnitOfWork,
    Users,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports that an engine is made of, as far as tests wrap them."""

    uow: UnitOfWork
    directory: Directory
    login: Login
    keys: StorageKeys
    users: Users
    observer: Observer


class _Wrapped:
    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _NeverAsks(_Wrapped):
    """A login that takes every secret for good."""

    def prove(self, identity: Identity) -> None:
        return


class _RemovesAllOthers(_Wrapped):
    """A directory that tidies up after each mint, as Vault's root rotation did: every other password goes."""

    def __init__(self, inner: Directory) -> None:
        super().__init__(inner)
        self._directory = inner
        self._app_ids: dict[str, str] = {}

    def get_application(self, acting: Identity, app_id: str) -> Any:
        application = self._directory.get_application(acting, app_id)
        self._app_ids[application.object_id] = app_id
        return application

    def add_password(self, acting: Identity, object_id: str, display_name: str, end_at: datetime) -> NewPassword:
        minted = self._directory.add_password(acting, object_id, display_name, end_at)
        for password in self._directory.get_application(acting, self._app_ids[object_id]).passwords:
            if password.key_id.lower() != minted.key_id.lower():
                self._directory.remove_password(acting, object_id, password.key_id)
        return minted


class _NoIntent(_Wrapped):
    """A store that leaves the intent out."""

    def begin_minting(self, claim: Claim, at: datetime, mint: Mint) -> None:
        return


class _NotesValues(_Wrapped):
    """A login that writes down what it proves."""

    def __init__(self, inner: Login) -> None:
        super().__init__(inner)
        self._login = inner

    def prove(self, identity: Identity) -> None:
        value = identity.secret.reveal() if identity.secret else ""
        logging.getLogger("azure_rotator.sabotage").debug("proving %s", value)
        self._login.prove(identity)


PORTS: Mapping[str, Callable[[Ports], Ports]] = {
    "no proof": lambda p: replace(p, login=cast(Login, _NeverAsks(p.login))),
    "remove all others": lambda p: replace(p, directory=cast(Directory, _RemovesAllOthers(p.directory))),
    "no intent": lambda p: replace(p, uow=cast(UnitOfWork, _NoIntent(p.uow))),
    "value logged": lambda p: replace(p, login=cast(Login, _NotesValues(p.login))),
}
