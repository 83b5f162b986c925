"""What a resource class does to arguments before Pulumi sees them."""

from __future__ import annotations

import pulumi

from azure_rotator.domain.parameters import is_reference


def marked(credential: pulumi.Input[str] | None) -> pulumi.Input[str] | None:
    """A literal credential as a secret, whatever the program made of it; a reference is none and stays readable."""
    if credential is None:
        return None
    return pulumi.Output.from_input(credential).apply(_marked)


def _marked(value: str) -> pulumi.Input[str]:
    return value if is_reference(value) else pulumi.Output.secret(value)


def owner_of(resource_name: str) -> str:
    """``project/stack/resource``: whose the thing is, so that a create that was killed can be taken up again."""
    return f"{pulumi.get_project()}/{pulumi.get_stack()}/{resource_name}"
