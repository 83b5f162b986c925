"""Names of items and Targets are paths (features 3.12); ids and stamps of this store (features 3.2)."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from azure_rotator.domain.errors import Rejected

MAX_PATH_LENGTH = 255
_SEGMENT = re.compile(r"[A-Za-z0-9_.@+=~-]+")
_STAMP = re.compile(r"azure-rotator/1/([a-z2-7]{16})/([a-z2-7]{16})/([a-z2-7]{16})")
_GUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

ID_BYTES = 10  # 80 bits: 16 characters of base32


def canonical_path(name: str) -> str:
    """The path with its leading slash.

    Raises:
        Rejected: ``NameInvalid`` for empty segments, a trailing slash, ``.``, ``..`` or a forbidden character.
    """
    hint = "use segments of letters, digits and _ . @ + = ~ - separated by single slashes, e.g. /prod/billing/api"
    path = name if name.startswith("/") else "/" + name
    if len(path) > MAX_PATH_LENGTH:
        raise Rejected("NameInvalid", f"the name is longer than {MAX_PATH_LENGTH} characters", hint=hint)
    for segment in path[1:].split("/"):
        if segment == "":
            raise Rejected("NameInvalid", f"the name {name!r} has an empty segment or a trailing slash", hint=hint)
        if segment in {".", ".."}:
            raise Rejected("NameInvalid", f"the name {name!r} has a segment {segment!r}", hint=hint)
        if not _SEGMENT.fullmatch(segment):
            raise Rejected("NameInvalid", f"the name {name!r} has a forbidden character", hint=hint)
    return path


def is_guid(text: str) -> bool:
    """Whether the text has a GUID's form; Azure compares GUIDs without case."""
    return _GUID.fullmatch(text) is not None


def encode_id(raw: bytes) -> str:
    """Ten random bytes as an id of 16 characters of lower-case base32."""
    if len(raw) != ID_BYTES:
        raise ValueError(f"an id is made of {ID_BYTES} random bytes")
    return base64.b32encode(raw).decode().lower()


@dataclass(frozen=True, slots=True)
class Stamp:
    """The display name of a client secret that a store minted: whose it is, for which item, by which mint.

    ``operation_id`` is new for each attempt of a rotation to mint, and in the journal before the attempt: a copy of the
    store that goes on with the same rotation cannot take the other's secret for its own (docs/adr/0008).
    """

    store_id: str
    item_id: str
    operation_id: str

    def __str__(self) -> str:
        return f"azure-rotator/1/{self.store_id}/{self.item_id}/{self.operation_id}"


def parse_stamp(display_name: str | None) -> Stamp | None:
    """The stamp in a display name, or None: anything but the exact form is somebody else's credential."""
    match = _STAMP.fullmatch(display_name or "")
    return Stamp(*match.groups()) if match else None
