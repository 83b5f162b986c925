"""The search finds what is planted, in every form and in every place: else the other tests here would show nothing."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import structlog

from azure_rotator.domain.errors import Rejected
from tests.leak.evidence import Evidence, command_lines, every_log, printed, rows_of, told, with_locals
from tests.leak.search import FORMS, Canaries, forms

ODD = 'Odd "secret" that\'s\\planted & söhne+co/%41'
PLAIN = "Pla8Q~as.Entra-makes_them~0123456789abcd"


@pytest.fixture(params=[ODD, PLAIN], ids=["odd", "as Entra makes them"])
def value(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def canaries(value: str) -> Canaries:
    canaries = Canaries()
    canaries.add("another", "Another8Q~that.is.never.planted-anywhere")
    canaries.add("planted", value)
    return canaries


WRITTEN: dict[str, Callable[[str], str | bytes]] = {
    "plain": lambda v: v,
    "base64": lambda v: base64.b64encode(v.encode()),
    "base64 after 1 byte": lambda v: base64.b64encode(b":" + v.encode() + b":x"),
    "base64 after 2 bytes": lambda v: base64.b64encode(b"a:" + v.encode() + b":xyz"),
    "base64 after 3 bytes": lambda v: base64.b64encode(b"ab:" + v.encode()),
    "base64 for URLs": lambda v: base64.urlsafe_b64encode(v.encode()).rstrip(b"="),
    "URL": lambda v: quote(v, safe=""),
    "URL with plus": quote_plus,
    "URL twice": lambda v: quote(quote(v, safe=""), safe=""),
    "JSON": lambda v: json.dumps({"value": v}),
    "JSON in UTF-8": lambda v: json.dumps([v], ensure_ascii=False),
    "JSON in JSON": lambda v: json.dumps({"plaintext": json.dumps(v)}),
    # What Pulumi 3.192 made of the value of an input in `pulumi stack export --show-secrets`.
    "JSON of Go in JSON": lambda v: {
        ODD: '{"plaintext": "\\"Odd \\\\\\"secret\\\\\\" that\'s\\\\\\\\planted \\\\u0026 söhne+co/%41\\""}',
        PLAIN: '{"plaintext": "\\"' + PLAIN + '\\""}',
    }[v],
    "a Python text": lambda v: repr({"value": v}),
    "JSON in a Python text": lambda v: repr({"body": json.dumps({"value": v})}),
    "hex": lambda v: v.encode().hex(),
    "hex in capitals": lambda v: v.encode().hex().upper(),
    "UTF-16": lambda v: v.encode("utf-16"),
}


@pytest.mark.parametrize("before", [0, 1, 2, 5, 31, 4096])
@pytest.mark.parametrize("form", WRITTEN)
def test_a_value_is_found_in_every_form_and_anywhere(canaries: Canaries, value: str, form: str, before: int):
    written = WRITTEN[form](value)
    raw = written.encode() if isinstance(written, str) else written
    found = canaries.found(b"-" * before + raw + b"-" * 100)
    assert found
    assert {leak.partition(" as ")[0] for leak in found} == {"planted"}
    assert canaries.found(b"-" * before + raw, but=["planted"]) == []


def test_every_form_has_a_name():
    assert {name for name, _ in forms(ODD)} == set(FORMS)


def test_nothing_is_found_where_nothing_is(canaries: Canaries, value: str):
    for text in ("", "nothing", value[:-1][:20], value[::-1], value.swapcase()):
        assert canaries.found(text * 50) == []


def test_a_report_does_not_show_what_it_found(canaries: Canaries, value: str):
    assert value not in repr(canaries.found(value)) + repr(canaries)


def test_a_token_is_found_by_its_shape(canaries: Canaries):
    header = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"RS256"}').decode()
    assert canaries.found(f"Bearer {header}.e30.x", tokens=True) == ["a token"]
    assert canaries.found(f"Bearer {header}.e30.x") == []
    assert canaries.found(f"eyJeyJ-{header}.e30.x", tokens=True) == ["a token"]


def test_base64_of_a_key_that_begins_like_a_token_is_none(canaries: Canaries):
    """Seen: three letters in some thousand of the sandbox's signing keys."""
    assert canaries.found("pFxDdko1Wv7qAE4u/KOEeyJXwjg5lP8JpxygbTrHNBoUBnC5YIYWymBtPKFHug", tokens=True) == []


# --- places ---------------------------------------------------------------------------------------------------------


def is_found(canaries: Canaries, evidence: Evidence) -> bool:
    return bool(evidence.leaks("here", canaries))


def test_in_the_database_its_log_and_its_rows(canaries: Canaries, value: str, tmp_path: Path):
    (tmp_path / "store").mkdir()
    file, evidence = tmp_path / "store" / "store.db", Evidence()
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE audit (details TEXT)")
        evidence.add_files("here", tmp_path / "store")
        assert not is_found(canaries, evidence)
        connection.execute("INSERT INTO audit VALUES (?)", [json.dumps({"text": value})])
        evidence.add_files("here", tmp_path / "store")
        sources = {leak.rpartition(" in ")[2] for leak in evidence.leaks("here", canaries)}
        assert sources == {"store.db-wal"}
        rows = dict(rows_of(file))
        assert canaries.found(rows["audit"])
    # The last connection folds the log into the database.
    evidence.add_files("here", tmp_path / "store")
    assert {leak.rpartition(" in ")[2] for leak in evidence.leaks("here", canaries)} == {"store.db-wal", "store.db"}


