"""Certificates for applications that sign in with one."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    key: rsa.RSAPrivateKey
    pem: str
    thumbprint: str
    thumbprint_sha256: str


def certificate(days: int = 30) -> Certificate:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    start = datetime.now(UTC) - timedelta(days=60)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(datetime.now(UTC) + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    marks = [
        base64.urlsafe_b64encode(made.fingerprint(kind)).rstrip(b"=").decode()
        for kind in (hashes.SHA1(), hashes.SHA256())  # noqa: S303
    ]
    return Certificate(key, made.public_bytes(serialization.Encoding.PEM).decode(), *marks)
