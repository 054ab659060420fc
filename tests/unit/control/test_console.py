"""The console's state: statements run beside the event loop."""

import threading

from sqlalchemy import Connection

from shoal.control.console import Console
from shoal.control.store.changes import Author, Change, events
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from shoal.core.console.refusals import EACH


async def test_work_is_done_in_another_thread_and_recorded(
    database: Database, vault: Vault, author: Author
) -> None:
    console = Console(database, vault, "code")
    threads = []

    def work(change: Change) -> str:
        threads.append(threading.get_ident())
        change.record("Something", "thing")
        return "done"

    assert await console.change(author, work) == "done"
    await console.denied(author, action="Other", resource="thing", reason="no")
    assert threads != [threading.get_ident()]
    assert [event.action for event in await console.read(events)] == ["Other", "Something"]
    assert console.now_s > 1_700_000_000


async def test_a_flood_of_refusals_is_counted_instead_of_recorded(
    database: Database, vault: Vault, author: Author
) -> None:
    console = Console(database, vault, "code")
    console.changes.clock = lambda: 1_800_000_000
    for _ in range(EACH + 5):
        await console.denied(author, action="GetInstance", resource="cri-x", reason="no")
    assert len(await console.read(events)) == EACH
    console.changes.clock = lambda: 1_800_000_060
    await console.denied(author, action="GetInstance", resource="cri-x", reason="no")
    latest, counted, *_ = await console.read(events)
    assert latest.detail == "no"
    assert counted.detail == "5 more like this were refused in the minute after"


async def test_what_is_known_is_read_once_until_something_changes(
    database: Database, vault: Vault, author: Author
) -> None:
    console = Console(database, vault, "code")
    reads = []

    def work(connection: Connection) -> int:
        del connection
        reads.append(1)
        return len(reads)

    assert [await console.known("a", work) for _ in range(3)] == [1, 1, 1]
    await console.change(author, lambda change: change.record("Something", "x"))
    assert await console.known("a", work) == 2
