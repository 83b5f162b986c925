"""The sandbox's certificate authority, signing key and safe, kept in the state folder so that a start is quick."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from azure_sandbox.clouds import HOSTS, LOOPBACK_HOSTS, WILDCARDS
from azure_sandbox.safe import KEY_BYTES, Safe


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Where the state folder keeps what TLS and tokens need.

    Attributes:
        ca_file: the sandbox's own root certificate, alone.
        bundle_file: that root and the system's; what CA variables should name.
        server_file: key and chain of the TLS server, 0600.
        signing_key: RS256 key of the token endpoint.
        safe: what seals values that must be readable.
        identity_header: what App Service's identity endpoint wants to be shown.
    """

    ca_file: Path
    bundle_file: Path
    server_file: Path
    signing_key: RSAPrivateKey
    safe: Safe
    identity_header: str


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def open_authority(state: Path) -> Authority:
    """Load the authority of a state folder, or make it.

    The root and the signing key stay for good, so that tokens and CA bundles outlive a restart. The server's
    certificate is issued anew at each start: that costs a few milliseconds and follows the list of hosts.
    """
    folder = state / "authority"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = _open_root(folder)
    certificate = root.issue_cert(
        *sorted(HOSTS), *sorted(WILDCARDS), *sorted(LOOPBACK_HOSTS), common_name="azure-sandbox"
    )
    server_file = folder / "server.pem"
    write_private(server_file, certificate.private_key_and_cert_chain_pem.bytes())
    ca_file = state / "ca.pem"
    bundle_file = state / "ca-bundle.pem"
    write_private(ca_file, root.cert_pem.bytes())
    write_private(bundle_file, root.cert_pem.bytes() + _system_roots(bundle_file))
    return Authority(
        ca_file=ca_file,
        bundle_file=bundle_file,
        server_file=server_file,
        signing_key=_open_signing_key(folder),
        safe=_open_safe(folder),
        identity_header=_open_identity_header(folder),
    )


def _open_root(folder: Path) -> trustme.CA:
    key_file, certificate_file = folder / "root-key.pem", folder / "root.pem"
    if key_file.exists() and certificate_file.exists():
        return trustme.CA.from_pem(certificate_file.read_bytes(), key_file.read_bytes())
    root = trustme.CA(organization_name="azure-sandbox", organization_unit_name="local use only")
    write_private(key_file, root.private_key_pem.bytes())
    write_private(certificate_file, root.cert_pem.bytes())
    return root


def _open_signing_key(folder: Path) -> RSAPrivateKey:
    path = folder / "token-key.pem"
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, RSAPrivateKey):
            raise ValueError(f"{path} holds no RSA key")
        return key
    key = generate_private_key(public_exponent=65537, key_size=2048)
    write_private(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    return key


def _open_safe(folder: Path) -> Safe:
    path = folder / "safe-key"
    if not path.exists():
        write_private(path, os.urandom(KEY_BYTES))
    return Safe(path.read_bytes())


def _open_identity_header(folder: Path) -> str:
    path = folder / "identity-header"
    if not path.exists():
        write_private(path, secrets.token_hex(16).encode())
    return path.read_text()


def _system_roots(own_bundle: Path) -> bytes:
    """The roots that programs here trusted before, so that the bundle adds to them instead of replacing them.

    A sandbox that is started by a program that `run` started finds its own bundle in SSL_CERT_FILE: that one would grow
    with each start.
    """
    paths = ssl.get_default_verify_paths()
    candidates = [paths.cafile, paths.openssl_cafile]
    with contextlib.suppress(ImportError):
        import certifi

        candidates.append(certifi.where())
    for candidate in candidates:
        if candidate and Path(candidate).is_file() and Path(candidate).resolve() != own_bundle.resolve():
            return Path(candidate).read_bytes()
    return b""
