"""Limits of whole agents: rates hold, are shared evenly, and change in the middle of a pull."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.conftest import Registry
from agent.sites import MB, Node, blob, site
from shoal.core.digest import Digest

# What a limit lets through at once after a pause, and what the kernel and the clients' libraries
# hold of a body: at the rates below less than the 5 % that a limit may be off.
TOLERANCE = 1.05


def at_least_s(size: int, rate: float) -> float:
    """Return how long `size` bytes must take at a rate that may be off by 5 %."""
    return size / (rate * TOLERANCE)


async def test_a_registry_s_rate_holds_and_changes_in_the_middle_of_a_pull(
    tmp_path: Path, registry: Registry
) -> None:
    size = 24 * MB
    digest = blob(registry, size)
    slow = {"limits": {"registry_bytes_per_s": "4MB/s"}}
    async with site(tmp_path, registry, each=[slow]) as (session, [node]):
        halfway_s: list[float] = []

        def at(received: int) -> None:
            if received >= size / 2 and not halfway_s:
                halfway_s.append(time.monotonic())
                node.write()  # no limits at all
                node.hang_up()

        pull = await node.pull(session, digest, at=at)
        began_s = pull.times[0][0]
        assert halfway_s[0] - began_s >= at_least_s(size // 2, 4 * MB)
        # Without the limit it takes a fraction of a second; with it, three more.
        assert '"settings_reread"' in node.log
        assert await node.metric(session, "shoal_config_last_reload_successful") == 1
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 0
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_a_wrong_file_changes_nothing_and_says_what_was_expected(
    tmp_path: Path, registry: Registry
) -> None:
    slow = {"limits": {"registry_bytes_per_s": "4MB/s"}}
    async with site(tmp_path, registry, each=[slow]) as (session, [node]):
        node.write(limits={"registry_bytes_per_s": "4M"}, log={"level": "debug"})
        node.hang_up()
        await node.until(lambda: "settings_not_reread" in node.log)
        assert "limits.registry_bytes_per_s: expected a rate in bytes a second" in node.log
        assert await node.metric(session, "shoal_config_last_reload_successful") == 0
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 4 * MB
        node.write(limits={"registry_bytes_per_s": "8MB/s"}, front={"port": 65104})
        node.hang_up()
        await node.until(lambda: "settings_need_restart" in node.log)
        assert await node.metric(session, "shoal_config_last_reload_successful") == 1
        assert await node.metric(session, "shoal_limit_registry_bytes_per_second") == 8 * MB


async def _seeded(session: aiohttp.ClientSession, node: Node, digest: Digest) -> None:
    """Have `node` hold the blob, from the registry."""
    await node.pull(session, digest)
    await node.until(lambda: any((node.folder / node.host / "blobs").rglob(digest.hex)))


@pytest.mark.parametrize("limited", ["upload_bytes_per_s", "download_bytes_per_s"])
async def test_a_rate_between_peers_holds_and_is_used(
    tmp_path: Path, registry: Registry, limited: str
) -> None:
    size, rate = 16 * MB, 4 * MB
    digest = blob(registry, size)
    limits = {"limits": {limited: rate}}
    each = [limits, {}] if limited.startswith("upload") else [{}, limits]
    async with site(tmp_path, registry, each=each) as (session, [seed, other]):
        await _seeded(session, seed, digest)
        pull = await other.pull(session, digest)
        assert pull.seconds >= at_least_s(size, rate)
        assert pull.seconds <= 4 * size / rate  # it is used, however busy this machine is
        assert await other.metric(session, "shoal_peer_received_bytes_total") == size
        assert await seed.metric(session, "shoal_peer_sent_bytes_total") == size
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_a_megabit_flows_smoothly_and_nobody_takes_it_for_a_stall(
    tmp_path: Path, registry: Registry
) -> None:
    size = 1_200_000  # five pieces
    digest = blob(registry, size)
    each: list[dict[str, Any]] = [
        {"limits": {"upload_bytes_per_s": "1Mbit/s"}},
        {"limits": {"download_bytes_per_s": "1Mbit/s"}},
        {},
    ]
    async with site(tmp_path, registry, each=each) as (session, [seed, slow, quick]):
        await _seeded(session, seed, digest)
        pulls = await asyncio.gather(*(node.pull(session, digest) for node in (slow, quick)))
        assert pulls[0].seconds >= at_least_s(size, 125_000)
        for node in (slow, quick):
            assert await node.metric(session, "shoal_peer_received_bytes_total") == size
            assert await node.metric(session, "shoal_pieces_failed_total") == 0
        assert registry.inner.counters.blob_body_bytes[str(digest)] == size


async def test_blobs_share_an_upload_evenly_however_many_want_each(
    tmp_path: Path, registry: Registry
) -> None:
    popular, single = blob(registry, 12 * MB), blob(registry, 6 * MB)
    each: list[dict[str, Any]] = [{"limits": {"upload_bytes_per_s": "2MB/s"}}, {}, {}, {}]
    async with site(tmp_path, registry, each=each) as (session, [seed, *others]):
        for digest in (popular, single):
            await _seeded(session, seed, digest)
        before = await seed.metric(session, "shoal_peer_sent_bytes_total")
        pulls = [asyncio.ensure_future(other.pull(session, popular)) for other in others[:2]]
        await others[2].pull(session, single)
        sent = await seed.metric(session, "shoal_peer_sent_bytes_total") - before
        await asyncio.gather(*pulls)
        # The single blob's 6 MB, and about as many of the popular one: by connection it would have
        # been twice as many.
        assert sent <= 15 * MB
