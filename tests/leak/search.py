"""The one search for credentials that got out: in any text or bytes, in any form that a program may give a value.

    canaries = Canaries()
    canaries.add("the api_key", "…")
    assert canaries.found("some log") == []          # else e.g. ["the api_key as base64"]

What is found is told by the name of the credential and the form it had, never by its value.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

# Shorter ones would be found by chance, or would be too short to be sealed by anybody.
_SHORTEST = 16
# The search looks closer where this many bytes in a row belong to a credential.
_WINDOW = 8
# A token begins so: base64 of {", and what follows is ASCII. Other base64, of a key, has these three letters by chance.
_TOKEN = re.compile(rb"(?=(eyJ[A-Za-z0-9_-]{20}))")
# How many characters of a base64 text belong to bytes before it, by how many bytes there are in its first group.
_SHARED = (0, 2, 3)

FORMS = (
    *("plain", "base64", "base64 after 1 byte", "base64 after 2 bytes", "base64 for URLs"),
    *("URL", "URL with plus", "URL in lower case", "URL twice"),
    *(
        "JSON",
        "JSON in UTF-8",
        "JSON in JSON",
        "JSON of Go",
        "JSON of Go in JSON",
        "a Python text",
        "JSON in a Python text",
        "hex",
        "hex in capitals",
        "UTF-16",
    ),
)


def forms(value: str) -> Iterator[tuple[str, bytes]]:
    """Every form of a value, with its name; several for one name, and the same for several, where that is so."""
    raw = value.encode()
    yield "plain", raw
    for before, name in enumerate(("base64", "base64 after 1 byte", "base64 after 2 bytes")):
        # The last character may hold bits of what follows.
        text = base64.b64encode(b"\0" * before + raw).rstrip(b"=")[_SHARED[before] : -1]
        yield name, text
        yield "base64 for URLs", text.replace(b"+", b"-").replace(b"/", b"_")
    quoted = quote(value, safe="")
    yield "URL", quoted.encode()
    yield "URL with plus", quote_plus(value).encode()
    yield "URL in lower case", re.sub("%..", lambda match: match[0].lower(), quoted).encode()
    yield "URL twice", quote(quoted, safe="").encode()
    escaped = json.dumps(value)[1:-1]
    yield "JSON", escaped.encode()
    yield "JSON in UTF-8", json.dumps(value, ensure_ascii=False)[1:-1].encode()
    yield "JSON in JSON", json.dumps(escaped)[1:-1].encode()
    yield "JSON of Go", (of_go := _json_of_go(value)).encode()
    yield "JSON of Go in JSON", _json_of_go(of_go).encode()
    yield "a Python text", repr(value)[1:-1].encode()
    yield "JSON in a Python text", repr(escaped)[1:-1].encode()
    yield "hex", raw.hex().encode()
    yield "hex in capitals", raw.hex().upper().encode()
    yield "UTF-16", value.encode("utf-16-le")


def _json_of_go(value: str) -> str:
    """As Pulumi's CLI writes it: UTF-8, and escapes for what could be HTML."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def _is_json(encoded: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in base64.urlsafe_b64decode(encoded + b"="))


class Canaries:
    """Credentials that must be found nowhere."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._needles: dict[str, dict[bytes, str]] = {}
        self._pieces: frozenset[bytes] = frozenset()
        self._stride = 1

    def add(self, name: str, value: str) -> str:
        """Search for it from now on. Returns: the value."""
        assert len(value) >= _SHORTEST, name
        if value not in self._values.values():
            assert name not in self._values, name
            self._values[name] = value
            needles: dict[bytes, str] = {}
            for form, needle in forms(value):
                needles.setdefault(needle, form)
            self._needles[name] = needles
            self._pieces = frozenset()
        return value

    @property
    def names(self) -> list[str]:
        return list(self._values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def named_in(self, text: str) -> set[str]:
        """The names of those that are in a text as Python shows it."""
        return {name for name, value in self._values.items() if value in text or repr(value)[1:-1] in text}

    def found(self, content: str | bytes, *, but: Iterable[str] = (), tokens: bool = False) -> list[str]:
        """What of them is in there, each by its name and its form.

        Args:
            but: Names of those that may be there.
            tokens: Report whatever looks like an access token, too.
        """
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        allowed = set(but)
        leaks = ["a token"] if tokens and any(map(_is_json, _TOKEN.findall(raw))) else []
        if self._may_hold_one(raw):
            leaks += [
                f"{name} as {form}"
                for name, needles in self._needles.items()
                if name not in allowed
                for needle, form in needles.items()
                if needle in raw
            ]
        return leaks

    def _may_hold_one(self, raw: bytes) -> bool:
        """Whether to look closer: whatever stands in there covers one whole window, if windows are this far apart."""
        if not self._pieces:
            every = [needle for needles in self._needles.values() for needle in needles]
            self._stride = min(map(len, every), default=_WINDOW) - _WINDOW + 1
            self._pieces = frozenset(n[i : i + _WINDOW] for n in every for i in range(self._stride))
        pieces = self._pieces
        return any(raw[i : i + _WINDOW] in pieces for i in range(0, len(raw), self._stride))
