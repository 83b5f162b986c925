"""``env:NAME``, ``file:PATH`` and ``keyvault:https://…/secrets/NAME``: credentials that stay where they are and are
read at each use, by this process.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from azure_rotator.cloud import vault
from azure_rotator.cloud.credentials import REQUEST_SECONDS
from azure_rotator.cloud.endpoints import CLOUDS
from azure_rotator.cloud.loop import LoopThread, shared
from azure_rotator.domain.errors import Rejected
from azure_rotator.domain.secrettext import SecretText

MAX_FILE_BYTES: Final = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ProcessReferences:
    """``References`` over this process's environment and file system, and Azure Key Vault.

    Args:
        request_seconds: The limit of one request to Azure. A reference to a vault is read within twice this.
    """

    def __init__(self, *, request_seconds: float = REQUEST_SECONDS, loop: LoopThread = shared) -> None:
        self._seconds = request_seconds
        self._loop = loop

    def resolve(self, reference: str) -> SecretText:
        """The value behind a reference. What comes after ``file:`` may be relative to the working directory."""
        scheme, _, rest = reference.partition(":")
        if scheme == "env":
            return _from_environment(rest)
        if scheme == "file":
            return _from_file(rest)
        if scheme == "keyvault":
            secret = vault.locate(rest)
            if secret is not None:
                return vault.read_secret(secret, seconds=self._seconds, loop=self._loop)
            raise Rejected(  # not named, and nothing was sent: it may lead anywhere
                "ReferenceUnresolved",
                "what follows keyvault: is no address of a secret in a vault of a known cloud",
                hint="as in keyvault:https://NAME.vault.azure.net/secrets/NAME, with a version behind it where one is"
                f" meant; hosts end in {', '.join(sorted(one.vault_suffix for one in CLOUDS.values()))}",
            )
        # Not named: it may be the secret itself.
        raise Rejected(
            "ReferenceUnresolved",
            "the value is no reference",
            hint="a reference is env:NAME, file:PATH or keyvault:https://…; put literal: before a value that only looks"
            " like one",
        )


def _from_environment(name: str) -> SecretText:
    if not _NAME.fullmatch(name):
        raise Rejected(  # not named either: what follows env: may be a secret that happens to begin so
            "ReferenceUnresolved",
            "what follows env: is no variable's name",
            hint="put literal: before a value that only looks like a reference",
        )
    value = os.environ.get(name)
    if value is None:
        raise _unresolved(f"env:{name}", "the variable is not set", _WHOSE_ENVIRONMENT)
    if not value:
        raise _unresolved(f"env:{name}", "the variable is empty", _WHOSE_ENVIRONMENT)
    return SecretText(value)


def _from_file(path: str) -> SecretText:
    # Raised here and not where the file is read: there the content is at hand, in variables and in Python's own errors.
    found = _read_file(path)
    if isinstance(found, SecretText):
        return found
    raise _unresolved(f"file:{path}", found, "the process that talks to Azure reads it, with the rights of its user")


def _read_file(path: str) -> SecretText | str:
    """The credential, or what is wrong with the file."""
    try:
        if not Path(path).is_file():
            return "there is no such file"
        with Path(path).open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            return f"the file is larger than {MAX_FILE_BYTES // 1024} KiB, which no credential is"
        value = content.decode("utf-8")
    except OSError as error:
        return f"the file cannot be read: {error.strerror or type(error).__name__}"
    except ValueError:
        return "the file is not UTF-8 text"
    value = value.removesuffix("\n").removesuffix("\r")  # an editor's; other white space belongs to the value
    return SecretText(value) if value else "the file is empty"


_WHOSE_ENVIRONMENT: Final = "set it for the process that talks to Azure: pulumi, the command line, and the scheduler"


def _unresolved(reference: str, problem: str, hint: str) -> Rejected:
    return Rejected("ReferenceUnresolved", f"{reference}: {problem}", hint=hint, details={"reference": reference})