def test_in_a_file_that_grows(canaries: Canaries, value: str, tmp_path: Path):
    """Only what is new is looked at again, and what lies across the seam is found."""
    file, evidence = tmp_path / "server.log", Evidence()
    for length in range(0, len(value), 7):
        file.write_text("x" * 5000 + value[:length])
        evidence.add_files("here", tmp_path)
    assert not is_found(canaries, evidence)
    file.write_text("x" * 5000 + value)
    evidence.add_files("here", tmp_path)
    assert is_found(canaries, evidence)


LOGGED: dict[str, Callable[[logging.Logger, str], None]] = {
    "the message": lambda logger, v: logger.debug("it is " + v),  # noqa: G003 - this is the case
    "an argument": lambda logger, v: logger.debug("it is %s", v),
    "an argument that is not shown": lambda logger, v: logger.debug("%(shown)s", {"shown": "x", "hidden": v}),
    "a field": lambda logger, v: logger.debug("x", extra={"credential": v}),
    "an error": lambda logger, v: logger.debug("x", exc_info=ValueError(v)),
    "a field of structlog": lambda logger, v: structlog.wrap_logger(
        logger, processors=[structlog.stdlib.render_to_log_kwargs], wrapper_class=structlog.stdlib.BoundLogger
    ).debug("x", credential=v),
}


@pytest.mark.parametrize("name", ["azure.core", "msal.token_cache", "sqlalchemy.engine.Engine", "httpx", "anybody"])
@pytest.mark.parametrize("way", LOGGED)
def test_in_a_log(canaries: Canaries, value: str, name: str, way: str):
    evidence = Evidence()
    with every_log(lambda line: evidence.add("here", "a line", line)) as loggers:
        LOGGED[way](logging.getLogger(name), value)
    assert loggers == {name.partition(".")[0]}
    assert is_found(canaries, evidence)


def failed(value: str, way: str) -> BaseException:
    """An error that has the value in one place; made by code that is none of the tests'."""
    program = {
        "its text": "raise ValueError(f'bad {value}')",
        "its attribute": "error = ValueError('bad'); error.details = {'text': value}; raise error",
        "its note": "error = ValueError('bad'); error.add_note(value); raise error",
        "its cause": "raise ValueError('bad') from KeyError(value)",
        "its context": "try:\n    raise KeyError(value)\nexcept KeyError:\n    raise ValueError('bad')",
        "what it groups": "raise ExceptionGroup('bad', [KeyError(value)])",
        "a local variable": "def work(inner):\n    raise ValueError('bad')\nwork(value)",
        "a local variable of its cause": (
            "def work(inner):\n    raise KeyError('bad')\n"
            "try:\n    work(value)\nexcept KeyError as error:\n    raise ValueError('bad') from error"
        ),
    }[way]
    with pytest.raises(Exception) as failed:  # noqa: PT011 - any
        exec(compile(program, "/somewhere/product.py", "exec"), {"value": value})  # noqa: S102 - foreign code
    return failed.value


@pytest.mark.parametrize("way", ["its text", "its attribute", "its note", "its cause", "its context", "what it groups"])
def test_in_what_anybody_prints_of_an_error(canaries: Canaries, value: str, way: str):
    assert canaries.found(printed(failed(value, way)))


@pytest.mark.parametrize("way", ["a local variable", "a local variable of its cause"])
def test_in_the_local_variables_of_an_error(canaries: Canaries, value: str, way: str):
    error = failed(value, way)
    assert canaries.found(with_locals(error))
    assert not canaries.found(printed(error))


def test_the_local_variables_of_tests_do_not_count(canaries: Canaries, value: str):
    def work(inner: str) -> str:
        if inner:
            raise Rejected("NameInvalid", "bad")
        return inner

    with pytest.raises(Rejected) as refused:
        work(value)
    assert not canaries.found(with_locals(refused.value))


def test_in_an_answer(canaries: Canaries, value: str):
    class View:
        def facts(self) -> dict[str, object]:
            return {"deep": [{"last_error": value}]}

    assert canaries.found(told(View()))
    assert canaries.found(told([View()]))


def test_in_the_arguments_of_a_process_and_of_its_children(canaries: Canaries, value: str):
    inner = "import sys; print('up', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, *sys.argv[1:]])"
    # The parent's own arguments do not have it: it comes to the child by another way.
    pipe, parent = subprocess.PIPE, outer.replace("*sys.argv[1:]", "sys.stdin.readline()[:-1]")
    with subprocess.Popen([sys.executable, "-c", parent], stdin=pipe, stdout=pipe) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(value.encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        found = {pid: canaries.found(line) for pid, line in command_lines().items()}
        process.stdin.close()
    assert found[process.pid] == []
    assert sum(bool(leaks) for leaks in found.values()) == 1
