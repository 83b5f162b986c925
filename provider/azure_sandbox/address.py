"""Where the sandbox of a state folder listens, as it wrote it down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ADDRESS_FILE = "server.json"


def read_address(state: Path) -> dict[str, Any] | None:
    """Where the sandbox of a state folder listens, or listened last; None before its first start."""
    try:
        found = json.loads((state / ADDRESS_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None
