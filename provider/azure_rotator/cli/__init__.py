"""``azure-rotator``: the command line.

Results go to stdout, talk and errors to stderr. The exit code follows from the error's code (features 3.15).
"""

from __future__ import annotations

from azure_rotator.cli.program import main
from azure_rotator.cli.tree import root

__all__ = ["main", "reference_page", "root"]


def reference_page() -> str:
    """docs/cli.md, for `make docs`."""
    from azure_rotator.cli import reference

    return reference.page()
