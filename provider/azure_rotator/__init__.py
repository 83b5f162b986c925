"""Azure Rotated Secrets as code: declare what must rotate in Pulumi, rotate it safely between deploys.

    from azure_rotator import AzureTarget, RotatedSecret, get_value

The public names below are loaded when they are named (PEP 562): ``import azure_rotator`` alone costs next to nothing
and needs no pulumi, which comes with the extra ``azure-rotator[pulumi]``. Their types are in ``__init__.pyi``: imports
that only a type checker makes would look like upward imports of every module below. (And ``typing`` alone would double
the cost of this module.)
"""

from __future__ import annotations

from azure_rotator._version import __version__

__all__ = [
    "AuthenticationCredentials",
    "AzureTarget",
    "ConnectionType",
    "GraceTiming",
    "RotatedSecret",
    "RotatorType",
    "StorageKeyMode",
    "__version__",
    "get_value",
]

_HOMES = {
    "AuthenticationCredentials": ("azure_rotator.domain.model", "AuthMode"),
    "AzureTarget": ("azure_rotator.resources.target", "AzureTarget"),
    "ConnectionType": ("azure_rotator.domain.model", "ConnectionType"),
    "GraceTiming": ("azure_rotator.domain.model", "GraceTiming"),
    "RotatedSecret": ("azure_rotator.resources.secret", "RotatedSecret"),
    "RotatorType": ("azure_rotator.domain.model", "RotatorType"),
    "StorageKeyMode": ("azure_rotator.domain.model", "StorageKeyMode"),
    "get_value": ("azure_rotator.resources.value", "get_value"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    try:
        module, attribute = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = getattr(import_module(module), attribute)
    globals()[name] = found  # from now on without this function
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
