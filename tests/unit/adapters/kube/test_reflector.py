"""What is asked of the API server, how often, and what its answers lead to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.kube.api import KubeAccess
from shoal.adapters.kube.reflector import Reflector, Waits
from shoal.testing.kube.faults import Hang, Refuse
from unit.adapters.kube.serving import QUICK, Cluster, cluster
from unit.agent.driving import until

MAPS = "/api/v1/namespaces/a/configmaps"
SELECTOR = "app=x"


@dataclass(slots=True)
class Names:
    """A mirror of names, and how often it was replaced."""

    held: set[str] = field(default_factory=set)
    lists: int = 0

    def replace(self, objects: Sequence[dict[str, Any]]) -> None:
        """Know these."""
        self.lists += 1
        self.held = {thing["metadata"]["name"] for thing in objects}

    def put(self, thing: dict[str, Any]) -> None:
        """Know one more."""
        self.held.add(thing["metadata"]["name"])

    def drop(self, thing: dict[str, Any]) -> None:
        """Know one less."""
        self.held.discard(thing["metadata"]["name"])


def put(made: Cluster, name: str, label: str = "x") -> None:
    made.server.put(f"{MAPS}/{name}", {"metadata": {"labels": {"app": label}}})


@asynccontextmanager
async def mirrored(made: Cluster, waits: Waits = QUICK) -> AsyncIterator[Names]:
    names = Names()
    reflector = Reflector(made.access, MAPS, selector=SELECTOR, waits=waits)
    task = asyncio.ensure_future(reflector.run(names))
    try:
        yield names
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def watched(made: Cluster) -> None:
    await until(lambda: made.server.watches == 1)


def asked(made: Cluster, verb: str) -> list[dict[str, str]]:
    return [seen.query for seen in made.server.requests if seen.verb == verb]


async def test_the_first_list_comes_from_the_cache_and_the_watch_begins_there(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        put(made, "one")
        put(made, "other", "y")
        async with mirrored(made) as names:
            await watched(made)
            assert names.held == {"one"}
            assert asked(made, "list")[0]["resourceVersion"] == "0"
            (watch,) = asked(made, "watch")
            assert watch["resourceVersion"] == str(made.server.objects.version)
            assert watch["allowWatchBookmarks"] == "true"
            assert 300 <= int(watch["timeoutSeconds"]) <= 600


async def test_an_object_that_no_longer_matches_is_dropped(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, mirrored(made) as names:
        await watched(made)
        put(made, "one")
        await until(lambda: names.held == {"one"})
        put(made, "one", "y")
        await until(lambda: names.held == set())


async def test_a_cut_watch_is_resumed_where_it_was(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, mirrored(made) as names:
        await watched(made)
        put(made, "one")
        await until(lambda: names.held == {"one"})
        at = made.server.objects.version
        made.server.cut_watches()
        await until(lambda: len(asked(made, "watch")) == 2)
        put(made, "two")
        await until(lambda: names.held == {"one", "two"})
        assert asked(made, "watch")[1]["resourceVersion"] == str(at)
        assert names.lists == 1


async def test_a_watch_that_ends_in_order_is_begun_anew_without_a_list(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, mirrored(made) as names:
        await watched(made)
        made.server.end_watches()
        await until(lambda: len(asked(made, "watch")) == 2)
        assert names.lists == 1


async def test_bookmarks_move_the_version_so_that_nothing_is_too_old(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, mirrored(made) as names:
        await watched(made)
        put(made, "none-of-ours", "y")
        made.server.objects.forget()
        made.server.send_bookmarks()
        await asyncio.sleep(0.1)
        made.server.cut_watches()
        await until(lambda: len(asked(made, "watch")) >= 2 and made.server.watches == 1)
        assert names.lists == 1


async def test_a_watch_that_expires_leads_to_a_list_that_is_not_the_cache_s(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made, mirrored(made) as names:
        await watched(made)
        put(made, "one")
        await until(lambda: names.held == {"one"})
        made.server.objects.delete(next(iter(made.server.objects._objects)))  # unseen by the watch
        made.server.expire_watches()
        await until(lambda: names.lists == 2 and names.held == set())
        assert "resourceVersion" not in asked(made, "list")[1]


async def test_a_long_list_is_read_in_pages(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        for number in range(45):
            put(made, f"map-{number:02}")
        made.server.faults.add(Refuse(410), verb="list")  # so that the list is not the cache's
        async with mirrored(made) as names:
            await until(lambda: len(names.held) == 45)
            assert len(asked(made, "list")) == 4
            assert names.lists == 1


async def test_a_page_that_is_too_old_begins_the_list_again(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        for number in range(45):
            put(made, f"map-{number:02}")
        made.server.faults.add(Refuse(410), verb="list")
        made.server.faults.add(Refuse(410), verb="list")
        async with mirrored(made) as names:
            await until(lambda: len(names.held) == 45)


async def test_a_server_that_falls_silent_is_asked_again(tmp_path: Path) -> None:
    silent = replace(QUICK, silence_s=0.1)
    async with cluster(tmp_path) as made, mirrored(made, silent) as names:
        await until(lambda: len(asked(made, "watch")) >= 3)
        assert names.lists == 1


async def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        made.server.faults.add(Refuse(429, retry_after_s=1), verb="list")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with mirrored(made):
            await watched(made)
        assert loop.time() - began_s >= 1


async def test_a_new_token_is_read_for_the_next_request(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, mirrored(made):
        await watched(made)
        made.issue_token("second")
        made.server.end_watches()
        await until(lambda: made.server.requests[-1].token == "second")
        await watched(made)


async def test_a_token_that_is_refused_is_no_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(tmp_path) as made:
        made.server.tokens = {"another"}
        async with mirrored(made) as names:
            await until(lambda: len(made.server.requests) >= 3)
            made.issue_token("renewed")
            await until(lambda: names.lists == 1)
    warnings = [r for r in caplog.records if r.message == "kubernetes_failed"]
    assert len(warnings) == 1
    assert "answered 401" in warnings[0].__dict__["error"]
    assert "first" not in warnings[0].__dict__["error"]


async def test_a_server_of_another_authority_is_not_shown_the_token(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        ours = tmp_path / "ca.crt"
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        right = ours.read_bytes()
        async with cluster(theirs):
            ours.write_bytes((theirs / "ca.crt").read_bytes())
        async with mirrored(made) as names:
            await asyncio.sleep(0.2)
            assert not made.server.requests
            ours.write_bytes(right)  # as the kubelet does: the next connection trusts it
            await until(lambda: names.lists == 1)


async def test_a_missing_account_is_waited_for(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        (tmp_path / "token").unlink()
        async with mirrored(made) as names:
            await asyncio.sleep(0.1)
            made.issue_token("there")
            await until(lambda: names.lists == 1)


async def test_a_watch_that_hangs_before_its_answer_is_given_up(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        made.server.faults.add(Hang(), verb="watch")
        async with mirrored(made, replace(QUICK, silence_s=0.1)):
            await watched(made)


def test_pauses_double_up_to_the_most_and_are_jittered(tmp_path: Path) -> None:
    def pauses(jitter: float) -> list[float]:
        reflector = Reflector(
            KubeAccess("https://a", tmp_path), MAPS, selector="", jitter=lambda: jitter
        )
        return [round(reflector._pause_s(), 3) for _ in range(8)]

    assert pauses(0.0) == [0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15.0, 15.0]
    assert pauses(1.0) == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
