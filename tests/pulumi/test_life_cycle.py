"""Both resources through the real CLI, on the sandbox."""

from __future__ import annotations

import json

import pytest

from tests.rows import row

pytestmark = pytest.mark.e2e

ROTATED = {"version", "key_id", "last_rotation_date", "next_rotation_date", "expires_at", "status"}


@pytest.fixture
def declared(stack, rotator, workload, tmp_path):
    """The stack declares a Target by reference, and an item that mints its own secret."""
    secret = tmp_path / "secret.txt"
    secret.write_text(rotator.secret)
    stack.declared["targets"]["contoso"] = {
        "name": "/shop/contoso",
        "tenant_id": rotator.info.tenant_id,
        "client_id": rotator.app_id,
        "client_secret": f"file:{secret}",
    }
    stack.declared["secrets"]["billing"] = {
        "name": "shop/billing",
        "target": "contoso",
        "rotator_type": "api-key",
        "authentication_credentials": "use-target-creds",
        "app_id": workload.app_id,
        "auto_rotate": True,
        "rotation_interval": 30,
    }
    return stack.declared


def without_provider(bag):
    return {name: value for name, value in bag.items() if name != "__provider"}


@row("AK-63", "AK-02", "AK-28", "B-01", "F36", "F63")
def test_from_the_first_up_to_destroy(stack, declared, beside, workload):
    billing = declared["secrets"]["billing"]
    foreign = workload.live_key_ids()

    stack.up()
    made = stack.outputs("billing")
    assert made["version"] == 1
    assert workload.live_key_ids() == foreign | {made["key_id"]}
    stack.up("--expect-no-changes")

    # A rotation between two deploys is no difference; a refresh moves outputs only, and nothing else.
    beside.secrets.rotate(item_id=made["item_id"])
    stack.run("preview", "--expect-no-changes")
    before = stack.resources()
    stack.run("refresh", "--yes", "--skip-preview")
    after = stack.resources()
    assert after["billing"]["outputs"]["version"] == 2
    for name in ("contoso", "billing"):
        assert without_provider(after[name]["inputs"]) == without_provider(before[name]["inputs"])
        old, new = without_provider(before[name]["outputs"]), without_provider(after[name]["outputs"])
        moved = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
        # An encrypted value is encrypted anew each time.
        assert moved - {"credential_fingerprint"} <= (ROTATED if name == "billing" else set())
    stack.up("--expect-no-changes")

    # An explicit rotation, and what the preview says of it.
    billing["rotation_trigger"] = "2026-11"
    assert stack.steps() == {"billing": ("update", ["rotation_trigger"])}
    stack.up()
    assert stack.outputs("billing")["version"] == 3
    stack.up("--expect-no-changes")

    stack.run("destroy", "--yes", "--skip-preview")
    assert workload.live_key_ids() == foreign
    assert beside.secrets.list_all() == []


@row("AK-64")
@pytest.mark.full
def test_renames_are_in_place_and_identity_replaces(stack, declared, workload, make_application, rotator):
    other = make_application("other", owners=[rotator.app_id])
    billing, contoso = declared["secrets"]["billing"], declared["targets"]["contoso"]
    stack.up()
    made = stack.outputs("billing")

    # The Target is the same Target under its new name: no item of it is replaced.
    contoso["name"], billing["name"], billing["tags"] = "/shop/new", "/shop/bills", ["money"]
    assert stack.steps() == {"contoso": ("update", ["name"]), "billing": ("update", ["name", "tags", "target_name"])}
    stack.up()
    renamed = stack.outputs("billing")
    assert (renamed["item_id"], renamed["key_id"]) == (made["item_id"], made["key_id"])
    assert renamed["target_name"] == "/shop/new"

    # Another application: another item, made after the old one is gone, because the name stays.
    billing["app_id"] = other.app_id
    text = stack.up()
    assert text.index("billing deleted") < text.index("billing created")
    assert len(workload.live_key_ids()) == 1
    assert len(other.live_key_ids()) == 2

    # With another name it is made first.
    billing["app_id"], billing["name"] = workload.app_id, "/shop/third"
    text = stack.up()
    assert text.index("billing created") < text.index("billing deleted")
    assert len(other.live_key_ids()) == 1


@row("AK-53")
@pytest.mark.full
def test_protection_stops_destroy_and_replacement_until_an_up_of_its_own(stack, declared, workload, rotator):
    billing = declared["secrets"]["billing"]
    billing["delete_protection"] = True
    stack.up()
    key_id = stack.outputs("billing")["key_id"]
    assert 'DeleteProtected: "/shop/billing" is protected' in stack.refused("destroy", "--yes", "--skip-preview")
    billing["app_id"], billing["delete_protection"] = rotator.app_id, False
    said = stack.refused("preview")
    assert "DeleteProtected" in said
    assert "app_id replaces it" in said
    assert key_id in workload.live_key_ids()
    billing["app_id"] = workload.app_id
    stack.up()
    stack.run("destroy", "--yes", "--skip-preview")
    assert key_id not in workload.live_key_ids()


