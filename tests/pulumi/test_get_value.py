"""``get_value`` in a program, on a real store."""

from __future__ import annotations

import pulumi
import pytest

from azure_rotator import RotatedSecret, get_value
from tests.pulumi.mocked import configured, mocked, run

SETTINGS = {"azure-rotator:store": "AZURE_ROTATOR_STORE", "azure-rotator:keyFile": "AZURE_ROTATOR_KEY_FILE"}


@pytest.fixture(autouse=True)
def _stack_leads_to_the_store(azure, shared_environment):
    with configured({key: shared_environment[variable] for key, variable in SETTINGS.items()}):
        yield


def test_it_is_the_named_object_of_the_current_version_and_a_secret(engine, item, outside, workload):
    value, known, secret = run(lambda: get_value(item.bag["name"]))
    current = outside.secrets.get_value(item_id=item.id)
    assert (known, secret) == (True, True)
    assert value == {
        "tenant_id": workload.info.tenant_id,
        "client_id": workload.app_id,
        "client_secret": current.secret.reveal(),
        "key_id": item.bag["key_id"],
        "expires_at": item.bag["expires_at"],
    }


def test_of_a_resource_it_is_read_by_id_after_its_creation(engine, item, secret_inputs):
    def program() -> pulumi.Output[str]:
        arguments = {name: value for name, value in secret_inputs.items() if name != "owner"}
        return get_value(RotatedSecret("billing", **{**arguments, "name": "/another/name"}))["key_id"]

    engine.ids["billing"] = item.id
    assert run(program) == (item.bag["key_id"], True, True)


def test_a_path_may_be_an_output(engine, item):
    assert run(lambda: get_value(pulumi.Output.from_input(item.bag["name"]))["key_id"])[0] == item.bag["key_id"]


def test_a_preview_reads_what_is_there_and_does_not_know_what_is_not(item, control):
    asked = control.counts()["requests"]
    with mocked(preview=True):
        value, known, secret = run(lambda: get_value(item.bag["name"]))
        assert (value["key_id"], known, secret) == (item.bag["key_id"], True, True)
        assert run(lambda: get_value(item.bag["name"] + "/none")) == (None, False, True)
        assert run(lambda: get_value("/no/such")["client_secret"])[1:] == (False, True)
    assert control.counts()["requests"] == asked


def test_an_up_that_finds_nothing_fails_in_our_voice(engine, item):
    with pytest.raises(Exception, match='ItemNotFound: there is no item "/no/such"\nhint: ') as failed:
        run(lambda: get_value("/no/such"))
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
