"""NodeFarewell: waits for the agent to end, restores, signs off; the last takes the list away."""

import asyncio
from pathlib import Path
from typing import Any

from shoal.adapters.runtime.containerd_check import Finding
from shoal.setup.farewell.node import remove_store
from shoal.setup.names import FAREWELL, component
from shoal.testing.kube.faults import Refuse
from shoal.testing.kube.objects import ResourcePath
from unit.setup.farewell.site import APPS, CORE, Site, site

LIST = f"{CORE}/configmaps/{FAREWELL}"
POD = f"{CORE}/pods/agent-n1"
AGENT = {"metadata": {"labels": component("agent")}, "spec": {"nodeName": "n1"}}


def _list(it: Site, *nodes: str) -> None:
    it.server.delete(f"{APPS}/daemonsets/ack-acr-acceleration-p2p")
    it.server.put(LIST, {"data": dict.fromkeys(nodes, "waiting")})


def _listed(it: Site) -> dict[str, Any] | None:
    found = it.server.objects.get(ResourcePath.parse(LIST))
    return None if found is None else found["data"]


async def test_who_is_last_takes_the_list_away(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        it.add_node("n2")
        _list(it, "n1", "n2")
        await it.farewell("n1").run()
        assert it.is_clean("n1")
        assert _listed(it) == {"n2": "waiting"}
        await it.farewell("n2").run()
        assert _listed(it) is None
        await it.farewell("n2").run()  # a container that was started again


async def test_nodes_that_sign_off_at_once_leave_no_list(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        nodes = [f"n{i}" for i in range(8)]
        for node in nodes:
            it.add_node(node)
        _list(it, *nodes)
        await asyncio.gather(*(it.farewell(node).run() for node in nodes))
        assert all(it.is_clean(node) for node in nodes)
        assert _listed(it) is None


async def test_nothing_is_touched_while_the_agents_pod_is_there(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        _list(it, "n1")
        it.server.put(POD, AGENT)
        running = asyncio.get_running_loop().create_task(it.farewell("n1").run())
        await it.until(lambda: len(it.server.requests) > 3)
        assert not it.is_clean("n1")
        it.server.delete(POD)
        await running
        assert it.is_clean("n1")


async def test_an_api_server_that_is_away_delays_it_and_no_more(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        _list(it, "n1")
        with it.server.faults.during(Refuse(503)):
            running = asyncio.get_running_loop().create_task(it.farewell("n1").run())
            await it.until(lambda: len(it.server.requests) > 3)
        await running
        assert it.is_clean("n1")


async def test_what_somebody_writes_after_it_is_taken_away_too(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        _list(it, "n1")
        farewell = it.farewell("n1")
        is_clean = farewell.runtime.remove
        calls = 0

        class Late:
            """Writes once more after the first removal, as an installer that lives on would."""

            def apply(self, *_: object, **__: object) -> list[Finding]:
                return []

            def remove(self) -> list[Finding]:
                nonlocal calls
                calls += 1
                if calls == 2:
                    return [Finding("docker.io", True, "removed what came late")]
                return is_clean()

        farewell.runtime = Late()
        await farewell.run()
        assert calls == 4
        assert it.is_clean("n1")


async def test_what_cannot_be_removed_is_told_in_the_list_and_tried_again(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        _list(it, "n1")
        farewell = it.farewell("n1")
        runtime = farewell.runtime
        can_write = False

        class Refusing:
            """Cannot restore for a while."""

            def apply(self, *_: object, **__: object) -> list[Finding]:
                return []

            def remove(self) -> list[Finding]:
                if can_write:
                    return runtime.remove()
                return [Finding("docker.io", False, "read-only file system")]

        farewell.runtime = Refusing()
        running = asyncio.get_running_loop().create_task(farewell.run())
        await it.until(lambda: _listed(it) == {"n1": "docker.io: read-only file system"})
        can_write = True
        await running
        assert it.is_clean("n1")


def test_a_store_goes_whole_and_what_a_link_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "store" / "blobs").mkdir(parents=True)
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "store" / "link").symlink_to(tmp_path / "other")
    remove_store(tmp_path / "store")
    remove_store(tmp_path / "store")
    assert [it.name for it in tmp_path.iterdir()] == ["other"]
    (tmp_path / "moved").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "moved")
    remove_store(tmp_path / "store")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["moved", "other"]
