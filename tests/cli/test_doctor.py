"""``doctor`` as a person and as a program sees it: grouped lines, one JSON object, an exit code for failures only."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.cli.conftest import GUID, Place, Terminal
from tests.cli.test_bad_input import refused


def test_a_healthy_store_is_told_in_lines_and_nothing_fails(place: Place):
    place.terminal.told(*place.item(name="prod/s"))
    said = place.terminal.told("doctor")
    assert said.err == ""
    lines = said.out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        f"store {place.terminal.store}",
        'Target "/t"',
        'item "/prod/s"',
        "15 ok, 1 unknown",
    ]
    assert any(line.split()[:2] == ["ok", "ownership"] for line in lines)
    policy = next(number for number, line in enumerate(lines) if line.split()[:2] == ["unknown", "policy"])
    assert lines[policy + 1].split()[0] == "fix:"


def test_a_program_gets_every_finding_and_the_exit_code_of_the_first_failure(place: Place):
    place.terminal.told(*place.item())
    place.control.update_application(place.workload.app_id, owners=[])
    said = place.terminal("doctor", "--json")
    assert said.code == 7
    assert (said.json["healthy"], said.json["counts"]["failed"]) == (False, 1)
    (failed,) = [one for one in said.json["findings"] if one["outcome"] == "failed"]
    assert (failed["subject"], failed["check"], failed["code"]) == ('item "/s"', "ownership", "AzurePermissionMissing")
    assert failed["fix"].startswith("make service principal")
    assert said.error["code"] == "AzurePermissionMissing"
    assert said.error["details"]["failed"] == [{key: failed[key] for key in ("subject", "check", "code")}]
    assert place.rotator.secret not in said.out + said.err


def test_one_target_alone_and_one_that_is_not_there(place: Place):
    words = ["target", "create", "azure", "-n", "other", "--tenant-id", GUID, "--client-id", GUID]
    place.terminal.told(*words, "--client-secret", "literal:made-up")
    assert place.terminal("doctor").code == 7
    place.terminal.told("doctor", "--target", "t")
    refused(place.terminal("doctor", "--target", "nowhere"), "TargetNotFound", 4, '"/nowhere"')


class TestOfTheStore:
    """What is wrong with the store is found before anything of Azure is asked."""

    def found(self, terminal: Terminal) -> tuple[int, str, str, str]:
        said = terminal("doctor", "--json")
        (one,) = [one for one in said.json["findings"] if one["outcome"] == "failed"]
        assert one["fix"]
        return said.code, one["check"], one["code"], said.error["code"]

    def test_there_is_none(self, terminal: Terminal):
        assert self.found(terminal) == (1, "store", "StoreUnavailable", "StoreUnavailable")
        assert not terminal.store.exists()

    def test_its_key_is_missing(self, stocked: Terminal):
        stocked.key_file.unlink()
        assert self.found(stocked) == (1, "key", "StoreKeyMissing", "StoreKeyMissing")

    def test_its_key_is_open_to_others(self, stocked: Terminal):
        stocked.key_file.chmod(0o644)
        assert self.found(stocked) == (1, "key", "StoreKeyWrong", "StoreKeyWrong")

    def test_a_value_does_not_open(self, stocked: Terminal):
        with closing(sqlite3.connect(stocked.store)) as connection, connection:
            connection.execute("UPDATE versions SET sealed_value = zeroblob(length(sealed_value))")
        assert self.found(stocked) == (1, "contents", "StoreCorrupt", "StoreCorrupt")

    def test_its_schema_is_of_another_release(self, stocked: Terminal):
        with closing(sqlite3.connect(stocked.store)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        assert self.found(stocked) == (1, "schema", "StoreSchemaMismatch", "StoreSchemaMismatch")
