"""``get_value``: the current value of a Rotated Secret, for the program that deploys what needs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import TypedDict, cast

import pulumi

from azure_rotator.config import Settings
from azure_rotator.domain.errors import NotFound
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.resources import session
from azure_rotator.resources.guard import guarded
from azure_rotator.resources.secret import RotatedSecret


class NamedValue(TypedDict, total=False):
    """The ``named`` object of features 3.3, of each kind its own part; ``expires_at`` is ISO 8601 in UTC."""

    # api-key, target
    tenant_id: str | None
    client_id: str
    client_secret: str
    key_id: str
    expires_at: str | None
    # azure-storage-account
    account_name: str
    key_name: str
    key: str
    connection_string: str | None
    # password
    username: str
    password: str


def get_value(item: RotatedSecret | pulumi.Input[str]) -> pulumi.Output[NamedValue]:
    """The current value as a secret output: ``get_value(billing)["client_secret"]``.

    It is read from the store that ``azure-rotator:store`` and ``azure-rotator:keyFile`` of the stack lead to, else the
    environment; Azure is not asked and nothing rotates, unless the item has ``rotate_on_read``: then each deploy, but
    no preview, rotates it first. It comes after the creation of a RotatedSecret that is given,
    and after whatever an Output comes after. In a preview it is unknown while the item does not exist. What the program
    passes on to another resource is in the state, encrypted, as that resource's input.

    Args:
        item: The resource, or the path of an item.
    """
    settings = session.settings_of(pulumi.Config(session.NAMESPACE).get, os.environ)
    preview = pulumi.runtime.is_dry_run()
    by_id = isinstance(item, RotatedSecret)
    which: pulumi.Output[str] = item.id if isinstance(item, RotatedSecret) else pulumi.Output.from_input(item)

    def read(text: str) -> Awaitable[NamedValue | None]:
        # In a thread: a store may make its caller wait, and the program registers other resources meanwhile.
        return asyncio.to_thread(_read, settings, text, by_id=by_id, preview=preview)

    found: pulumi.Output[NamedValue | None] = which.apply(read)
    return pulumi.Output.secret(found.apply(_known))


@guarded
def _read(settings: Settings, text: str, *, by_id: bool, preview: bool) -> NamedValue | None:
    secrets = session.engine_of(settings).secrets
    try:
        id_, path = (text, None) if by_id else (None, text)
        value = secrets.get_value(name=path, item_id=id_, rotate_on_read=not preview)
    except NotFound:
        if preview:
            return None
        raise
    named = {name: field.reveal() if isinstance(field, SecretText) else field for name, field in value.fields.items()}
    return cast(NamedValue, named)


def _known(value: NamedValue | None) -> pulumi.Output[NamedValue]:
    """The value as an output; for None one without a value, as a preview shows what is not there yet."""
    if value is not None:
        return pulumi.Output.from_input(value)
    nothing: asyncio.Future[NamedValue] = asyncio.Future()
    unknown: asyncio.Future[bool] = asyncio.Future()
    nothing.set_result(cast(NamedValue, None))
    unknown.set_result(False)
    return pulumi.Output(set(), nothing, unknown)
