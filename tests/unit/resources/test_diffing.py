"""The table of features 4: which change of which property is in place, a replacement, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.output import Unknown

from azure_rotator.domain.errors import Conflict
from azure_rotator.domain.parameters import PARAMETERS, Subject
from azure_rotator.resources.diffing import EFFECTS, Difference, Effect, compare, refuse_replacement
from azure_rotator.resources.inputs import COMPUTED, FILLED_IN, FINGERPRINT, fingerprint
from tests.rows import row

APP = "33333333-3333-4333-8333-333333333301"
OTHER = "44444444-4444-4444-8444-444444444401"
KEY = "55555555-5555-4555-8555-555555555501"
ADOPTED = "66666666-6666-4666-8666-666666666601"
GIVEN = "first8Q~secret"

ITEM = {
    "name": "/prod/billing",
    "target_name": "/prod/contoso",
    "target_id": "targetidtargetid",
    "rotator_type": "api-key",
    "authentication_credentials": "use-target-creds",
    "app_id": APP,
    "api_id": ADOPTED,
    "auto_rotate": True,
    "rotation_interval": 30.0,
    "revoke_after": "24h",
    "description": "",
    "tags": ["a"],
    "delete_protection": False,
    "skip_dry_run": False,
    "credential_version": 1.0,
    "rotation_trigger": "one",
    "owner": "shop/prod/billing",
}
OUTPUTS = {
    **ITEM,
    "item_id": "itemiditemiditem",
    "store_id": "storeidstoreidst",
    FINGERPRINT: fingerprint(GIVEN, b"salt"),
    "version": 3.0,
    "key_id": KEY,
    "status": "RotationSucceeded",
}
TARGET = {
    "name": "/prod/contoso",
    "connection_type": "credentials",
    "tenant_id": "11111111-1111-4111-8111-111111111111",
    "client_id": APP,
    "client_secret_version": 1.0,
    "description": "",
    "delete_protection": False,
    "owner": "shop/prod/contoso",
}
TARGET_OUTPUTS = {**TARGET, "target_id": "t", "store_id": "s", FINGERPRINT: fingerprint(GIVEN, b"salt")}


def difference(subject: Subject = "secret", /, **changes: object) -> Difference:
    """Between what was made with ``GIVEN`` and a program that says something else."""
    olds, inputs = (OUTPUTS, ITEM) if subject == "secret" else (TARGET_OUTPUTS, TARGET)
    credential = "api_key" if subject == "secret" else "client_secret"
    news = {**inputs, credential: GIVEN, **changes}
    if news.get("connection_type") == "cloud-identity":
        news["client_secret"] = None
    return compare(subject, olds, {name: value for name, value in news.items() if value is not None})


@row("AK-64")
def test_each_property_has_its_effect():
    """The dagger rows of features 2.3 replace, and nothing else does; an AzureTarget is never replaced."""
    replacing = {name for name, effect in EFFECTS["secret"].items() if effect is Effect.REPLACE}
    assert replacing == {
        "target_name",
        "rotator_type",
        "app_id",
        "username",
        "storage_account_key_name",
        "explicitly_set_sa",
        "resource_group_name",
        "resource_name",
    }
    assert Effect.REPLACE not in EFFECTS["target"].values()
    for subject, effects in EFFECTS.items():
        rows = {parameter.name for parameter in PARAMETERS[subject]}
        assert effects.keys() == rows | {*COMPUTED[subject], *FILLED_IN[subject]}
        assert {name for name, effect in effects.items() if effect is not Effect.IGNORE} == rows


NOTHING: list[Any] = [
    ("what was given last", {}),
    ("the credential left out", {"api_key": None}),
    ("api_id left out", {"api_id": None}),
    ("api_id that is current by now", {"api_id": KEY.upper()}),
    ("another owner", {"owner": "shop/prod/renamed"}),
    ("the same Target by path", {"target_id": None}),
    ("a float for an int", {"rotation_interval": 30}),
    ("a tuple for a list", {"tags": ("a",)}),
    ("protection that an older release filled in", {"delete_protection": None}),
]


@row("AK-64")
@pytest.mark.parametrize("changes", [c for _, c in NOTHING], ids=[n for n, _ in NOTHING])
def test_no_change(changes):
    assert difference(**changes) == Difference()


IN_PLACE: list[Any] = [
    ("a rename", {"name": "/prod/bills"}, ("name",), ("name",)),
    ("interval", {"rotation_interval": 10.0}, ("rotation_interval",), ("rotation_interval",)),
    ("interval dropped", {"rotation_interval": None}, ("rotation_interval",), ("rotation_interval",)),
    ("revoke_after dropped", {"revoke_after": None}, ("revoke_after",), ("revoke_after",)),
    ("tags", {"tags": ["a", "b"]}, ("tags",), ("tags",)),
    ("protection", {"delete_protection": True}, ("delete_protection",), ("delete_protection",)),
    ("two at once", {"description": "x", "tags": []}, ("description", "tags"), ("description", "tags")),
    ("authentication mode", {"authentication_credentials": "use-user-creds"}, *2 * [("authentication_credentials",)]),
    ("another credential", {"api_key": "second8Q~secret"}, ("api_key",), ("api_key",)),
    ("a reference for a literal", {"api_key": "env:X"}, ("api_key",), ("api_key",)),
    ("another credential to adopt", {"api_id": OTHER}, ("api_id",), ("api_id", "api_key")),
    ("another version of the credential", {"credential_version": 2.0}, ("credential_version",), ("api_key",)),
    ("the version dropped", {"credential_version": None}, ("credential_version",), ()),
    ("a trigger", {"rotation_trigger": "two"}, ("rotation_trigger",), ()),
    ("the Target renamed", {"target_name": "/prod/new"}, ("target_name",), ()),
]  # fmt: skip


@row("AK-64")
@pytest.mark.parametrize(("changes", "updates", "sent"), [r[1:] for r in IN_PLACE], ids=[r[0] for r in IN_PLACE])
def test_in_place(changes, updates, sent):
    found = difference(**changes)
    assert set(found.updates) == set(updates)
    assert set(found.sent) == set(sent)
    assert not found.replaces
    assert found.rotates == (changes.get("rotation_trigger") is not None)


REPLACEMENTS: list[Any] = [
    ("another application", {"app_id": OTHER}, ("app_id",), True),
    ("another Target", {"target_name": "/prod/b", "target_id": "anotheridanother"}, ("target_name",), True),
    ("another Target by path", {"target_name": "/prod/b", "target_id": None}, ("target_name",), True),
    ("another kind", {"rotator_type": "password"}, ("rotator_type",), True),
    ("another application and name", {"app_id": OTHER, "name": "/prod/b"}, ("app_id",), False),
    ("a renamed Target, another application", {"target_name": "/n", "app_id": OTHER}, ("target_name", "app_id"), True),
]  # fmt: skip


@row("AK-64")
@pytest.mark.parametrize(
    ("changes", "replaces", "delete_first"), [r[1:] for r in REPLACEMENTS], ids=[r[0] for r in REPLACEMENTS]
)
def test_replacements_delete_first_when_the_name_stays(changes, replaces, delete_first):
    found = difference(**changes)
    assert (set(found.replaces), found.delete_first) == (set(replaces), delete_first)


@pytest.mark.parametrize("name", sorted(parameter.name for parameter in PARAMETERS["secret"]))
def test_an_unknown_value_may_be_a_change(name):
    changes: dict[str, Any] = {name: Unknown(), "target_id": Unknown()}
    found = difference(**changes)
    assert found.is_change
    assert found.replaces == ((name,) if EFFECTS["secret"][name] is Effect.REPLACE else ())


@pytest.mark.parametrize("name", sorted(COMPUTED["secret"]))
def test_what_a_rotation_moves_is_no_difference(name):
    moved = {**OUTPUTS, name: OUTPUTS.get(name) if name == FINGERPRINT else "moved"}
    assert not compare("secret", moved, {**ITEM, "api_key": GIVEN}).is_change


TARGET_CHANGES: list[Any] = [
    ("nothing", {}, ()),
    ("the credential left out", {"client_secret": None}, ()),
    ("the credential", {"client_secret": "x"}, ("client_secret",)),
    ("its version", {"client_secret_version": 2.0}, ("client_secret",)),
    ("its version dropped", {"client_secret_version": None}, ()),
    ("tenant", {"tenant_id": OTHER}, ("tenant_id",)),
    ("to cloud identity", {"connection_type": "cloud-identity", "client_id": None}, ("client_id", "connection_type")),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "sent"), [r[1:] for r in TARGET_CHANGES], ids=[r[0] for r in TARGET_CHANGES])
def test_a_target_changes_in_place(changes, sent):
    found = difference("target", **changes)
    assert (found.sent, found.replaces) == (sent, ())


def test_from_the_cloud_identity_to_a_credential_it_is_sent():
    olds = {**TARGET_OUTPUTS, "connection_type": "cloud-identity"}
    assert compare("target", olds, {**TARGET, "client_secret": GIVEN}).sent == ("client_secret", "connection_type")


def test_a_bag_of_an_older_release_without_a_property_has_its_default():
    olds = {name: value for name, value in OUTPUTS.items() if name != "skip_dry_run"}
    assert not compare("secret", olds, ITEM).is_change


def test_without_a_fingerprint_nothing_old_is_sent():
    olds = {name: value for name, value in OUTPUTS.items() if name != FINGERPRINT}
    assert not compare("secret", olds, {**ITEM, "api_key": "whatever"}).is_change


# --- replacements that would do harm --------------------------------------------------------------------------------


@row("AK-53")
def test_a_protected_item_is_not_replaced():
    olds = {**OUTPUTS, "delete_protection": True}
    news = {**ITEM, "app_id": OTHER, "delete_protection": False}
    with pytest.raises(Conflict) as refused:
        refuse_replacement(olds, news, compare("secret", olds, news))
    assert refused.value.code == "DeleteProtected"
    refuse_replacement(olds, ITEM, compare("secret", olds, ITEM))


ADOPTING: list[Any] = [
    ("what was minted", {}, {"api_id": KEY}, True),
    ("what was minted, in capitals", {}, {"api_id": KEY.upper()}, True),
    ("what was adopted and never rotated: it stays", {"api_id": KEY}, {"api_id": KEY}, False),
    ("another one", {}, {"api_id": ADOPTED}, False),
    ("none", {}, {"api_id": None}, False),
    ("nobody knows yet which", {}, {"api_id": Unknown()}, False),
    ("what was minted, under a new name: made first", {}, {"api_id": KEY, "name": "/prod/b"}, False),
]


@row("AK-64")
@pytest.mark.parametrize(("old", "new", "refused"), [r[1:] for r in ADOPTING], ids=[r[0] for r in ADOPTING])
def test_a_replacement_that_would_revoke_what_it_adopts_is_refused(old, new, refused):
    olds, news = {**OUTPUTS, **old}, {**ITEM, "target_name": "/prod/b", "target_id": "another", **new}
    found = compare("secret", olds, news)
    if refused:
        with pytest.raises(Conflict, match=KEY) as error:
            refuse_replacement(olds, news, found)
        assert error.value.code == "CredentialWouldBeRevoked"
    else:
        refuse_replacement(olds, news, found)
