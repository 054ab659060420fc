"""Who is connected to whom: greetings, refusals, dials that cross, silence, and the end."""

import asyncio
import logging
import random
import re
import socket

import pytest

from shoal.adapters.peers import dialing
from shoal.adapters.peers import network as network_module
from shoal.core.blob import KIB
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId
from shoal.core.wire.codec import HEAD, encode
from shoal.core.wire.messages import Block, Hello, Message, Ping
from unit.adapters.peers.ends import HASH, PIECE, TAG, Outgoing, have, turns, until
from unit.adapters.peers.members import (
    End,
    Site,
    Stranger,
    connect,
    ends,
    impostor,
    one_end_and_stranger,
    two_ends,
)

# --- greetings ------------------------------------------------------------------------------------


async def test_who_dials_and_who_is_dialed_both_hear_of_it_and_can_speak() -> None:
    async with two_ends() as (one, other):
        await connect(one, other)
        for speaker, hearer in ((one, other), (other, one)):
            link = speaker.network.link(hearer.me)
            assert link is not None
            link.send(have(1))
            await until(lambda hearer=hearer: hearer.said)  # type: ignore[misc]
            assert hearer.said == [(speaker.me, have(1))]
        assert one.connected == [other.me]
        assert other.connected == [one.me]
        assert not one.lost
        assert not other.lost
        assert one.network.links == other.network.links == 1


async def test_a_connection_goes_from_the_address_that_the_node_is_known_by() -> None:
    async with two_ends() as (one, other):
        await connect(one, other)
        link = other.network.link(one.me)
        assert link is not None
        assert link.remote_host == "127.0.0.2"


async def test_members_may_have_ipv6_addresses() -> None:
    async with ends("::1", "::1") as (one, other):
        await connect(one, other)
        assert other.connected == [one.me]
        assert one.me.startswith("[::1]:")


async def test_dialing_twice_at_once_is_dialing_once() -> None:
    async with two_ends() as (one, other):
        one.network.connect(other.me)
        one.network.connect(other.me)
        await connect(one, other)
        await turns(20)
        assert other.connected == [one.me]


# --- refusals -------------------------------------------------------------------------------------

STRANGER = PeerId("127.0.0.3:1")


@pytest.mark.parametrize(
    ("members", "said", "reason"),
    [
        ({STRANGER}, Hello(STRANGER, 2), "speaks protocol 2, this node speaks 1"),
        (set(), Hello(STRANGER), "127.0.0.3:1 is not a member of this site"),
        (set(), Hello(PeerId("")), " is not a member of this site"),
        (set(), Hello(PeerId("no\naddress")), "is not a member of this site"),
        ({PeerId("127.0.0.4:1")}, Hello(PeerId("127.0.0.4:1")), "but comes from 127.0.0.3"),
        ({STRANGER}, Ping(), "spoke before its Hello"),
        ({STRANGER}, have(1), "spoke before its Hello"),
        ({STRANGER}, Block(TAG, 0, 0, 1, HASH), "sent a piece before its Hello"),
        (set(), b"GET / HTTP/1.1\r\n\r\n", "broke the protocol: frame of"),
        (set(), HEAD.pack(0, 200), "broke the protocol: unknown message type 200"),
    ],
    ids=[
        "protocol",
        "no-member",
        "no-name",
        "no-address",
        "address",
        "ping",
        "have",
        "block",
        "http",
        "type",
    ],
)
async def test_a_stranger_is_refused_without_a_word_and_the_log_says_why(
    members: set[PeerId],
    said: Message | bytes,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "shoal.adapters.peers")
    async with one_end_and_stranger() as (end, stranger):
        end.site.members |= members
        stranger.say(said)
        assert await stranger.is_dropped()
        assert [*end.connected, *end.lost, *end.said] == []
        (record,) = caplog.records
        assert record.getMessage() == "peer_refused"
        assert record.__dict__["host"] == "127.0.0.3"
        assert reason in record.__dict__["reason"]


async def test_nobody_may_call_himself_by_the_name_of_whom_he_speaks_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "shoal.adapters.peers")
    async with one_end_and_stranger(host="127.0.0.2") as (end, stranger):
        stranger.say(Hello(end.me))
        assert await stranger.is_dropped()
        assert "is not a member" in caplog.records[0].__dict__["reason"]


