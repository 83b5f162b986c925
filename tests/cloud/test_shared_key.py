"""Shared Key signatures, against what Microsoft's own client for blobs (azure-storage-blob 12.31) signs."""

from __future__ import annotations

import pytest

from azure_rotator.cloud.shared_key import authorization
from azure_rotator.domain.secrettext import SecretText

KEY = "bWFkZSB1cCBmb3IgdGhpcyB0ZXN0OyBtYWRlIHVwIGZvciB0aGlzIHRlc3Q7IG1hZGUgdXAgZm9yIHRoaXMgdA=="
HEADERS = {"x-ms-version": "2021-12-02", "x-ms-date": "Mon, 23 Nov 2026 09:00:00 GMT"}
QUERY = {"restype": "service", "comp": "properties"}


def sign(key: str = KEY, query: dict[str, str] = QUERY, headers: dict[str, str] = HEADERS) -> str:
    return authorization("acct1", SecretText(key), method="GET", path="/", query=query, headers=headers)


def test_a_signature_is_the_one_that_azure_expects():
    assert sign() == "SharedKey acct1:o2ytRW+cwipnzZl/BdqNmHzb5jXIfmxQ7NlfBM9hcTk="


def test_the_order_in_which_things_are_given_does_not_matter():
    assert sign(query=dict(reversed(QUERY.items())), headers=dict(reversed(HEADERS.items()))) == sign()


@pytest.mark.parametrize("changed", [{"headers": HEADERS | {"range": "bytes=0-1"}}, {"query": {"comp": "list"}}])
def test_all_that_is_sent_is_signed(changed):
    assert sign(**changed) != sign()


@pytest.mark.parametrize("key", ["", "canary", "canary-", "====", "can ary=", "kö"])
def test_a_key_that_is_no_base64_is_refused_without_being_shown(key):
    with pytest.raises(ValueError, match="no base64") as caught:
        sign(key)
    assert caught.value.__context__ is None
    assert "canary" not in repr(caught.value)
