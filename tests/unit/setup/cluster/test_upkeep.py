"""The ConfigMap, written by whoever comes."""

import asyncio
from pathlib import Path

import pytest

from shoal.adapters.kube.api import KubeConflict, connected
from shoal.setup.cluster.upkeep import read_written, write
from shoal.testing.kube.faults import Refuse
from unit.setup.cluster.world import AGENT_MAP, PLAIN, world


async def test_it_is_made_changed_and_left_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        assert await read_written(kube, PLAIN) is None
        assert await write(kube, PLAIN, {"a": "1", "b": "1"}, issuer="first")
        assert await write(kube, PLAIN, {"a": "2"}, issuer="second")
        assert not await write(kube, PLAIN, {"a": "2"})
        written = await read_written(kube, PLAIN)
        assert written is not None
        assert (written.data, written.issuer) == ({"a": "2"}, "first")


async def test_two_writers_at_once_end_with_the_same_text(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access, most=4) as kube:
        await asyncio.gather(*(write(kube, PLAIN, {"a": "1"}) for _ in range(4)))
        await asyncio.gather(*(write(kube, PLAIN, {"a": "2"}) for _ in range(4)))
        assert here.get(AGENT_MAP)["data"] == {"a": "2"}


async def test_a_conflict_that_stays_is_told(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        await write(kube, PLAIN, {"a": "1"})
        with (
            here.server.faults.during(Refuse(409), verb="patch"),
            pytest.raises(KubeConflict),
        ):
            await write(kube, PLAIN, {"a": "2"})


async def test_what_an_uninstall_has_deleted_is_not_made_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        assert not await write(kube, PLAIN, {"a": "1"}, may_create=False)
        assert await read_written(kube, PLAIN) is None
