"""What a resource class does to arguments before Pulumi sees them."""

from __future__ import annotations

import pulumi
from pulumi.runtime import config

from azure_rotator.domain.parameters import is_reference, literal_text

SHORTEST = 8
"""Below this length a credential is looked for as a whole configuration value only, not as a part of one."""


def marked(argument: str, credential: pulumi.Input[str] | None) -> pulumi.Input[str] | None:
    """A literal credential as a secret, whatever the program made of it; a reference is none and stays readable.

    Raises:
        RunError: It stands in the stack's configuration in clear. Pulumi copies such a configuration into the state, as
            inputs of the provider, and no marking of ours could keep it out.
    """
    if credential is None:
        return None
    if isinstance(credential, str):
        return _marked(argument, credential)
    given: pulumi.Output[str] = pulumi.Output.from_input(credential)
    return given.apply(lambda value: _marked(argument, value))


def _marked(argument: str, value: str) -> pulumi.Input[str]:
    if is_reference(value):
        return value
    key = _key_in_clear(literal_text(value))
    if key is not None:
        raise pulumi.RunError(
            f"ParameterInvalid: {argument} stands in clear in the stack's configuration, as {key}, "
            "and Pulumi copies that into the state\n"
            f"hint: pulumi config set --secret {key}, or give env:NAME or file:PATH"
        )
    return pulumi.Output.secret(value)


def _key_in_clear(credential: str) -> str | None:
    """The configuration key that is no secret and holds the credential, alone or as a part."""
    values = {**config.get_config_env(), **config.CONFIG.get()}
    secret_keys = config.get_config_secret_keys_env()
    for key, value in values.items():
        if key in secret_keys or config.is_config_secret(key):
            continue
        if value == credential or (len(credential) >= SHORTEST and credential in str(value)):
            return key
    return None


def owner_of(resource_name: str) -> str:
    """``project/stack/resource``: whose the thing is, so that a create that was killed can be taken up again."""
    return f"{pulumi.get_project()}/{pulumi.get_stack()}/{resource_name}"
