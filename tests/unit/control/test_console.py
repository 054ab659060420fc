"""The console's state: statements run beside the event loop."""

import threading

from shoal.control.console import Console
from shoal.control.store.changes import Author, Change, events
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault


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
