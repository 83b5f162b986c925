"""The blob service of every account, as far as it proves keys: who signs with a present key gets an answer.

There are no containers in it, so a list of them is empty; the service's properties are its defaults. With Azurite
behind it, Azurite answers instead (:mod:`azure_sandbox.azurite`).

Sources: "Authorize with Shared Key", "List Containers", "Get Blob Service Properties" and "Blob service error codes" on
learn.microsoft.com.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from xml.sax.saxutils import escape

from azure_sandbox.accounts import ACCESS_KEYS, StorageAccount
from azure_sandbox.azurite import Azurite
from azure_sandbox.clouds import CLOUDS, data_host
from azure_sandbox.directory import Directory
from azure_sandbox.exchange import Answer, Call, Operation, Refusal, operation
from azure_sandbox.safe import Safe
from azure_sandbox.sharedkey import is_signed_with, string_to_sign
from azure_sandbox.tokens import TokenMint, TokenRefused

_NOT_AUTHENTICATED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly"
    " including the signature."
)
_SEE_CHALLENGE = (
    "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
)
_SKEW = timedelta(minutes=15)
_HEAD = '<?xml version="1.0" encoding="utf-8"?>'
_PROPERTIES = (
    "<StorageServiceProperties>"
    "<Logging><Version>1.0</Version><Read>false</Read><Write>false</Write><Delete>false</Delete>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>"
    "<HourMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics>"
    "<MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics>"
    "<Cors /><DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>"
    "<StaticWebsite><Enabled>false</Enabled></StaticWebsite>"
    "</StorageServiceProperties>"
)


class Blob:
    """The blob surface of all accounts in all clouds."""

    name = "blob"

    def __init__(
        self,
        directory: Directory,
        mint: TokenMint,
        safe: Safe,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``wall`` is the machine's clock, by which callers date what they sign; the sandbox's own may be elsewhere."""
        self._directory = directory
        self._mint = mint
        self._safe = safe
        self._wall = wall
        self.operations: tuple[Operation, ...] = (operation("blob.getService", "GET", "/", self._get_service),)

    def identify(self, call: Call) -> None:
        """Note the account, and which of the two questions about the service it is."""
        if (found := data_host(call.host)) is not None:
            call.entry.account = found[2]
        if (account := self._find(call)) is not None:
            call.entry.tenant_id = account.tenant_id
        if call.entry.operation == "blob.getService":
            if call.query.get("comp") == "list":
                call.entry.operation = "blob.listContainers"
            elif call.query.get("comp") == "properties":
                call.entry.operation = "blob.getServiceProperties"

    def error(self, call: Call, status: int | None, code: str | None, message: str | None) -> Answer:
        """An XML error, whose code stands in a header too."""
        return _error(call, status or 500, code or "InternalError", message or "Server encountered an internal error.")

    def unknown(self, call: Call, *, path_exists: bool) -> Answer:
        """403 as everywhere, then 405 for a method and 404 for a path."""
        try:
            self._authenticate(call)
        except Refusal as refusal:
            return refusal.answer
        if path_exists:
            return _error(call, 405, "UnsupportedHttpVerb", "The resource doesn't support specified Http Verb.")
        return _error(call, 404, "ResourceNotFound", "The specified resource does not exist.")

    async def passed_on(self, call: Call, azurite: Azurite) -> Answer:
        """What Azurite answers, after the refusals that it doesn't know."""
        account = self._find(call)
        if account is None:
            return _error(call, 404, "ResourceNotFound", "The specified resource does not exist.")
        by_key = call.headers.get("authorization", "").startswith("SharedKey") or "sig" in call.query
        if by_key and account.allow_shared_key is False:
            return _not_permitted(call)
        try:
            return await azurite.pass_on(call)
        except (OSError, HTTPException):
            text = "The server is currently unable to receive requests. Please retry your request."
            return _error(call, 503, "ServerBusy", text)

    def _get_service(self, call: Call) -> Answer:
        account = self._authenticate(call)
        if call.entry.operation == "blob.listContainers":
            host = self._directory.tenants[account.tenant_id].cloud.blob_host(account.name)
            return _xml(
                call,
                f'<EnumerationResults ServiceEndpoint="https://{host}/"><Containers /><NextMarker />'
                "</EnumerationResults>",
            )
        if call.entry.operation == "blob.getServiceProperties" and call.query.get("restype") == "service":
            return _xml(call, _PROPERTIES)
        text = "Value for one of the query parameters specified in the request URI is invalid."
        raise Refusal(_error(call, 400, "InvalidQueryParameterValue", text))

    # Who signs.

    def _find(self, call: Call) -> StorageAccount | None:
        found = data_host(call.host)
        return self._directory.find_account(found[2], found[0]) if found else None

    def _authenticate(self, call: Call) -> StorageAccount:
        """The account, for a request that one of its access keys signed.

        Raises:
            Refusal: 401 without any authorization, 403 for a bad one, 400 without the headers that are signed.
        """
        account = self._find(call)
        if account is None:
            raise Refusal(_error(call, 404, "ResourceNotFound", "The specified resource does not exist."))
        scheme, _, given = call.headers.get("authorization", "").partition(" ")
        if not scheme:
            raise Refusal(self._unauthenticated(call))
        if scheme.lower() == "bearer":
            self._refuse_bearer(call)
        if scheme != "SharedKey":
            raise Refusal(_not_authenticated(call, f"Authentication scheme {scheme} is not supported."))
        if account.allow_shared_key is False:
            raise Refusal(_not_permitted(call))
        self._check_date(call)
        name, _, signature = given.partition(":")
        text = string_to_sign(call.method, account.name, call.raw_path, call.query, call.headers)
        lag = timedelta(seconds=self._directory.behaviour_of(account).key_lag_seconds)
        for key in account.keys:
            value = key.accepted(self._safe, call.now, lag) if key.name in ACCESS_KEYS else None
            if name == account.name and value and is_signed_with(value, text, signature):
                call.entry.key_id = key.name
                return account
        detail = (
            "The MAC signature found in the HTTP request is not the same as any computed signature. Server used"
            f" following string to sign: '{text}'."
        )
        raise Refusal(_not_authenticated(call, detail))

    def _check_date(self, call: Call) -> None:
        if not call.headers.get("x-ms-version"):
            text = "An HTTP header that's mandatory for this request is not specified."
            raise Refusal(_error(call, 400, "MissingRequiredHeader", text))
        try:
            dated = parsedate_to_datetime(call.headers.get("x-ms-date") or call.headers.get("date", ""))
        except ValueError:
            raise Refusal(_not_authenticated(call, "The Date header in the request is incorrect.")) from None
        if dated.tzinfo is None or min(abs(dated - self._wall()), abs(dated - call.now)) > _SKEW:
            raise Refusal(_not_authenticated(call, "Request date header too old or too new."))

    def _refuse_bearer(self, call: Call) -> None:
        audiences = (call.cloud or CLOUDS["public"]).data_plane
        try:
            caller = self._mint.check(call.headers["authorization"], audiences=audiences, now=call.now)
        except TokenRefused as refused:
            made = _error(call, 401, "InvalidAuthenticationInfo", _SEE_CHALLENGE, detail=str(refused))
            raise Refusal(made) from None
        call.entry.principal = caller.app_id
        # No role that a seed can grant opens the data plane.
        text = "This request is not authorized to perform this operation using this permission."
        raise Refusal(_error(call, 403, "AuthorizationPermissionMismatch", text))

    def _unauthenticated(self, call: Call) -> Answer:
        login = (call.cloud or CLOUDS["public"]).login
        made = _error(call, 401, "NoAuthenticationInformation", _SEE_CHALLENGE)
        uri = f"https://{login}/common/oauth2/authorize"
        challenge = f"Bearer authorization_uri={uri} resource_id=https://storage.azure.com"
        return Answer(
            status=401,
            body=made.body,
            headers={**made.headers, "www-authenticate": challenge},
            error_code=made.error_code,
        )


