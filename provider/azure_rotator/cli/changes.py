"""What an update sends: only what was given; an empty text resets to the default (features 2.1)."""

from __future__ import annotations

from collections.abc import Mapping

from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.parameters import Subject, secret_parameters


def changes_of(
    subject: Subject, given: Mapping[str, object], new_name: str | None, *, beside: bool = False
) -> dict[str, object]:
    """Changes by parameter name; None resets.

    Args:
        beside: There is something to change beside the parameters.

    Raises:
        Rejected: ``ParameterMissing``, nothing is to be changed.
    """
    credentials = secret_parameters(subject)
    changes: dict[str, object] = {}
    for name, value in given.items():
        if value is None:
            continue
        empty = value in ("", ("",))
        # An empty credential is a mistake, not a wish: the rules of the parameter say so.
        changes[name] = None if empty and name not in credentials else value
    if new_name is not None:
        changes["name"] = new_name
    if not changes and not beside:
        raise Rejected("ParameterMissing", "there is nothing to change", hint="give what shall be different")
    return changes
