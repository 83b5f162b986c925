"""What a list of items is asked for, and its pages. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TypeVar

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.model import Folder, RotatedSecret
from azure_rotator.engine.folders import folder_path, lies_in

PAGE = 1_000
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What fits: all of what is given.

    Args:
        path: Only below this folder.
        current_folder: Only in that very folder.
        rotator_types: Only these kinds; empty: every kind.
        text: Only names that contain it, or that it describes with ``*`` and ``?``.
        modified_after: Only what changed later.
        page_size: None: everything in one answer.
        token: ``next_page`` of the page before.
    """

    path: str | None = None
    current_folder: bool = False
    rotator_types: frozenset[str] = frozenset()
    text: str | None = None
    tag: str | None = None
    modified_after: datetime | None = None
    page_size: int | None = None
    token: str | None = None

    @property
    def root(self) -> str:
        return folder_path(self.path)

    def fits_item(self, item: RotatedSecret) -> bool:
        """Below the path, at any depth: the folder of what fits is shown, though it lies deeper than asked for."""
        kind = not self.rotator_types or item.rotator_type.value in self.rotator_types
        below = item.name != self.root and lies_in(item.name, self.root)
        return kind and below and self._fits(item.name, item.tags, item.modified_at)

    def fits_folder(self, folder: Folder) -> bool:
        return not self.rotator_types and self._fits(folder.name, folder.tags, folder.modified_at)

    def shows_folder(self, name: str) -> bool:
        return name != self.root and lies_in(name, self.root) and self.lies_here(name)

    def page(self, items: Sequence[RotatedSecret]) -> tuple[bool, Sequence[RotatedSecret], str | None]:
        """Of items by name: whether this is the first page, the page, and the token of the next one.

        Raises:
            Rejected: ``ParameterInvalid``, the token.
        """
        return page_of(items, name=lambda item: item.name, size=self.page_size, token=self.token)

    def lies_here(self, name: str) -> bool:
        """Whether it is not too deep."""
        return not self.current_folder or (name.rpartition("/")[0] or "/") == self.root

    def _fits(self, name: str, tags: Sequence[str], modified_at: datetime) -> bool:
        recent = self.modified_after is None or modified_at > self.modified_after
        return named_like(name, self.text) and recent and (self.tag is None or self.tag in tags)


def named_like(name: str, text: str | None) -> bool:
    """Whether the name contains the text, or fits it with ``*`` and ``?``; everything fits None."""
    return text is None or text in name or fnmatchcase(name, text)


def page_of(
    things: Sequence[_T], *, name: Callable[[_T], str], size: int | None, token: str | None
) -> tuple[bool, Sequence[_T], str | None]:
    """Of things by name: whether this is the first page, the page, and the token of the next one.

    Raises:
        Rejected: ``ParameterInvalid``, the token.
    """
    after = None if token is None else _name_of(token)
    rest = [thing for thing in things if after is None or name(thing) > after]
    page = rest if size is None else rest[:size]
    return after is None, page, _token_of(name(page[-1])) if len(page) < len(rest) else None


def folders_above(name: str) -> Iterator[str]:
    """The folders that a name lies in, at any height, the root left out."""
    folder = name.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def _token_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_of(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Rejected(
            "ParameterInvalid", "the pagination token is none", hint="give next_page of the page before"
        ) from None
