"""The audit log and the outbox: complete, in order, filtered by what a person asks for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from azure_rotator.store.unit_of_work import SqlUnitOfWork
from tests.store import samples
from tests.store.samples import NOW

READ = samples.line("get_rotated_secret_value", "/a", at=NOW)
ROTATED = samples.line("rotate_item", "/a", at=NOW + timedelta(hours=1), details={"version": 2, "tags": ["ü"]})
DELETED = samples.line("delete_item", "/b", at=NOW + timedelta(hours=2), result="AzurePermissionMissing")
# Clocks of several machines disagree: the order is that of writing.
LATE = samples.line("rotate_item", "/b", at=NOW - timedelta(hours=1))

ASKED: dict[str, tuple[dict[str, object], list[object]]] = {
    "everything": ({}, [READ, ROTATED, DELETED, LATE]),
    "one path": ({"path": "/a"}, [READ, ROTATED]),
    "since an instant, inclusive": ({"since": ROTATED.at}, [ROTATED, DELETED]),
    "one action": ({"action": "rotate_item"}, [ROTATED, LATE]),
    "all three": ({"path": "/a", "since": NOW, "action": "rotate_item"}, [ROTATED]),
    "a path that is a beginning": ({"path": "/"}, []),
}


@pytest.mark.parametrize(("asked", "answer"), ASKED.values(), ids=list(ASKED))
def test_lines_are_found_again(store: SqlUnitOfWork, asked, answer):
    for line in (READ, ROTATED, DELETED, LATE):
        store.write_audit(line)
    assert list(store.audit_lines(**asked)) == answer


def test_events_stay_in_the_order_of_writing(store: SqlUnitOfWork):
    item, first = samples.add_item(store)
    _, second = samples.published(store, item, first)
    samples.published(store, item, second, number=3)
    events = store.events()
    assert [event.item_id for event in events] == [item.item_id] * 2
    assert len({event.event_id for event in events}) == 2
