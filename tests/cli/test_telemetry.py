"""Nothing that is a credential, or looks like one, gets through to a log or a terminal."""

from __future__ import annotations

import io
import json
import logging
from urllib.parse import quote_plus

import pytest

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.secrettext import SealedBytes, SecretText
from azure_rotator.telemetry import MASK, Redactor, StructlogObserver, format_of, level_of, logging_to

ENTRA = "abc8Q~ONXV5BQXord9irVqw5QA7ky_Tya7L7ofK-"
TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2dyYXBoIn0.c2lnbmF0dXJl-_x"
STORAGE_KEY = "A" * 43 + "b+/9" * 10 + "xyz" + "=="


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"refused {ENTRA}", f"refused {MASK}"),
        (f'{{"secretText": "{ENTRA}"}}', f'{{"secretText": "{MASK}"}}'),
        (f"token {TOKEN}, again", f"token {MASK}, again"),
        (f"cut off {TOKEN[:30]}", f"cut off {MASK}"),
        (f"Authorization: Bearer {TOKEN}", f"Authorization: Bearer {MASK}"),
        ("Authorization: bearer opaque-token-123", f"Authorization: bearer {MASK}"),
        ("grant_type=x&client_secret=a%20b&scope=x", f"grant_type=x&client_secret={MASK}&scope=x"),
        ("AccountName=n;AccountKey=short;x", f"AccountName=n;AccountKey={MASK};x"),
        (f"key {STORAGE_KEY}.", f"key {MASK}."),
        ("?sv=1&sig=abc%3D", f"?sv=1&sig={MASK}"),
        ("postgresql://ann:hunter2%40@db.example/x", f"postgresql://ann:{MASK}@db.example/x"),
        ("azure-rotator-key-1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=.", f"azure-rotator-key-1:{MASK}."),
    ],
)  # fmt: skip
def test_what_looks_like_a_credential_is_masked(text: str, masked: str):
    assert Redactor().text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "application 33333333-3333-4333-8333-333333333301 has no secret cbf1373d-cef4-48a5-af2a-2b868ea0ae28",
        "azure-rotator/1/emct53fxe25svxin/llvdkhp7ymwdthqc/qfihwiokhpqryb7n",
        'item "/prod/billing" next attempt at 2030-01-31T12:00:00Z (AADSTS7000215)',
        "postgresql://ann@db.example:5432/x and https://db.example:443/y@z",
        "the bearer of this has basic rights; its signature=fine",
        "",
    ],
)  # fmt: skip
def test_what_is_none_stays(text: str):
    assert Redactor().text(text) == text


@pytest.mark.parametrize("given", ["plain words of a user", 'with "quotes" and \\', "line\nbreak", "a&b=c d/é"])
def test_what_was_given_is_masked_in_every_form_it_may_take(given: str):
    redactor = Redactor()
    redactor.know(given)
    for form in (given, repr(given), repr([given]), f"?x={quote_plus(given)}"):
        shown = redactor.text(f"<{form}>")
        assert given not in shown
        assert MASK in shown


def test_what_is_too_short_to_be_a_credential_does_not_blot_out_the_text():
    redactor = Redactor()
    redactor.know("a")
    redactor.know("")
    assert redactor.text("a banana") == "a banana"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("secret", "x", MASK),
        ("client_secret", "x", MASK),
        ("clientSecret", "x", MASK),
        ("api_key", "x", MASK),
        ("api-key", "x", MASK),
        ("key", "x", MASK),
        ("account_key", "x", MASK),
        ("password", "x", MASK),
        ("access_token", "x", MASK),
        ("Authorization", "x", MASK),
        ("sealed_value", "x", MASK),
        ("credential", ["x"], MASK),
        ("secret", 12, MASK),
        ("key_id", "x", "x"),
        ("keyId", "x", "x"),
        ("client_secret_version", 3, 3),
        ("secret_reference", "env:X", "env:X"),
        ("rotation_id", "x", "x"),
        ("monkey", "x", "x"),
        ("attempts", 3, 3),
        ("secret", None, None),
        ("value", SecretText("x"), MASK),
        ("value", SealedBytes(b"x"), MASK),
        ("value", b"x", MASK),
        ("many", [SecretText("x"), "y"], [MASK, "y"]),
        ("deep", {"password": "x", "path": "/p"}, {"password": MASK, "path": "/p"}),
        ("text", f"is {ENTRA}", f"is {MASK}"),
        ("error", ValueError(ENTRA), MASK),
    ],
)  # fmt: skip
def test_a_field_is_masked_by_its_name_its_type_and_its_text(name: str, value: object, shown: object):
    assert Redactor().field(name, value) == shown


class Opaque:
    def __init__(self) -> None:
        self.text = ENTRA

    def __repr__(self) -> str:
        return f"Opaque({self.text})"


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def test_notes_are_lines_with_redaction_last(stream: io.StringIO):
    redactor = Redactor()
    redactor.know("known to nobody")
    observer = StructlogObserver(redactor=redactor)
    with logging_to(stream, "debug", redactor):
        observer.note("step", path="/p", client_secret="x", key_id="k", nested={"o": Opaque(), "s": SecretText("q")})
        observer.note(f"event {ENTRA}", why="known to nobody")
    first, second = stream.getvalue().splitlines()
    assert first.startswith("at=20")
    assert "level=debug logger=azure_rotator event=step path=/p client_secret=*** key_id=k" in first  # fmt: skip
    assert ENTRA not in first
    assert 'event="event ***" why=***' in second


