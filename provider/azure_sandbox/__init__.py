"""A local Azure: Entra login, Microsoft Graph, Resource Manager, blob services and key vaults over TLS on 127.0.0.1.

The real SDKs talk to it under the official host names, through a loopback proxy; nothing leaves the machine:

    $ azure-sandbox start
    $ azure-sandbox run -- python my_program.py

Tests use :class:`azure_sandbox.testing.Sandbox`. The sandbox enforces what Azure enforces (tokens, audiences, roles,
ownership, secret values, expiry), is as late as Azure is (a new secret is refused for a while), and can be told to
fail before or after it commits. It keeps no secret in clear: client secrets and passwords are stored as salted hashes,
and what Azure itself shows again (storage keys, vault secrets) is sealed.
"""

from __future__ import annotations
