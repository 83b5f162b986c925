"""From property bags to arguments of the engine and back. Pure.

A bag is what Pulumi sends and stores for a resource. Whole numbers come as floats (pulumi#13830), what is None is
absent, keys that begin with ``__`` are Pulumi's own. In a preview a value may be ``pulumi.output.Unknown``. Inputs::

    {"name": "/prod/billing", "target_name": "/prod/contoso", "rotator_type": "api-key", "rotation_interval": 30.0,
     "owner": "shop/prod/billing", "target_id": "k5u2…", "api_key": "the credential, or env:NAME", …}

Outputs, a wire format that every later release must read (features 4): every input but the credentials, and what
``COMPUTED`` names.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime import rpc

from azure_rotator.domain.errors import Problem
from azure_rotator.domain.model import ConnectionType
from azure_rotator.domain.parameters import Subject, validate

Bag = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Names of the arguments that are a credential, of which one resource has one at most, and of the one whose change
    sends it again."""

    arguments: tuple[str, ...]
    version: str

    def given(self, bag: Bag) -> Any:
        """The credential among these inputs, or None."""
        return next((bag[name] for name in self.arguments if bag.get(name) is not None), None)


CREDENTIALS: Mapping[Subject, Credential] = {
    "target": Credential(arguments=("client_secret",), version="client_secret_version"),
    "secret": Credential(arguments=("api_key", "password"), version="credential_version"),
}

FILLED_IN: Mapping[Subject, tuple[str, ...]] = {
    "target": ("owner",),
    # target_id: a Target that is renamed gives its items another target_name, and is the same Target.
    "secret": ("owner", "target_id"),
}
"""Inputs that the resource class fills in; no parameters of the product."""

FINGERPRINT = "credential_fingerprint"

COMPUTED: Mapping[Subject, tuple[str, ...]] = {
    "target": ("target_id", "store_id", FINGERPRINT),
    "secret": (
        "item_id",
        "store_id",
        FINGERPRINT,
        "version",
        "key_id",
        "last_rotation_date",
        "next_rotation_date",
        "expires_at",
        "status",
    ),
}
"""Outputs that are no inputs."""

SECRET_OUTPUTS = (FINGERPRINT,)

_NAMES_OF_SECRETS = {"api_id", "client_secret_id"}


def plain(bag: Bag) -> dict[str, Any]:
    """The bag without Pulumi's own keys. An engine unwraps secrets for a provider that does not ask for them; one that
    would not is understood too."""
    return {name: rpc.unwrap_rpc_secret(value) for name, value in bag.items() if not name.startswith("__")}


def is_unknown(value: object) -> bool:
    """Whether a value, or a part of it, is known only after something else was made."""
    return bool(pulumi.contains_unknowns(value))


def check(subject: Subject, olds: Bag, news: Bag) -> tuple[dict[str, Any], list[Problem]]:
    """Normalise the inputs and apply every rule that needs neither store nor Azure.

    Args:
        olds: Inputs of the resource as it is; empty for one that is to be made. (For a replacement Pulumi checks twice,
            the second time without them.)
        news: Inputs from the program.

    Returns:
        The inputs with fixed defaults, whole numbers and canonical names; unknown ones as they came. And all failures.
    """
    filled = {name: news[name] for name in FILLED_IN[subject] if name in news}
    given = {name: value for name, value in news.items() if name not in FILLED_IN[subject]}
    unknown = {name: value for name, value in given.items() if is_unknown(value)}
    # What is taken over has its credential already; if there is nothing to take over, the engine asks for it.
    known = olds or news.get("adopt") is True
    untold = _kept(subject, olds or news) - given.keys() if known else set()
    values, problems = validate(subject, given, unknown=unknown.keys() | untold)
    return {**_wire(values), **unknown, **filled}, problems


def _kept(subject: Subject, olds: Bag) -> set[str]:
    """What an existing thing keeps when the program no longer says it: no change, and no reason to miss it."""
    if subject == "secret":
        return {"api_id", *CREDENTIALS["secret"].arguments}
    return {"client_secret"} if olds.get("connection_type") == ConnectionType.CREDENTIALS else set()


def _wire(values: Mapping[str, object]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def arguments(subject: Subject, inputs: Bag) -> dict[str, object]:
    """What the engine takes for a create."""
    return {name: value for name, value in inputs.items() if name not in FILLED_IN[subject]}


def target_outputs(inputs: Bag, facts: Mapping[str, Any], known: str) -> dict[str, Any]:
    """The outputs of an AzureTarget.

    Args:
        facts: As ``TargetView.facts()`` tells them.
        known: The fingerprint of the credential that was last sent.
    """
    computed = {"target_id": facts["target_id"], "store_id": facts["store_id"], FINGERPRINT: _secret(known)}
    return {**_mirrored("target", inputs), **computed}


def secret_outputs(inputs: Bag, facts: Mapping[str, Any], known: str) -> dict[str, Any]:
    """The outputs of a RotatedSecret; its value is none of them.

    Args:
        facts: As ``SecretView.facts()`` tells them.
        known: The fingerprint of the credential that was last sent.
    """
    details = facts["rotated_secret_details"]
    computed = {
        "item_id": facts["item_id"],
        "store_id": facts["store_id"],
        FINGERPRINT: _secret(known),
        "version": facts["last_version"],
        "key_id": details["key_id"],
        "last_rotation_date": facts["last_rotation_date"],
        "next_rotation_date": facts["next_rotation_date"],
        "expires_at": details["expires_at"],
        "status": details["rotator_status"],
    }
    return {**_mirrored("secret", inputs), **computed}


def _mirrored(subject: Subject, inputs: Bag) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name not in CREDENTIALS[subject].arguments}


def _secret(known: str) -> Any:
    """Marked on the wire: an output under a key that is no secret input is stored in clear otherwise."""
    return rpc.wrap_rpc_secret(known)


def live(subject: Subject, olds: Bag, present: Mapping[str, object]) -> tuple[dict[str, Any], bool]:
    """The inputs as the store holds them, for a refresh: of the arguments that the program sets, the live values.

    ``api_id`` and ``client_secret_id`` stay what was last sent, like a credential: which secret is current is the
    rotations' affair, and adopting it anew after one would bring an old secret back.

    Args:
        olds: The outputs as stored.
        present: The live arguments, as the views' ``arguments()`` tells them.

    Returns:
        The inputs without the credential, which nobody tells a refresh; and whether they differ from the stored ones.
    """
    kept = {name: value for name, value in olds.items() if name not in COMPUTED[subject]}
    moving = kept.keys() - _NAMES_OF_SECRETS
    fresh = {name: value for name, value in present.items() if name in moving}
    inputs = {name: value for name, value in {**kept, **_wire(fresh)}.items() if value is not None}
    return inputs, inputs != kept


def fingerprint(value: str | None, salt: bytes) -> str:
    """What is kept of a credential argument, to see later whether it is still the same: salt and HMAC-SHA256.

    It is over the argument as given: a reference is compared as a reference. A weak credential could be guessed from
    it, so it is a secret itself. None gives a fingerprint too, so that the output is always there to be marked.
    """
    message = b"" if value is None else b"=" + value.encode()
    return f"{salt.hex()}:{hmac.new(salt, message, hashlib.sha256).hexdigest()}"


def matches(value: str | None, known: str) -> bool:
    """Whether the fingerprint was made of this argument."""
    salt, separator, _ = known.partition(":")
    try:
        again = fingerprint(value, bytes.fromhex(salt))
    except ValueError:
        return False
    return bool(separator) and hmac.compare_digest(again, known)
