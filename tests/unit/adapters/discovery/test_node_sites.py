"""Which nodes are in this one's site, by a file that changes."""

import asyncio
import logging
from pathlib import Path

import pytest

from shoal.adapters.discovery.node_sites import NodeSites, WatchedSites
from unit.agent.driving import until


async def looked(path: Path, text: str, *, node: str = "a") -> NodeSites:
    path.write_text(text)
    sites = NodeSites(path, node=node)
    await sites.look()
    return sites


async def test_nodes_of_one_site_have_each_other(tmp_path: Path) -> None:
    sites = await looked(tmp_path / "nodes.yaml", "{a: x, b: x, c: y}")
    assert [sites.has(node) for node in ("a", "b", "c", "d", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


async def test_a_node_of_which_nothing_is_said_has_itself_alone(tmp_path: Path) -> None:
    sites = await looked(tmp_path / "nodes.yaml", "{b: x}")
    assert [sites.has(node) for node in ("a", "b", "d")] == [True, False, False]


async def test_a_star_is_every_node_that_is_not_named(tmp_path: Path) -> None:
    sites = await looked(tmp_path / "nodes.yaml", '{"*": x, c: y}')
    assert [sites.has(node) for node in ("a", "new", "c")] == [True, True, False]


async def test_another_file_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    path.write_text("{a: x}")
    sites = NodeSites(path, node="a", poll_s=0.01)
    await sites.look()
    changed = asyncio.Event()
    task = asyncio.ensure_future(sites.watch(changed))
    other = tmp_path / "other.yaml"
    other.write_text("{a: x, b: x}")
    other.rename(path)
    await until(changed.is_set)
    assert sites.has("b")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("text", ["[a]", "{a", "", "? [a]\n: b"])
async def test_what_cannot_be_read_changes_nothing_and_is_told_once(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "nodes.yaml"
    sites = await looked(path, "{a: x, b: x}")
    path.write_text(text + " # longer than it was before")
    caplog.set_level(logging.ERROR)
    assert not await sites.look()
    assert not await sites.look()
    assert sites.has("b")
    assert [record.message for record in caplog.records] == ["sites_unreadable"]
    path.unlink()
    assert not await sites.look()
    assert sites.has("b")


async def test_what_is_told_counts_for_the_file_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "nodes.yaml"
    sites = await looked(path, "{a: x, b: x}")
    sites.tell("{a: x, c: x}")
    assert await sites.look()
    path.write_text("{a: x, b: x, d: x} # brought late")
    assert not await sites.look()
    assert [sites.has(node) for node in ("b", "c", "d")] == [False, True, False]


async def test_the_config_map_has_the_file_as_the_key_of_its_name(tmp_path: Path) -> None:
    sites = await looked(tmp_path / "nodes.yaml", "{a: x}")
    changed = asyncio.Event()
    mirror = WatchedSites(sites, changed)
    for nothing in ({}, {"data": None}, {"data": {"other.yaml": "{a: x, b: x}"}}):
        mirror.put(nothing)
    assert not changed.is_set()
    mirror.replace([{"data": {"nodes.yaml": "{a: x, b: x}"}}])
    assert changed.is_set()
    assert await sites.look()
    assert sites.has("b")


async def test_sites_stay_when_the_config_map_is_gone(tmp_path: Path) -> None:
    sites = await looked(tmp_path / "nodes.yaml", "{a: x}")
    thing = {"data": {"nodes.yaml": "{a: x, b: x}"}}
    mirror = WatchedSites(sites, asyncio.Event())
    mirror.put(thing)
    await sites.look()
    mirror.drop(thing)
    mirror.replace([])
    assert not await sites.look()
    assert sites.has("b")
