"""Look-ups: bounded in time and number."""

import asyncio
import socket
import threading

import pytest

from shoal.adapters.discovery import resolving
from shoal.adapters.discovery.resolving import SystemResolver, is_member_address, resolved


async def test_the_systems_resolver_gives_addresses_of_both_families(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "peers.example"
        texts = ["10.0.0.1", "10.0.0.1", "fd00:0::1", "::ffff:10.0.0.2", "0.0.0.0", "fe80::1%2"]
        return [(0, 0, 0, "", (text, 0)) for text in texts]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    found = await SystemResolver()("peers.example")
    assert found == {"10.0.0.1", "fd00::1", "10.0.0.2"}


async def test_a_name_that_does_not_exist_is_an_os_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(OSError, match="not known"):
        await resolved("nowhere.example", resolve=SystemResolver(), timeout_s=5)


async def test_a_resolver_that_hangs_costs_a_bounded_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    ended = threading.Semaphore(0)

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(30)
        ended.release()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = SystemResolver(most_at_once=2)
    for _ in range(2):
        with pytest.raises(OSError, match=r"no answer within 0\.01 s"):
            await resolved("a.example", resolve=resolver, timeout_s=0.01)
    with pytest.raises(OSError, match="has not answered earlier"):
        await resolved("a.example", resolve=resolver, timeout_s=30)
    release.set()
    for _ in range(2):
        assert await asyncio.to_thread(ended.acquire, timeout=30)
    async with asyncio.timeout(30):  # and is of use again once they have ended
        while True:
            try:
                assert await resolver("a.example") == frozenset()
            except OSError:
                await asyncio.sleep(0)
            else:
                break


async def test_a_name_that_no_resolver_takes_is_an_os_error() -> None:
    async def refuse(host: str) -> frozenset[str]:
        host.encode("idna")
        return frozenset()

    with pytest.raises(OSError, match="not a name that can be looked up"):
        await resolved("a" * 80 + ".example", resolve=refuse, timeout_s=5)


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%2", "node"])
def test_what_no_other_node_can_reach_is_no_member(text: str) -> None:
    assert not is_member_address(text)


def test_an_answer_that_is_absurdly_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "MAX_ADDRESSES", 2)
    rows = [(0, 0, 0, "", (f"10.0.0.{number}", 0)) for number in range(1, 9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    assert asyncio.run(SystemResolver()("a.example")) == {"10.0.0.1", "10.0.0.2"}
