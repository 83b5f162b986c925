"""The Azure adapters: the only place that imports an Azure SDK, and only when the first call is made.

    from azure_rotator.cloud import EntraLogin, GraphDirectory, ProcessReferences, close

    login, directory = EntraLogin(), GraphDirectory()
    login.prove(identity)                                  # one token request on a fresh connection
    application = directory.get_application(identity, app_id)
    close()                                                # or leave it to the interpreter's exit

What they promise, beside the ports' own words:

- **One write is one request**, plus one token request. No SDK retries: a retried addPassword leaves secrets that nobody
  knows. (A token that was kept, which only the cloud identity has, is renewed once when Graph answers 401.)
- **One proof is one request**, on a connection of its own, and nobody's cache answers it.
- **A call ends**: each request within ``request_seconds``, the call within twice that, below any lease.
- **Errors are ours**: told apart by status and code, never by text; without a cause or context, since the SDKs' errors
  hold the request with its secret.
"""

from __future__ import annotations

from azure_rotator.cloud.credentials import EntraLogin
from azure_rotator.cloud.graph import GraphDirectory
from azure_rotator.cloud.loop import close
from azure_rotator.cloud.references import ProcessReferences
from azure_rotator.cloud.storage import ArmStorageKeys
from azure_rotator.cloud.users import EntraUsers

__all__ = ["ArmStorageKeys", "EntraLogin", "EntraUsers", "GraphDirectory", "ProcessReferences", "close"]
