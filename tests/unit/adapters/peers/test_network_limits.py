"""Connections that are too many, and links whose pieces have to wait."""

from shoal.core.wire.messages import Allow
from unit.adapters.peers.ends import Outgoing, until
from unit.adapters.peers.members import ends, two_ends

PIECE = bytes(300_000)


async def test_a_peer_too_many_is_refused_and_does_not_take_it_for_a_fault() -> None:
    async with ends("127.0.0.2", "127.0.0.3", "127.0.0.4") as (full, first, second):
        full.network.limit_links(1)
        first.network.connect(full.me)
        await until(lambda: bool(first.connected))
        second.network.connect(full.me)
        await until(lambda: bool(second.refused_by))
        assert second.refused_by == [full.me]
        assert full.network.refused == 1
        assert first.connected == [full.me]
        assert first.lost == []
        full.network.limit_links(2)
        second.network.connect(full.me)
        await until(lambda: bool(second.connected))


async def test_some_connections_are_kept_for_peers_that_are_wanted() -> None:
    async with ends(*(f"127.0.0.{n}" for n in range(2, 12))) as (full, *others):
        full.network.limit_links(8)
        for other in others[:8]:
            other.network.connect(full.me)
        await until(lambda: sum(map(len, (o.connected + o.refused_by for o in others))) == 8)
        assert full.network.links == 7
        full.network.connect(others[8].me)
        await until(lambda: full.network.links == 8)
        (refused,) = (other for other in others if other.refused_by)
        full.network.connect(refused.me)
        assert full.refused_by == [refused.me]  # nobody was dialed
        assert "8 connections are open" in full.lost[0][1]


async def test_what_a_peer_allows_may_be_sent_and_no_more() -> None:
    async with two_ends() as (one, other):
        one.network.connect(other.me)
        await until(lambda: bool(one.connected and other.connected))
        to_other, to_one = one.network.link(other.me), other.network.link(one.me)
        assert to_other is not None
        assert to_one is not None
        to_one.send(Allow(0))
        await until(lambda: to_other.gate is not None)
        outgoing = Outgoing(PIECE)
        to_other.send_piece(outgoing.upload())
        to_one.send(Allow(1000))
        await until(lambda: len(other.received) == 1000)
        assert not to_other.waiting  # so that it is kept alive by Ping
        to_one.send(Allow(2000))
        await until(lambda: len(other.received) == 3000)
        to_one.send(Allow(None))
        await until(lambda: outgoing.ended == [True])
        await until(lambda: len(other.received) == len(PIECE))
        assert one.said == []  # nobody but the link needs to hear it
