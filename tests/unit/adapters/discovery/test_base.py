"""Every source of members keeps the one contract."""

import asyncio
from collections.abc import Callable

import pytest

from shoal.adapters.discovery.base import Discovery
from shoal.adapters.discovery.dns import DnsDiscovery
from shoal.adapters.discovery.static import StaticDiscovery
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId


async def _resolve(_host: str) -> frozenset[str]:
    return frozenset({"10.0.0.1", "fd00::1"})


def _static() -> Discovery:
    return StaticDiscovery([Endpoint("10.0.0.1", 7), Endpoint("fd00::1", 7)])


def _named() -> Discovery:
    return StaticDiscovery([Endpoint("node", 7)], resolve=_resolve)


def _dns() -> Discovery:
    return DnsDiscovery("peers.example", port=7, resolve=_resolve)


@pytest.mark.parametrize("make", [_static, _named, _dns])
async def test_the_members_are_told_in_their_one_spelling_until_cancelled(
    make: Callable[[], Discovery],
) -> None:
    wanted = frozenset({PeerId("10.0.0.1:7"), PeerId("[fd00::1]:7")})
    told = asyncio.Event()

    def changed(members: frozenset[PeerId]) -> None:
        if members == wanted:
            told.set()

    task = asyncio.ensure_future(make().watch(changed))
    async with asyncio.timeout(30):
        await told.wait()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
