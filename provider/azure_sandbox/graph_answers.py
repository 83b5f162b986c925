"""How Microsoft Graph answers: OData envelopes, headers and refusals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from azure_sandbox import odata
from azure_sandbox.clouds import HOSTS, PUBLIC
from azure_sandbox.exchange import Answer, Call, Refusal

_DIAGNOSTICS = json.dumps(
    {"ServerInfo": {"DataCenter": "Sandbox", "Slice": "E", "Ring": "0", "ScaleUnit": "000", "RoleInstance": "LOCAL"}},
    separators=(",", ":"),
)


def root(call: Call) -> str:
    """The service root as this caller sees it; contexts and links start with it."""
    return f"https://{call.host if call.host in HOSTS else PUBLIC.graph[0]}/v1.0"


def resource_units(call: Call) -> int:
    """What a call costs: a list of directory objects counts double, unless it selects what it shows."""
    return 2 if call.entry.operation.startswith("graph.list") and "$select" not in call.query else 1


def headers(call: Call) -> dict[str, str]:
    """The headers of every Graph answer."""
    return {
        "content-type": "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false"
        ";charset=utf-8",
        "odata-version": "4.0",
        "request-id": call.request_id,
        "client-request-id": call.client_request_id,
        "x-ms-resource-unit": str(resource_units(call)),
        "x-ms-ags-diagnostic": _DIAGNOSTICS,
    }


def error(call: Call, status: int, code: str, message: str) -> Answer:
    """An error; its inner date carries no zone, as the service's."""
    inner = {
        "date": call.now.strftime("%Y-%m-%dT%H:%M:%S"),
        "request-id": call.request_id,
        "client-request-id": call.client_request_id,
    }
    return Answer(
        status=status,
        body={"error": {"code": code, "message": message, "innerError": inner}},
        headers=headers(call) | {"content-type": "application/json"},
        error_code=code,
    )


def denied(call: Call) -> Refusal:
    """403: a role or the ownership is missing."""
    return Refusal(
        error(call, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    )


def bad_request(call: Call, message: str, code: str = "Request_BadRequest") -> Refusal:
    """400: the request itself is wrong."""
    return Refusal(error(call, 400, code, message))


def unreadable(call: Call) -> Refusal:
    """400: the body is no JSON object."""
    text = (
        "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON"
        " format."
    )
    return bad_request(call, text, "BadRequest")


def not_found(call: Call, id_: str) -> Refusal:
    """404: no such object in the caller's tenant."""
    text = f"Resource '{id_}' does not exist or one of its queried reference-property objects are not present."
    return Refusal(error(call, 404, "Request_ResourceNotFound", text))


def entity(call: Call, kind: str, row: Mapping[str, Any]) -> Answer:
    """200 with one object, cut to $select."""
    context = f"{root(call)}/$metadata#{kind}{odata.context_suffix(call.query)}/$entity"
    return Answer(status=200, body={"@odata.context": context, **odata.select(row, call.query)}, headers=headers(call))


def collection(call: Call, kind: str, rows: Sequence[Mapping[str, Any]]) -> Answer:
    """200 with a page of objects, cut to $select."""
    shown = page(call, rows)
    context = f"{root(call)}/$metadata#{kind}{odata.context_suffix(call.query)}"
    value = [odata.select(row, call.query) for row in shown.pop("value")]
    return Answer(status=200, body={"@odata.context": context, **shown, "value": value}, headers=headers(call))


def page(call: Call, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One page of rows as the query's $top and $skiptoken ask for.

    Raises:
        Refusal: 400, the query can't be read.
    """
    try:
        return odata.page(rows, call.query, f"https://{call.headers.get('host', call.host)}{call.path}")
    except odata.InvalidQuery as invalid:
        raise bad_request(call, str(invalid)) from None