async def test_whoever_is_refused_hears_that_the_peer_lives_and_does_not_know_it() -> None:
    async with two_ends() as (one, other):
        other.site = Site()  # it knows nobody
        one.network.connect(other.me)
        await until(lambda: bool(one.lost))
        assert one.lost == [(other.me, "the peer closed the connection", True)]
        assert one.refused_by == [other.me]
        assert [*one.connected, *other.connected, *other.lost] == []


async def test_a_peer_that_answers_by_another_name_is_left() -> None:
    async with ends("127.0.0.2") as (end,), impostor() as (at, server):
        end.site.members |= {at, PeerId("127.0.0.3:2")}
        end.network.connect(at)
        sock, _ = await asyncio.get_running_loop().sock_accept(server)
        with sock:
            sock.sendall(encode(Hello(PeerId("127.0.0.3:2"))))
            await until(lambda: bool(end.lost))
        assert end.lost == [(at, f"{at} answers as 127.0.0.3:2", True)]
        assert end.refused_by == []


async def test_nobody_at_the_other_end_is_a_failed_peer() -> None:
    async with ends("127.0.0.2") as (end,), impostor() as (at, server):
        server.close()
        end.network.connect(at)
        await until(lambda: bool(end.lost))
        ((peer, reason, failed),) = end.lost
        assert (peer, failed) == (at, True)
        assert end.refused_by == []
        assert reason.startswith("cannot connect: [Errno 111]")
        assert at.partition(":")[0] in reason
        await turns()
        end.network.connect(at)  # it may be dialed again
        await until(lambda: len(end.lost) == 2)


async def test_an_address_that_swallows_packets_is_given_up_after_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT_S", 0.1)
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.3", 0))
        server.listen(0)  # room for one; the kernel lets further callers wait
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        at = PeerId(str(Endpoint(*server.getsockname())))
        async with ends("127.0.0.2") as (end,):
            end.network.connect(at)
            await until(lambda: bool(end.lost))
            assert end.lost == [(at, "cannot connect: no answer", True)]


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)
    async with one_end_and_stranger() as (end, stranger):
        assert await stranger.is_dropped()
        assert end.lost == []


async def test_who_drips_a_hello_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hasten(monkeypatch)
    hello = encode(Hello(PeerId("127.0.0.3:1" + "0" * 1000)))
    async with one_end_and_stranger() as (end, stranger):
        with pytest.raises(ConnectionError):
            await _drip(stranger, hello)
        assert end.lost == []


async def _drip(stranger: Stranger, words: bytes) -> None:
    for byte in words:
        stranger.say(bytes([byte]))
        await asyncio.sleep(0.01)


async def test_whoever_is_dialed_and_never_answers_is_a_failed_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch)
    async with ends("127.0.0.2") as (end,), impostor() as (at, server):
        end.network.connect(at)
        sock, _ = await asyncio.get_running_loop().sock_accept(server)
        with sock:
            await until(lambda: bool(end.lost))
        assert end.lost == [(at, "no Hello", True)]


async def test_there_is_a_bound_on_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "LINKS_MOST", 1)
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        stranger.say(Hello(stranger.name))
        assert await stranger.hear() == Hello(end.me)
        late = Stranger(end, host="127.0.0.4")
        try:
            assert await late.is_dropped()
        finally:
            late.close()
        assert end.network.refused == 1
        assert end.network.links == 1


# --- both dial each other -------------------------------------------------------------------------


async def _cross(seed: int) -> None:
    """Let both ends dial each other, more or less at once, and look at what comes of it."""
    dice = random.Random(seed)  # noqa: S311 - for no secrets
    async with two_ends() as (one, other):
        one.greets = other.greets = True

        async def dial(end: End, peer: End) -> None:
            await turns(dice.randrange(8))
            if dice.random() < 0.5:
                await asyncio.sleep(dice.random() * 0.002)
            if end.network.link(peer.me) is None:
                end.network.connect(peer.me)

        await asyncio.gather(dial(one, other), dial(other, one))
        # A first connection may stand for a moment before the second replaces it.
        for _ in range(5):
            await until(lambda: _settled(one, other) and _settled(other, one))
            await asyncio.sleep(0.001)
        assert one.network.links == other.network.links == 1
        for end in (one, other):
            assert not [told for told in end.lost if told[1].startswith("cannot connect")]