@row("AK-27", "AK-32", "AK-49", "AK-65")
@pytest.mark.full  # test_contract asks the provider for each every day
def test_a_preview_shows_all_mistakes_at_once_and_makes_nothing(stack, declared, tmp_path):
    pasted = {"api_id": "canary8Q~the-value-instead-of-its-id", "api_key": "0c2c6a0e-9c5f-4c8e-8f52-3a4fbb8d3b11"}
    declared["secrets"]["billing"] |= {"rotation_interval": 0, "revoke_after": "soon", **pasted}
    said = stack.refused("preview")
    mixed_up = ("IdentifierMixedUp: api_id is not a GUID", "IdentifierMixedUp: api_key is a GUID")
    for mistake in (*mixed_up, "IntervalOutOfRange", "ParameterInvalid: revoke_after 'soon'"):
        assert mistake in said
    assert not [value for value in pasted.values() if value in said]
    assert "hint: " in said
    assert "Traceback" not in said
    assert not any((tmp_path / "store").iterdir())


@row("AK-66")
@pytest.mark.full
def test_deleted_outside_it_is_dropped_by_a_refresh_and_made_again(stack, declared, beside, workload):
    stack.up()
    first = stack.outputs("billing")
    beside.secrets.delete(item_id=first["item_id"])
    stack.run("refresh", "--yes", "--skip-preview")
    assert "billing" not in stack.resources()
    stack.up()
    second = stack.outputs("billing")
    assert second["item_id"] != first["item_id"]
    assert workload.live_key_ids() >= {second["key_id"]}


@pytest.mark.full  # test_get_value asks without the CLI every day
def test_get_value_gives_the_value_as_a_secret_and_is_unknown_before(stack, declared, beside, workload):
    declared["export"] = True
    billing = declared["secrets"]["billing"]
    stack.run("preview")  # there is nothing to read yet, and that is no mistake
    stack.up()
    assert "[secret]" in stack.run("stack", "output")
    shown = json.loads(stack.run("stack", "output", "--show-secrets", "--json"))
    value = shown["billing value"]
    assert set(value) == {"tenant_id", "client_id", "client_secret", "key_id", "expires_at"}
    assert value["client_secret"] == shown["billing by path"]
    assert workload.control.verify(workload.app_id, value["client_secret"]).key_id == value["key_id"]
    assert value["client_secret"] not in stack.exported()
    stack.up("--expect-no-changes")
    billing["rotation_trigger"] = "now"
    stack.up()
    again = json.loads(stack.run("stack", "output", "--show-secrets", "--json"))["billing value"]
    assert again["key_id"] == stack.outputs("billing")["key_id"] != value["key_id"]


CANARY = "canary8Q~never-valid-anywhere-at-all"


@row("AK-65", "AK-29", "F66")
@pytest.mark.full  # tests/leak looks at a stack every day
def test_no_credential_is_in_the_state_or_on_the_screen(stack, declared, rotator, workload, beside):
    adopted = workload.control.add_secret(workload.app_id)
    contoso, billing = declared["targets"]["contoso"], declared["secrets"]["billing"]
    contoso["client_secret"] = "config:clientSecret"

    # Pulumi writes a configuration value that is not marked into the state: such a literal is refused.
    stack.configure("clientSecret", rotator.secret, secret=False)
    said = [stack.refused("up", "--yes", "--skip-preview"), stack.exported()]
    assert "client_secret stands in clear in the stack's configuration, as shop:clientSecret" in said[0]
    assert "hint: pulumi config set --secret shop:clientSecret" in said[0]

    # One literal from the configuration, the other straight from the program, which nobody marked.
    stack.configure("clientSecret", rotator.secret, secret=True)
    billing |= {"api_id": adopted.key_id, "api_key": adopted.value}
    said += [stack.run("preview", "--diff"), stack.up("--diff"), stack.exported()]
    assert "[secret]" in said[-3]
    for change in ({"api_key": CANARY}, {"api_key": adopted.value, "credential_version": 1, "rotation_trigger": "now"}):
        billing |= change
        said.append(stack.run("preview", "--diff"))
        said.append(stack.attempt("up", "--yes", "--skip-preview", "--diff").stdout)
    assert "IdentifierMixedUp" in said[-3]
    said += [stack.run("refresh", "--yes", "--diff"), stack.exported()]

    current = beside.secrets.get_value(name="/shop/billing")
    assert current.version == 2
    files = [path.read_bytes() for path in stack.backend.rglob("*") if path.is_file()]
    for canary in (rotator.secret, adopted.value, current.secret.reveal(), CANARY):
        assert not [text for text in said if canary in text]
        if canary != rotator.secret:  # Pulumi keeps the configuration of the refused run in its history
            assert not [content for content in files if canary.encode() in content]
