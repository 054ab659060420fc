"""The audit trail: no change without a line, no line for what did not happen."""

import contextlib

import pytest

from shoal.control.store import changes as module
from shoal.control.store.changes import Author, Changes, Unrecorded, events, unix_now
from shoal.control.store.database import Database


def test_a_change_and_its_line_are_one(
    database: Database, changes: Changes, author: Author
) -> None:
    with contextlib.suppress(ZeroDivisionError), changes.by(author) as change:
        change.record("Something", "thing/1")
        raise ZeroDivisionError
    with database.read() as connection:
        assert events(connection) == []


def test_a_change_without_a_line_is_rolled_back(changes: Changes, author: Author) -> None:
    with pytest.raises(Unrecorded), changes.by(author):
        pass


def test_routine_needs_no_line(changes: Changes, author: Author) -> None:
    with changes.by(author) as change:
        change.is_routine()


def test_events_come_newest_first_and_can_be_narrowed(
    database: Database, changes: Changes, author: Author
) -> None:
    for number in range(3):
        with changes.by(author) as change:
            change.record("Something", f"thing/{number}", "detail")
    changes.denied(author, action="Other", resource="thing/0", reason="no")
    with database.read() as connection:
        assert [event.id for event in events(connection)] == [4, 3, 2, 1]
        assert [event.id for event in events(connection, before_id=3, limit=1)] == [2]
        assert [event.id for event in events(connection, resource="thing/0")] == [4, 1]
        (denied,) = events(connection, only_denied=True)
    assert (denied.action, denied.allowed, denied.detail) == ("Other", False, "no")
    assert (denied.actor, denied.source, denied.request_id) == ("admin", "127.0.0.1", "R-1")


def test_the_trail_has_an_end(
    database: Database, changes: Changes, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_EVENTS", 5)
    monkeypatch.setattr(module, "_TRIM_EVERY", 10)
    for _ in range(10):
        changes.denied(author, action="a", resource="r", reason="x" * 5000)
    with database.read() as connection:
        kept = events(connection)
    assert [event.id for event in kept] == [10, 9, 8, 7, 6]
    assert len(kept[0].detail) == 1000


def test_time_is_whole_seconds_of_this_century() -> None:
    assert 1_700_000_000 < unix_now() < 4_000_000_000