def test_lines_of_libraries_are_redacted_too_and_never_below_info(stream: io.StringIO):
    library = logging.getLogger("azure.identity.aio")
    with logging_to(stream, "debug", Redactor()):
        library.debug("whole request %s", ENTRA)
        library.info("GET %s", TOKEN)
        try:
            raise ValueError(f"bad {ENTRA}")
        except ValueError:
            local = ENTRA
            library.exception("failed with %s", local)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert 'level=info logger=azure.identity.aio event="GET ***"' in lines[0]
    assert 'level=error logger=azure.identity.aio event="failed with ***"' in lines[1]
    assert "ValueError: bad ***" in lines[1]


def test_redaction_comes_after_the_last_thing_that_can_add_a_credential(stream: io.StringIO):
    """The renderer is the last: it writes the names of fields, too."""
    with logging_to(stream, "debug", Redactor()):
        StructlogObserver().note("step", **{ENTRA: 1})
    assert f"{MASK}=1" in stream.getvalue()
    assert ENTRA not in stream.getvalue()


def test_redaction_comes_also_before_the_renderer_disguises_what_it_looks_for(stream: io.StringIO):
    redactor = Redactor()
    redactor.know('a "b"\t\\c')
    with logging_to(stream, "debug", redactor):
        logging.getLogger("azure").warning("saw %s", 'a "b"\t\\c')
    assert stream.getvalue().endswith(f'event="saw {MASK}"\n')


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 2), ("warning", 1), ("error", 0), (None, 0)])
def test_a_level_bounds_what_is_written(stream: io.StringIO, level: str | None, count: int):
    with logging_to(stream, level, Redactor()):
        StructlogObserver().note("step")
        StructlogObserver().tell("rotation planned")
        logging.getLogger("azure").info("one")
        logging.getLogger("azure").warning("two")
    assert len(stream.getvalue().splitlines()) == count


def test_logging_ends_with_its_block(stream: io.StringIO):
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    with logging_to(stream, "debug", Redactor()):
        pass
    assert (logging.getLogger().level, logging.getLogger().handlers) == before
    StructlogObserver().note("step")
    assert stream.getvalue() == ""


def test_what_is_said_is_redacted_and_may_go_nowhere(stream: io.StringIO):
    said: list[str] = []
    StructlogObserver(say_to=stream).say(f"wait for {ENTRA}")
    StructlogObserver(say_to=said.append).say("wait")
    StructlogObserver().say("wait")
    assert (stream.getvalue(), said) == (f"wait for {MASK}\n", ["wait"])


def test_a_line_names_the_rotation_that_it_is_about_whoever_writes_it(stream: io.StringIO):
    observer = StructlogObserver()
    with logging_to(stream, "debug", Redactor()):
        with observer.span("rotation", rotation_id="r1") as span:
            observer.note("claimed")
            span.set(path="/prod/x", kind="api-key")
            with observer.span("step", step="mint"):
                observer.note("unstored secret not removed", key_id="k")
                logging.getLogger("azure.identity").warning("slow")
                observer.tell("of another one", rotation_id="r2", path="/prod/y")
        observer.note("scheduler stopped")
    told = [line.partition("event=")[2] for line in stream.getvalue().splitlines()]
    assert told == [
        "claimed rotation_id=r1",
        '"unstored secret not removed" key_id=k rotation_id=r1 path=/prod/x',
        "slow rotation_id=r1 path=/prod/x",
        '"of another one" rotation_id=r2 path=/prod/y',
        '"scheduler stopped"',
    ]


def test_lines_as_json_are_objects_with_everything_masked(stream: io.StringIO):
    redactor = Redactor()
    redactor.know('a "b"\t\\c')
    with logging_to(stream, "debug", redactor, style="json"):
        StructlogObserver(redactor=redactor).tell("rotation failed", path="/p ö", code=None, attempts=2, password="x")
        logging.getLogger("azure").warning("saw %s and %s", 'a "b"\t\\c', ENTRA)
        StructlogObserver(redactor=redactor).note("step", **{ENTRA: {"path": TOKEN, "more": [ENTRA]}})
        try:
            raise ValueError(f'bad "{ENTRA}"')
        except ValueError:
            logging.getLogger("azure").exception("failed")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert list(lines[0])[:4] == ["at", "level", "logger", "event"]
    assert {name: lines[0][name] for name in ("path", "code", "attempts", "password")} == {
        "path": "/p ö",
        "code": None,
        "attempts": 2,
        "password": MASK,
    }
    assert lines[1]["event"] == f"saw {MASK} and {MASK}"
    assert lines[2][MASK] == {"path": MASK, "more": [MASK]}
    assert f'ValueError: bad "{MASK}"' in lines[3]["exception"]
    assert ENTRA not in stream.getvalue()


def test_a_traceback_shows_frames_and_no_values():
    def fails() -> None:
        local = SecretText(ENTRA)
        raise RuntimeError(f"cannot use {local.reveal()}")

    with pytest.raises(RuntimeError) as raised:
        fails()
    shown = Redactor().traceback(raised.value)
    assert "in fails" in shown
    assert f"RuntimeError: cannot use {MASK}" in shown
    assert ENTRA not in shown


def test_levels_by_variable():
    assert level_of({}) is None
    assert format_of({}) == "logfmt"
    assert format_of({"AZURE_ROTATOR_LOG_FORMAT": "JSON"}) == "json"
    with pytest.raises(Rejected, match="names no format"):
        format_of({"AZURE_ROTATOR_LOG_FORMAT": "xml"})
    assert level_of({"AZURE_ROTATOR_LOG": "INFO"}) == "info"
