from azure_rotator._version import __version__ as __version__
from azure_rotator.domain.model import AuthMode as AuthenticationCredentials
from azure_rotator.domain.model import ConnectionType as ConnectionType
from azure_rotator.domain.model import GraceTiming as GraceTiming
from azure_rotator.domain.model import RotatorType as RotatorType
from azure_rotator.domain.model import StorageKeyMode as StorageKeyMode
from azure_rotator.resources.secret import RotatedSecret as RotatedSecret
from azure_rotator.resources.target import AzureTarget as AzureTarget
from azure_rotator.resources.value import get_value as get_value

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
