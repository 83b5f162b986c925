"""``inventory`` on a terminal: the table, the commands beneath it, and that they do what they promise."""

from __future__ import annotations

import shlex

from tests.cli.conftest import Place
from tests.cli.test_bad_input import refused


def test_a_person_runs_what_the_inventory_prints(place: Place):
    said = place.terminal.told("inventory", "--target", "t", "--app-id", place.workload.app_id)
    header, line, _, command = said.out.splitlines()
    assert header.split() == ["WHERE", "KEY", "ID", "NAME", "DAYS", "OLD", "EXPIRES", "MANAGED", "BY", "NAMELY"]
    assert line.split()[-2:] == ["nobody", "-"]
    key_id, _, typed = command.partition(": ")
    assert key_id == place.boot.key_id
    program, *words = shlex.split(typed)
    assert program == "azure-rotator"
    place.terminal.told(*words)
    after = place.terminal.told("inventory", "--target", "t", "--app-id", place.workload.app_id)
    assert after.out.splitlines()[-1].split()[-3:] == ["item", "/workload/boot", "(current)"]
    for shown in (said, after):
        assert place.workload.secret not in shown.out + shown.err


def test_a_program_gets_facts_and_what_could_not_be_looked_at(place: Place):
    place.control.add_fault("graph.getApplication", app=place.workload.app_id, preset="unavailable-503", times=None)
    place.terminal.told("inventory", "--target", "t", "--json")
    said = place.terminal("inventory", "--target", "t", "--app-id", place.workload.app_id, "--json")
    assert (said.code, said.json["credentials"]) == (7, [])
    assert [one["code"] for one in said.json["problems"]] == ["AzureUnavailable"]
    assert said.error["code"] == "AzureUnavailable"


def test_refusals(place: Place):
    refused(place.terminal("inventory"), "ParameterMissing", 2)
    refused(place.terminal("inventory", "--target", "nowhere"), "TargetNotFound", 4)
    refused(place.terminal("inventory", "--target", "t", "--app-id", "billing"), "IdentifierMixedUp", 2)
    refused(place.terminal("inventory", "--target", "t", "--resource-name", "blobs"), "TargetIncomplete", 2)
