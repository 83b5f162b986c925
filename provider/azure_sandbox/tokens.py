"""Access tokens as Entra issues them to applications, also for users: RS256, v1 claims, one signing key in a JWKS."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

LIFETIME_SECONDS = 3599
MANAGED_LIFETIME_SECONDS = 86399
"""What ``expires_in`` says; the token itself lives from five minutes before its issue, as Entra's do."""


class TokenRefused(Exception):
    """A bearer token that doesn't open a door; the message is what Graph says about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a valid token speaks for, and what he may do as of its issue.

    Attributes:
        object_id: of the service principal; of the user, where it speaks for one.
        roles: Graph app roles of an application.
        scopes: delegated permissions; a token of an application has none.
        is_user: whether it speaks for a user.
    """

    tenant_id: str
    app_id: str
    object_id: str
    roles: frozenset[str]
    scopes: frozenset[str] = frozenset()
    is_user: bool = False


class TokenMint:
    """Issues and checks tokens with one RSA key."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        self._public = key.public_key()
        numbers = self._public.public_numbers()
        self._n = _base64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big"))
        self._e = _base64url(numbers.e.to_bytes(3, "big"))
        self.key_id = _base64url(hashlib.sha256(self._n.encode()).digest()[:20])

    def issue(
        self,
        *,
        tenant_id: str,
        app_id: str,
        object_id: str,
        roles: Sequence[str],
        audience: str,
        now: datetime,
        lifetime_seconds: int = LIFETIME_SECONDS,
    ) -> str:
        """Sign an access token for an application.

        Args:
            tenant_id: the ``tid`` claim, and part of the issuer.
            app_id: the caller's appId.
            object_id: its service principal's object id.
            roles: Graph app roles; left out of the token when empty.
            audience: the resource's URI.
            now: the sandbox's instant.
            lifetime_seconds: how long it is good for.
        """
        claims: dict[str, Any] = {
            **_access_claims(tenant_id, app_id, audience, now),
            "exp": int(now.timestamp()) + lifetime_seconds,
            "idp": f"https://sts.windows.net/{tenant_id}/",
            "idtyp": "app",
            "oid": object_id,
            "sub": object_id,
        }
        if roles:
            claims["roles"] = list(roles)
        return self._sign(claims)

    def issue_for_user(
        self, *, tenant_id: str, app_id: str, claims: Mapping[str, Any], audience: str, now: datetime
    ) -> str:
        """Sign an access token by which an application acts as a user, whom ``claims`` describe."""
        return self._sign({**_access_claims(tenant_id, app_id, audience, now), **claims})

    def issue_identity(
        self, *, tenant_id: str, app_id: str, object_id: str, name: str, upn: str, login: str, now: datetime
    ) -> str:
        """Sign an id token, which tells the client who signed in."""
        issued = int(now.timestamp())
        return self._sign(
            {
                "aud": app_id,
                "iss": f"https://{login}/{tenant_id}/v2.0",
                "iat": issued - 300,
                "nbf": issued - 300,
                "exp": issued + LIFETIME_SECONDS,
                "name": name,
                "oid": object_id,
                "preferred_username": upn,
                "sub": object_id,
                "tid": tenant_id,
                "ver": "2.0",
            }
        )

    def issue_workload(self, *, issuer: str, subject: str, audience: str, wall: datetime) -> str:
        """Sign a token as an issuer outside of Entra does for one of its workloads, dated by the machine's clock."""
        issued = int(wall.timestamp())
        claims = {"iss": issuer, "sub": subject, "aud": audience, "iat": issued, "nbf": issued, "exp": issued + 3600}
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": self.key_id})

    @property
    def public_key(self) -> RSAPublicKey:
        """The key that checks what it signed."""
        return self._public

    def _sign(self, claims: Mapping[str, Any]) -> str:
        return jwt.encode(dict(claims), self._key, algorithm="RS256", headers={"kid": self.key_id, "x5t": self.key_id})

    def check(self, authorization: str, *, audiences: Sequence[str], now: datetime) -> Caller:
        """Check an Authorization header.

        Args:
            authorization: the header's value, ``""`` when absent.
            audiences: accepted audiences; a trailing slash makes no difference.
            now: the sandbox's instant, which a token must not have outlived.

        Raises:
            TokenRefused: no token, a broken or foreign one, another audience, or one that has expired.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("Access token is empty.")
        try:
            claims = jwt.decode(
                token.strip(),
                self._public,
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.DecodeError as error:
            if isinstance(error, jwt.InvalidSignatureError):
                raise TokenRefused("Access token validation failure. Invalid signature.") from None
            if "." not in token:
                raise TokenRefused("IDX14100: JWT is not well formed, there are no dots (.).") from None
            raise TokenRefused("CompactToken parsing failed.") from None
        except jwt.InvalidTokenError:
            raise TokenRefused("CompactToken parsing failed.") from None
        if "appid" not in claims:
            raise TokenRefused("Access token validation failure. Invalid audience.")  # an id token
        if now.timestamp() >= claims["exp"]:
            raise TokenRefused("Lifetime validation failed, the token is expired.")
        if claims["aud"].rstrip("/") not in audiences:
            raise TokenRefused("Access token validation failure. Invalid audience.")
        return Caller(
            tenant_id=claims["tid"],
            app_id=claims["appid"],
            object_id=claims["oid"],
            roles=frozenset(claims.get("roles", ())),
            scopes=frozenset(claims.get("scp", "").split()),
            is_user=claims.get("idtyp") == "user",
        )

    def jwks(self) -> dict[str, Any]:
        """The key set that the discovery document points to."""
        return {
            "keys": [
                {
                    "kty": "RSA",
                    "use": "sig",
                    "alg": "RS256",
                    "kid": self.key_id,
                    "x5t": self.key_id,
                    "n": self._n,
                    "e": self._e,
                }
            ]
        }


def _access_claims(tenant_id: str, app_id: str, audience: str, now: datetime) -> dict[str, Any]:
    issued = int(now.timestamp())
    return {
        "aud": audience,
        "iss": f"https://sts.windows.net/{tenant_id}/",
        "iat": issued - 300,
        "nbf": issued - 300,
        "exp": issued + LIFETIME_SECONDS,
        "appid": app_id,
        "appidacr": "1",
        "tid": tenant_id,
        "uti": uuid.uuid4().hex[:22],
        "ver": "1.0",
    }


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
