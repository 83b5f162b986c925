"""How a command is written: flags and their spellings, booleans, paths into results, words that are none."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from azure_rotator.cli.paths import parse, selected
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.grants import GRANTS
from azure_rotator.domain.model import RotatorType
from azure_rotator.domain.parameters import PARAMETERS, Kind, Subject
from tests.cli.conftest import CREATES, GUID, Place, Terminal, offline_item, offline_target
from tests.cli.test_bad_input import refused
from tests.rows import row

IDENTITY = ("target", "create", "azure", "--connection-type", "cloud-identity")


# --- flags --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ("--tenant-id", GUID),
        ("--tenant_id", GUID),
        (f"--tenant-id={GUID}",),
        (f"--tenant_id={GUID}",),
        ("--tenant-id", GUID, "--tenant_id", GUID),
    ],
    ids=" ".join,
)
def test_a_hyphen_and_an_underscore_are_the_same(terminal: Terminal, argv: tuple[str, ...]):
    assert terminal.told(*IDENTITY, "-n", "t", *argv, "--json").json["azure_tenant_id"] == GUID


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (("--tenant-id", GUID, "--tenant_id", GUID.replace("8", "9")), "--tenant-id"),
        (("--name", "a", "-n", "b"), "-n"),
        (("--delete-protection", "--delete_protection=false"), "--delete-protection"),
        (("--client-secret", "hush-hush-1", "--client_secret", "hush-hush-2"), "--client-secret"),
        (("--json", "--json=false"), "--json"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_two_values_for_one_field_are_refused_and_not_repeated(terminal: Terminal, argv: tuple[str, ...], flag: str):
    said = terminal(*IDENTITY, *argv)
    assert said.code == 2
    assert f"{flag} is given more than once, with different values" in said.err
    assert "hush" not in said.err


@pytest.mark.parametrize(
    ("argv", "protected"),
    [
        ((), False),
        (("--delete-protection",), True),
        (("--delete-protection", "true"), True),
        (("--delete-protection", "TRUE"), True),
        (("--delete-protection=False",), False),
        (("--delete-protection", "true", "--delete_protection", "True"), True),
        (("--delete-protection", "--description", "x"), True),
    ],
    ids=lambda value: value if isinstance(value, bool) else " ".join(value) or "left out",
)
def test_a_boolean_takes_true_or_false_and_alone_means_true(terminal: Terminal, argv: tuple[str, ...], protected: bool):
    assert terminal.told(*IDENTITY, "-n", "t", *argv, "--json").json["delete_protection"] is protected


@pytest.mark.parametrize("flag", ["--delete-protection", "--json", "--quiet", "--debug"])
def test_a_boolean_takes_nothing_else(terminal: Terminal, flag: str):
    said = terminal(*IDENTITY, "-n", "t", flag, "ja")
    assert said.code == 2
    assert "neither true nor false" in said.err
    assert not terminal.store.exists()


@row("AK-19")
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (["use-target-creds"], "use-target-creds"),
        (["target-rotator-creds"], "use-target-creds"),
        (["use-user-creds"], "use-user-creds"),
        (["use-self-creds"], "use-user-creds"),
        ([], "use-user-creds"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value) or "left out",
)
def test_modes_are_stored_under_one_name(terminal: Terminal, given: list[str], stored: str):
    terminal.told(*offline_target())
    mode = [part for value in given for part in ("--authentication-credentials", value)]
    terminal.told(*offline_item("s", *mode), stdin="made-up")
    details = terminal.told("describe-item", "-n", "s", "--json").json["rotated_secret_details"]
    assert details["rotator_creds_type"] == stored


@pytest.mark.parametrize("subject", PARAMETERS)
def test_every_parameter_has_its_flag_and_help(terminal: Terminal, subject: Subject):
    shown = " ".join(terminal.told(*CREATES[subject], "--help").out.split())
    for parameter in PARAMETERS[subject]:
        found = f"{parameter.flag} " in shown or f"{parameter.flag}, " in shown
        assert found == (parameter.only != "pulumi"), parameter.name
        if parameter.only == "pulumi":
            continue
        for alias in parameter.aliases:
            assert f"-{alias}," in shown or f"--{alias} " in shown
        if parameter.kind is Kind.ENUM:
            assert "|".join(parameter.choices) in shown


# --- words that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "told", "hint"),
    [
        (("targt",), 'there is no command "azure-rotator targt"', "did you mean target?"),
        (("frobnicate",), "there is no command", "azure-rotator --help lists them"),
        (("target", "lst"), 'there is no command "azure-rotator target lst"', "did you mean list"),
        (("target", "get", "--nme", "x"), "there is no option --nme", "did you mean --name?"),
        (("target", "get", "--nme=hush-hush"), "there is no option --nme", "did you mean --name?"),
        (("target", "get", "--frobnicate"), "there is no option --frobnicate", "azure-rotator target get --help"),
        (("--json=false", "target", "get"), "there is no option --json", "options stand after the command"),
        (
            ("target", "get", "hush-hush"),
            "there is a word that belongs to no option",
            "azure-rotator target get --help",
        ),
        (("target", "get", "-n"), "option -n needs a value", "--help lists the options"),
        (("target", "get"), "--name is missing", "give it with --name"),
        (("rotated-secret", "describe"), "one of --name and --item-id is needed", "give one of them"),
        (
            ("rotated-secret", "describe", "-n", "s", "--item-id", "x"),
            "one of --name and --item-id",
            "give one of them",
        ),
        (("target", "update", "azure", "-n", "t"), "there is nothing to change", "give what shall be different"),
        (("target", "get", "-n", "\udcff"), "argument 4 is not text", "use UTF-8"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value).encode("ascii", "replace").decode(),
)
def test_a_word_that_is_none_is_told_but_never_repeated_when_it_may_be_a_secret(
    terminal: Terminal, argv: tuple[str, ...], told: str, hint: str
):
    said = terminal(*argv)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert f"hint: {hint}" in said.err
    assert "hush" not in said.err


@pytest.mark.parametrize("argv", [("target", "get", "--bogus", "--json"), ("target", "gte", "--json=true")])
def test_a_usage_error_is_json_too_when_asked_for(terminal: Terminal, argv: tuple[str, ...]):
    said = terminal(*argv)
    assert said.error["code"] == "ParameterInvalid"
    assert set(said.error) == {"code", "message", "hint", "exit_code", "details"}


def test_a_bare_group_shows_its_help_and_fails(terminal: Terminal):
    said = terminal("target")
    assert (said.code, said.out) == (2, "")
    assert "Commands:" in said.err


# --- paths into results -------------------------------------------------------------------------------------------

RESULT = {"items": [{"name": "a", "n": 1}, {"name": "b", "n": None}], "value": {"client_secret": "x", "odd name": [0]}}


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        (".", [RESULT]),
        (".value.client_secret", ["x"]),
        ('.value["odd name"]', [[0]]),
        ('.["value"].client_secret', ["x"]),
        (".items[0].name", ["a"]),
        (".items[-1].name", ["b"]),
        (".items[].name", ["a", "b"]),
        (".items.[0].name", ["a"]),
        (".value[]", ["x", [0]]),
        (".items[7].name", [None]),
        (".nothing.at.all", [None]),
        (".value.client_secret.deeper", [None]),
        (".value[0]", [None]),
        (".nothing[]", []),
        (" .items[0].n ", [1]),
    ],
)
def test_a_path_leads_to_its_values(expression: str, values: list[object]):
    assert selected(RESULT, parse(expression)) == values


@pytest.mark.parametrize(
    "expression", ["", "items", "..", ".items[", ".items[x]", ".a b", ".a | .b", ".items[0", "[0]."]
)
def test_what_is_no_path_is_refused(expression: str):
    with pytest.raises(Rejected) as refusal:
        parse(expression)
    assert refusal.value.code == "ParameterInvalid"


def test_a_path_that_is_none_is_refused_before_anything_happens(terminal: Terminal):
    refused(terminal(*IDENTITY, "-n", "t", "--jq-expression", ".a | .b"), "ParameterInvalid", 2, "--jq-expression")
    assert not terminal.store.exists()


def test_texts_are_printed_raw_and_the_rest_as_json(terminal: Terminal):
    terminal.told(*IDENTITY, "-n", "t", "--description", 'says "hi"')
    shown = terminal.told("target", "list", "--jq-expression", ".targets[0].description").out
    assert shown == 'says "hi"\n'
    assert terminal.told("target", "list", "--jq-expression", ".targets[0].last_version").out == "0\n"
    assert json.loads(terminal.told("target", "list", "--jq-expression", ".targets").out)[0]["target_name"] == "/t"


# --- common flags -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["gateway:8000", "http://", "https:///path", "ftp://gateway", "gateway", "", "http://[::1", "http://h:x"]
)
@pytest.mark.parametrize("way", ["--gateway-url", "-u", "AZURE_ROTATOR_GATEWAY_URL"])
def test_a_gateway_needs_scheme_and_host(terminal: Terminal, way: str, url: str, monkeypatch: pytest.MonkeyPatch):
    if way.startswith("A"):
        monkeypatch.setenv(way, url)
        given: tuple[str, ...] = ()
    else:
        given = (way, url)
    said = terminal(*IDENTITY, "-n", "t", *given)
    if way.startswith("A") and not url:
        assert said.code == 0  # an empty variable is none
        return
    mentions = ("--gateway-url", "AZURE_ROTATOR_GATEWAY_URL", "azure-rotator:gatewayUrl")
    refused(said, "GatewayNotConfigured", 6, *mentions)
    assert not terminal.store.exists()


@pytest.mark.parametrize("way", ["--gateway-url", "-u", "AZURE_ROTATOR_GATEWAY_URL"])
def test_with_a_gateway_the_embedded_engine_answers_and_says_so_in_one_line(
    terminal: Terminal, way: str, monkeypatch: pytest.MonkeyPatch
):
    url = "https://gateway.example:8000"
    given = () if way.startswith("A") else (way, url)
    if way.startswith("A"):
        monkeypatch.setenv(way, url)
    assert terminal.told(*IDENTITY, "-n", "t", "--quiet", *given).err == ""
    said = terminal.told("target", "list", *given)
    assert said.err == "note: this release has no gateway yet; the command works on the store itself\n"
    assert "/t" in said.out


def test_the_flag_goes_before_the_variable(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_ROTATOR_GATEWAY_URL", "nonsense")
    terminal.told(*IDENTITY, "-n", "t", "-u", "https://gateway.example:8000")


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1.5h", "86400", "nan", "inf", ""])
def test_a_timeout_is_a_duration_below_a_day(terminal: Terminal, timeout: str):
    refused(terminal(*IDENTITY, "-n", "t", "--timeout", timeout), "ParameterInvalid", 2, "--timeout")
    assert not terminal.store.exists()


@pytest.mark.parametrize("timeout", ["1", "0.5", "90s", "10m", "23h"])
def test_a_timeout_may_have_a_unit(terminal: Terminal, timeout: str):
    terminal.told(*IDENTITY, "-n", "t", "--timeout", timeout)


def test_a_level_of_the_log_that_is_none_is_told(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_ROTATOR_LOG", "loud")
    refused(terminal(*IDENTITY, "-n", "t"), "ParameterInvalid", 2, "AZURE_ROTATOR_LOG", "debug, info")


# --- get-value, list, describe ------------------------------------------------------------------------------------


def test_a_value_is_printed_by_format_and_version(place: Place):
    terminal = place.terminal
    terminal.told(*place.item("--revoke-after", "0"))
    first = terminal.told("rotated-secret", "get-value", "-n", "s").json
    assert list(first) == ["tenant_id", "client_id", "client_secret", "key_id", "expires_at"]
    terminal.told("rotate-secret", "-n", "s")
    second = terminal.told("rotated-secret", "get-value", "-n", "s", "--json").json
    assert list(second) == ["name", "item_id", "version", "stage", "rotator_type", "value"]
    assert (second["name"], second["version"], second["stage"], second["rotator_type"]) == (
        "/s",
        2,
        "current",
        "api-key",
    )
    assert second["value"]["key_id"] != first["key_id"]
    for form in ("named", "json"):
        said = terminal.told("rotated-secret", "get-value", "-n", "s", "--format", form)
        assert (said.json, said.err) == (second["value"], "")
    old = terminal.told("rotated-secret", "get-value", "-n", "s", "--version", "1")
    assert old.json == first
    assert old.err == "note: version 1 is revoked: Azure refuses it\n"


@pytest.mark.parametrize(
    ("argv", "code", "exit_code"),
    [
        (("--version", "2"), "VersionNotFound", 4),
        (("--version", "0"), "VersionNotFound", 4),
        (("--version", "-1"), "ParameterInvalid", 2),
        (("--version", "one"), "ParameterInvalid", 2),
        (("--format", "akeyless"), "FormatNotAvailable", 2),
        (("--format", "connection-string"), "FormatNotAvailable", 2),
        (("--format", "xml"), "FormatNotAvailable", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_version_or_format_that_is_not_there_is_told(
    stocked: Terminal, argv: tuple[str, ...], code: str, exit_code: int
):
    refused(stocked("rotated-secret", "get-value", "-n", "old", *argv), code, exit_code)


def test_an_item_without_a_value_says_so(place: Place):
    place.terminal.told(*place.item("--api-id", place.boot.key_id))
    refused(place.terminal("rotated-secret", "get-value", "-n", "s"), "NoValueYet", 4, "rotate-secret")
    place.terminal.told("rotate-secret", "-n", "s")
    assert place.terminal.told("rotated-secret", "get-value", "-n", "s", "--jq-expression", ".version").out == "1\n"


@row("AK-16")
def test_folders_come_with_their_items(stocked: Terminal):
    for number, name in enumerate(["x/y/s", "x/z", "/v/w/deep", "top"]):
        stocked.told(*offline_item(name, key=number), stdin="made-up")

    def listed(*argv: str) -> tuple[list[str], list[str]]:
        answer = stocked.told("list-items", "--json", *argv).json
        assert (answer["has_next"], answer["next_page"]) == (False, None)
        return [item["item_name"] for item in answer["items"]], answer["folders"]

    assert listed() == (["/old", "/top", "/v/w/deep", "/x/y/s", "/x/z"], ["/v", "/v/w", "/x", "/x/y"])
    assert listed("--path", "/x") == (["/x/y/s", "/x/z"], ["/x/y"])
    assert listed("--path", "x/y/") == (["/x/y/s"], [])
    assert listed("--path", "/x", "--current-folder") == (["/x/z"], ["/x/y"])
    assert listed("--path", "/v", "--current-folder") == ([], ["/v/w"])
    assert listed("--current-folder") == (["/old", "/top"], ["/v", "/x"])
    assert listed("--path", "/nowhere") == ([], [])


@row("AK-12")
@pytest.mark.parametrize("name", ["rotated-secret create azure", "create-rotated-secret"])
def test_help_and_readme_name_the_same_grants_per_rotator(terminal: Terminal, name: str):
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    kinds = "|".join(RotatorType)
    told = dict(re.findall(rf"^\| `({kinds})` \| (.*) \|$", readme, flags=re.MULTILINE))
    assert set(told) == {rotator.value for rotator in GRANTS} == set(RotatorType)
    shown = terminal.told(*name.split(), "--help").out
    for rotator, grant in GRANTS.items():
        assert told[rotator.value].replace("`", "") == grant
        assert f"{rotator.value}: {grant}\n" in shown
