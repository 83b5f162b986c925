"""What holds an open credential in the core gives it to nobody who copies, writes or shows all he gets."""

from __future__ import annotations

import copy
import json
import pickle
import pprint
from collections.abc import Callable
from dataclasses import asdict, astuple, is_dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dill  # type: ignore[import-untyped]
import pytest
from sqlalchemy import bindparam, create_engine, text

from azure_rotator.cloud.credentials import Token
from azure_rotator.domain.ports import Identity, NewPassword, StorageKey
from azure_rotator.domain.secrettext import SecretText
from azure_rotator.engine.views import Value
from azure_rotator.telemetry import Redactor
from tests.leak.evidence import printed, told
from tests.leak.search import Canaries
from tests.rows import row

NOW = datetime(2026, 3, 1, tzinfo=UTC)
VALUE = 'An "open" secret that\'s\\held & söhne+co/%41'
SECRET = SecretText(VALUE)

HOLDERS = {
    "itself": SECRET,
    "an identity": Identity(tenant_id="t", client_id="c", secret=SECRET, label="target"),
    "a new password": NewPassword(key_id="k", value=SECRET, hint="An ", start_at=NOW, end_at=NOW),
    "a storage key": StorageKey(name="key1", value=SECRET, created_at=NOW),
    "the answer of get-value": Value(
        name="n",
        item_id="i",
        version=1,
        stage="current",
        rotator_type="api-key",
        secret=SECRET,
        fields={"client_id": "c", "client_secret": SECRET},
    ),
    "a token": Token(value=SECRET, host="login", kept=False),
}

WAYS: dict[str, Callable[[Any], Any]] = {
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "format with names": "{0!r:>80}".format,
    "pprint": pprint.pformat,
    "told": told,
    "vars": lambda holder: repr(getattr(holder, "__dict__", {})),
    "copy": lambda holder: repr(copy.copy(holder)),
    "deepcopy": lambda holder: repr(copy.deepcopy(holder)),
    "replace": lambda holder: repr(replace(holder)) if is_dataclass(holder) and not isinstance(holder, type) else "",
    "pickle": pickle.dumps,
    "pickle of a list": lambda holder: pickle.dumps([holder]),
    "dill": dill.dumps,
    "dill, as Pulumi does": lambda holder: dill.dumps(holder, protocol=4, recurse=True),
    "JSON": json.dumps,
    "JSON with str": lambda holder: json.dumps({"a": holder}, default=str),
    "JSON with repr": lambda holder: json.dumps({"a": holder}, default=repr),
    "JSON with vars": lambda holder: json.dumps({"a": holder}, default=vars),
    "JSON of its fields": lambda holder: json.dumps(asdict(holder), default=str),
    "its fields": lambda holder: repr(astuple(holder)),
    "hash": hash,
    "the redactor": lambda holder: repr(Redactor().field("x", holder)),
    "a statement of SQL": lambda holder: (
        create_engine("sqlite://").connect().execute(text("SELECT :v").bindparams(bindparam("v", holder))).fetchall()
    ),
}


@row("AK-29")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("holder", HOLDERS)
def test_an_open_credential_is_not_in(holder: str, way: str):
    canaries = Canaries()
    canaries.add("the value", VALUE)
    try:
        shown = WAYS[way](HOLDERS[holder])
    except Exception as error:  # noqa: BLE001 - any: to refuse is as good, if the refusal does not show it
        shown = printed(error)
    assert canaries.found(shown if isinstance(shown, bytes) else str(shown)) == []