def _headers(call: Call) -> dict[str, str]:
    headers = {
        "content-type": "application/xml",
        "server": "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-request-id": call.request_id,
        "x-ms-version": call.headers.get("x-ms-version", "2021-08-06"),
    }
    if client_id := call.headers.get("x-ms-client-request-id"):
        headers["x-ms-client-request-id"] = client_id
    return headers


def _xml(call: Call, body: str) -> Answer:
    return Answer(status=200, body=f"{_HEAD}{body}".encode(), headers=_headers(call))


def _not_permitted(call: Call) -> Answer:
    text = "Key based authentication is not permitted on this storage account."
    return _error(call, 403, "KeyBasedAuthenticationNotPermitted", text)


def _not_authenticated(call: Call, detail: str) -> Answer:
    return _error(call, 403, "AuthenticationFailed", _NOT_AUTHENTICATED, detail=detail)


def _error(call: Call, status: int, code: str, message: str, *, detail: str | None = None) -> Answer:
    text = f"{message}\nRequestId:{call.request_id}\nTime:{call.now.strftime('%Y-%m-%dT%H:%M:%S.%f0Z')}"
    more = f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>" if detail else ""
    body = f"{_HEAD}<Error><Code>{escape(code)}</Code><Message>{escape(text)}</Message>{more}</Error>"
    headers = {**_headers(call), "x-ms-error-code": code}
    return Answer(status=status, body=body.encode(), headers=headers, error_code=code)
