"""How an application proves itself without a secret: a certificate's signature, or a token of an issuer that it trusts.

What a caller signs is dated by the machine's clock, so it is judged by that, wherever the sandbox's own clock stands.

Sources: "Microsoft identity platform application authentication certificate credentials" and "Workload identity
federation" on learn.microsoft.com; error numbers as recorded by users of azure/login and azure-workload-identity.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

EXCHANGE_AUDIENCE = "api://AzureADTokenExchange"
"""The audience of a token that is exchanged for one of Entra's, unless the credential names another."""

_SKEW_SECONDS = 300
_UNCHECKED = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}


class NotTrusted(Exception):
    """An assertion that proves nothing; ``number`` is the AADSTS number, the message its text."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedCredential:
    """A token that stands in for a secret: whose it must be, about whom, and for whom."""

    issuer: str
    subject: str
    audience: str = EXCHANGE_AUDIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate that an application has registered."""

    pem: str
    thumbprint: str
    thumbprint_sha256: str
    starts_at: datetime
    ends_at: datetime
    key: RSAPublicKey


def read_certificate(pem: str) -> Certificate:
    """Read a certificate with an RSA key.

    Raises:
        ValueError: it is none.
    """
    found = x509.load_pem_x509_certificate(pem.encode())
    key = found.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("a certificate needs an RSA key")
    return Certificate(
        pem=pem,
        thumbprint=_base64url(found.fingerprint(hashes.SHA1())),  # noqa: S303 (how x5t names certificates)
        thumbprint_sha256=_base64url(found.fingerprint(hashes.SHA256())),
        starts_at=found.not_valid_before_utc,
        ends_at=found.not_valid_after_utc,
        key=key,
    )


def check_certificate(
    assertion: str, certificates: Iterable[str], client_id: str, audiences: Collection[str], wall: datetime
) -> str:
    """Check a client assertion that the client signed itself.

    Args:
        assertion: the JWT.
        certificates: the application's, in PEM.
        client_id: who it must be from and about.
        audiences: the token endpoint under the names that it goes by.
        wall: the machine's instant.

    Returns:
        The certificate's thumbprint.

    Raises:
        NotTrusted: not signed with one of them, out of date, or about somebody else.
    """
    header = _header(assertion)
    given = str(header.get("x5t#S256") or header.get("x5t") or "").rstrip("=")
    for pem in certificates:
        certificate = read_certificate(pem)
        if given not in {certificate.thumbprint, certificate.thumbprint_sha256}:
            continue
        claims = _verified(assertion, certificate.key, ["RS256", "PS256"])
        if claims is None:
            raise NotTrusted(700027, "Client assertion failed signature validation.")
        if not certificate.starts_at <= wall < certificate.ends_at:
            raise NotTrusted(1000502, "The provided certificate is not within its specified lifetime.")
        _check_dates(claims, wall)
        if {str(claims.get("iss")).lower(), str(claims.get("sub")).lower()} != {client_id.lower()}:
            text = "Client assertion application identifier doesn't match 'client_id' parameter."
            raise NotTrusted(700021, text)
        if str(claims.get("aud")).rstrip("/") not in audiences:
            raise NotTrusted(700023, "Client assertion audience claim does not match Realm issuer.")
        return certificate.thumbprint
    raise NotTrusted(
        700027,
        "The certificate with identifier used to sign the client assertion is not registered on application."
        f" [Reason - The key was not found., Thumbprint of key used by client: '{given}'.]",
    )


def check_federated(
    assertion: str, credentials: Iterable[FederatedCredential], issuer_key: RSAPublicKey, wall: datetime
) -> str:
    """Check a client assertion that an issuer signed about the client's workload.

    Args:
        assertion: the JWT.
        credentials: what the application trusts.
        issuer_key: the key of every issuer here; see ``Control.workload_token``.
        wall: the machine's instant.

    Returns:
        The subject.

    Raises:
        NotTrusted: no issuer's signature, out of date, or about a workload that the application doesn't trust.
    """
    claims = _verified(assertion, issuer_key, ["RS256"])
    if claims is None:
        raise NotTrusted(7002127, "The federated token's signature could not be verified with its issuer's keys.")
    _check_dates(claims, wall)
    issuer, subject, audience = (str(claims.get(name)) for name in ("iss", "sub", "aud"))
    prefix = "No matching federated identity record found for presented assertion"
    of_issuer = [item for item in credentials if item.issuer == issuer]
    if not of_issuer:
        raise NotTrusted(700211, f"{prefix} issuer '{issuer}'.")
    of_subject = [item for item in of_issuer if item.subject == subject]
    if not of_subject:
        raise NotTrusted(700213, f"{prefix} subject '{subject}'.")
    if not any(item.audience == audience for item in of_subject):
        raise NotTrusted(700212, f"{prefix} audience '{audience}'.")
    return subject


def is_certificate_assertion(assertion: str) -> bool:
    """Whether an assertion says that a certificate signed it.

    Raises:
        NotTrusted: it is no JWT.
    """
    return bool({"x5t", "x5t#S256"} & set(_header(assertion)))


def _header(assertion: str) -> dict[str, Any]:
    try:
        return dict(jwt.get_unverified_header(assertion))
    except jwt.InvalidTokenError:
        raise NotTrusted(50027, "JWT token is invalid or malformed.") from None


def _verified(assertion: str, key: RSAPublicKey, algorithms: list[str]) -> dict[str, Any] | None:
    try:
        return dict(jwt.decode(assertion, key, algorithms=algorithms, options=_UNCHECKED))  # type: ignore[arg-type]
    except jwt.InvalidTokenError:
        return None


def _check_dates(claims: dict[str, Any], wall: datetime) -> None:
    now = wall.timestamp()
    starts, ends = claims.get("nbf", claims.get("iat", 0)), claims.get("exp")
    if not isinstance(ends, int | float) or not isinstance(starts, int | float):
        raise NotTrusted(50027, "JWT token is invalid or malformed.")
    if not starts - _SKEW_SECONDS <= now < ends + _SKEW_SECONDS:
        raise NotTrusted(
            700024,
            f"Client assertion is not within its valid time range. Current time: {_text(now)}, assertion valid from"
            f" {_text(starts)}, expiry time of assertion {_text(ends)}.",
        )


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