def _settled(end: End, peer: End) -> bool:
    """Whether it has one connection, and heard what the peer said when it was told of it."""
    told = have(len(peer.connected))
    return end.standing(peer.me) == 1 and end.said[-1:] == [(peer.me, told)]


@pytest.mark.parametrize("tens", range(6))
async def test_ends_that_dial_each_other_at_once_have_one_connection(tens: int) -> None:
    for seed in range(10):
        await _cross(10 * tens + seed)


async def test_a_connection_that_gives_way_is_no_failure_to_the_end_that_decides() -> None:
    async with ends("127.0.0.2") as (end,):
        # The stranger's name is greater, so the connection that `end` dials stays.
        with socket.create_server(("127.0.0.3", 0)) as server:
            server.setblocking(False)
            name = PeerId(str(Endpoint(*server.getsockname())))
            end.site.members.add(name)
            stranger = Stranger(end)
            stranger.say(Hello(name))
            await until(lambda: end.connected == [name])
            end.network.connect(name)
            sock, _ = await asyncio.get_running_loop().sock_accept(server)
            with sock:
                sock.sendall(encode(Hello(name)))
                await until(lambda: end.connected == [name, name])
                assert end.lost == [(name, "replaced by a newer connection", False)]
                assert await stranger.hear() == Hello(end.me)
                assert await stranger.is_dropped()
                assert end.network.links == 1
            stranger.close()


