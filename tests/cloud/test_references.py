"""``env:`` and ``file:`` references; those to a vault are in ``test_vault``."""

from __future__ import annotations

import os
import traceback

import pytest

from azure_rotator.cloud import ProcessReferences
from azure_rotator.domain.errors import Rejected

resolve = ProcessReferences().resolve


def refused(reference: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        resolve(reference)
    assert caught.value.code == "ReferenceUnresolved"
    assert caught.value.hint
    assert caught.value.__context__ is None
    return caught.value


def test_a_variable_is_read_at_each_use(monkeypatch):
    monkeypatch.setenv("ROTATOR_SECRET", " one\n")
    assert resolve("env:ROTATOR_SECRET").reveal() == " one\n"
    monkeypatch.setenv("ROTATOR_SECRET", "two")
    assert resolve("env:ROTATOR_SECRET").reveal() == "two"


FILES = [
    (b"value", "value"),
    (b"value\n", "value"),
    (b"value\r\n", "value"),
    (b"value\n\n", "value\n"),
    (b" value \t\n", " value \t"),
    (b"value\r", "value"),
    ("wärt\n".encode(), "wärt"),
]


@pytest.mark.parametrize(("content", "value"), FILES)
def test_a_file_is_the_value_but_for_the_newline_at_its_end(tmp_path, content, value):
    (tmp_path / "secret").write_bytes(content)
    assert resolve(f"file:{tmp_path}/secret").reveal() == value


def test_a_path_may_hold_colons_and_spaces(tmp_path):
    (tmp_path / "a: b").write_text("value")
    assert resolve(f"file:{tmp_path}/a: b").reveal() == "value"


def test_a_missing_or_empty_variable_is_named(monkeypatch):
    monkeypatch.delenv("ROTATOR_SECRET", raising=False)
    assert "env:ROTATOR_SECRET" in refused("env:ROTATOR_SECRET").message
    monkeypatch.setenv("ROTATOR_SECRET", "")
    assert "env:ROTATOR_SECRET" in refused("env:ROTATOR_SECRET").message


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_file_is_no_value(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    error = refused(f"file:{tmp_path}/secret")
    assert "empty" in error.message
    assert error.details["reference"] == f"file:{tmp_path}/secret"


def test_a_file_that_cannot_be_a_credential_is_refused(tmp_path):
    (tmp_path / "large").write_bytes(b"x" * (64 * 1024 + 1))
    (tmp_path / "largest").write_bytes(b"x" * 64 * 1024)
    os.mkfifo(tmp_path / "pipe")
    assert "64 KiB" in refused(f"file:{tmp_path}/large").message
    assert len(resolve(f"file:{tmp_path}/largest").reveal()) == 64 * 1024
    for name in ("missing", "missing/deeper", "pipe", "", ".", "\0"):
        assert "there is no such file" in refused(f"file:{tmp_path}/{name}").message or name == "\0"


def test_an_unreadable_file_says_why(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("value")

    def deny(*_args, **_more):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert "Permission denied" in refused(f"file:{tmp_path}/secret").message


def test_bytes_that_are_no_text_are_not_quoted(tmp_path):
    (tmp_path / "secret").write_bytes(b"canary\xff")
    error = refused(f"file:{tmp_path}/secret")
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "canary" not in shown


@pytest.mark.parametrize("value", ["canary", "canary:x", "Env:canary", "env:canary 8Q~", "env:", "", "literal:canary"])
def test_what_is_no_reference_is_not_quoted_since_it_may_be_the_secret(value):
    error = refused(value)
    assert "canary" not in f"{error.message} {error.hint} {error.details}"