# --- silence --------------------------------------------------------------------------------------


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a ping be due after 20 ms, and silence be suspicious after 0.3 s."""
    monkeypatch.setattr(network_module, "PING_AFTER_S", 0.02)
    monkeypatch.setattr(network_module, "SILENT_AFTER_S", 0.3)
    monkeypatch.setattr(network_module, "HELLO_TIMEOUT_S", 0.2)


async def test_peers_that_have_nothing_to_say_say_that_they_live(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_module, "PING_AFTER_S", 0.02)
    async with two_ends() as (one, other):
        await connect(one, other)
        link = one.network.link(other.me)
        assert link is not None
        began = link.heard_s
        await until(lambda: link.heard_s > began + 0.1)
        assert [*one.lost, *other.lost] == []
        assert [*one.said, *other.said] == [], "a ping is between the networks"


async def test_a_peer_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "PING_AFTER_S", 0.02)
    monkeypatch.setattr(network_module, "SILENT_AFTER_S", 0.3)
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        stranger.say(Hello(stranger.name))
        await until(lambda: bool(end.lost))
        assert end.connected == [stranger.name]
        ((peer, reason, failed),) = end.lost
        assert (peer, failed) == (stranger.name, True)
        said = re.fullmatch(r"silent for (\d+\.\d) s", reason)
        assert said is not None
        assert float(said[1]) >= 0.3


async def test_a_silent_peer_is_lost_sooner_where_a_blob_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_module, "OWING_AFTER_S", 0.2)
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        stranger.say(Hello(stranger.name))
        await until(lambda: bool(end.connected))
        stranger.say(Ping())
        end.network.probe(stranger.name)
        assert end.lost == [], "it was heard a moment ago"

        def lost() -> bool:
            end.network.probe(stranger.name)
            return bool(end.lost)

        await until(lost)
        ((peer, reason, failed),) = end.lost
        assert (peer, failed) == (stranger.name, True)
        assert reason.endswith("while a blob waits for it")
        end.network.probe(stranger.name)  # of whom there is no connection any more


async def test_bytes_of_a_piece_are_a_sign_of_life() -> None:
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        stranger.say(Hello(stranger.name), Block(TAG, 0, 0, 60, HASH))
        await until(lambda: bool(end.connected))
        link = end.network.link(stranger.name)
        assert link is not None
        heard = link.heard_s
        stranger.say(b"x")
        await until(lambda: link.heard_s > heard)


async def test_an_end_without_room_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_module, "PING_AFTER_S", 0.02)
    out = Outgoing(PIECE)
    async with two_ends() as (one, other):
        await connect(one, other)
        other.has_room = False
        link, paused = one.network.link(other.me), other.network.link(one.me)
        assert link is not None
        assert paused is not None
        link.send_piece(out.upload())
        await until(lambda: paused.paused)
        heard = link.heard_s
        await until(lambda: link.heard_s > heard + 0.1)
        other.has_room = True
        other.network.resume_reading()
        await until(lambda: other.received == PIECE)


async def test_a_peer_is_not_called_silent_while_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch)
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        end.has_room = False
        stranger.say(Hello(stranger.name), Block(TAG, 0, 0, 4, HASH))
        await until(lambda: bool(end.connected))
        link = end.network.link(stranger.name)
        assert link is not None
        await until(lambda: link.paused)
        await asyncio.sleep(0.4)
        assert end.lost == []
        end.has_room = True
        end.network.resume_reading()
        await until(lambda: bool(end.lost))  # now it may be called so
        assert end.lost[0][1].startswith("silent for")


async def test_a_peer_that_comes_back_replaces_its_half_open_connection() -> None:
    async with one_end_and_stranger() as (end, stranger):
        name = stranger.name
        end.site.members.add(name)
        stranger.say(Hello(name))
        await until(lambda: end.connected == [name])
        again = Stranger(end)  # the first connection stands, as after a crash without a farewell
        try:
            again.say(Hello(name), have(7))
            await until(lambda: end.said == [(name, have(7))])
            assert end.connected == [name, name]
            assert end.lost == [(name, "replaced by a newer connection", False)]
            assert end.network.links == 1
        finally:
            again.close()


async def test_a_peer_that_comes_back_before_its_silence_was_noticed_is_taken_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hasten(monkeypatch)
    async with ends("127.0.0.2") as (end,), impostor() as (at, server):
        end.site.members.add(at)
        end.network.connect(at)
        sock, _ = await asyncio.get_running_loop().sock_accept(server)
        with sock:
            sock.sendall(encode(Hello(at)))
            await until(lambda: end.connected == [at])
            # Its own dial must give way to the one that `end` made, of which it knows no more.
            early = Stranger(end)
            early.say(Hello(at))
            assert await early.is_dropped()
            early.close()
            await until(lambda: bool(end.lost))
            late = Stranger(end)
            late.say(Hello(at))
            assert await late.hear() == Hello(end.me)
            assert end.connected == [at, at]
            late.close()


# --- the end --------------------------------------------------------------------------------------


async def test_a_peer_that_stops_is_lost() -> None:
    async with two_ends() as (one, other):
        await connect(one, other)
        await other.network.stop()
        await until(lambda: bool(one.lost))
        assert one.lost == [(other.me, "the peer closed the connection", True)]
        assert other.lost == [(one.me, "this node stops", False)]


async def test_a_peer_that_breaks_the_rules_is_left_with_the_reason() -> None:
    async with two_ends() as (one, other):
        await connect(one, other)
        one.network.disconnect(other.me, "sent nonsense")
        one.network.disconnect(PeerId("127.0.0.9:1"), "is not there at all")
        assert one.lost == [(other.me, "sent nonsense", True)]
        await until(lambda: bool(other.lost))


async def test_garbage_from_a_member_ends_its_connection_with_the_reason() -> None:
    async with one_end_and_stranger() as (end, stranger):
        end.site.members.add(stranger.name)
        stranger.say(Hello(stranger.name), b"\xff" * 64 * KIB)
        await until(lambda: bool(end.lost))
        ((_, reason, failed),) = end.lost
        assert reason.startswith("broke the protocol: frame of 4294967295 bytes is over")
        assert failed


async def test_stopping_while_dialing_and_being_dialed_leaves_nothing() -> None:
    async with two_ends() as (one, other):
        one.network.connect(other.me)
        other.network.connect(one.me)
        stranger = Stranger(one)
        await turns(2)
        await one.network.stop()
        one.network.connect(other.me)  # too late
        assert one.network.links == 0
        assert await stranger.is_dropped()
        stranger.close()


async def test_what_is_on_its_way_when_the_node_stops_is_told() -> None:
    out = Outgoing(bytes(16 * 1024 * KIB))
    async with two_ends() as (one, other):
        await connect(one, other)
        other.has_room = False
        link = one.network.link(other.me)
        assert link is not None
        link.send_piece(out.upload())
        await until(lambda: link.sent_bytes > 0)
        await one.network.stop()
        assert out.ended == [False]
