"""Members over TLS: whom they take, whom they refuse, and what each end hears of it."""

import asyncio
import logging
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers import handshake as handshake_module
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason
from unit.adapters.peers.cluster import Nodes
from unit.adapters.peers.ends import PIECE, Outgoing, have, until
from unit.adapters.peers.members import End, Site, connect, ends

ONE, OTHER = "127.0.0.2", "127.0.0.3"
Pair = tuple[PeerCredentials, PeerCredentials]


def _said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return the causes of refusals in the log, each with the host that it is about."""
    return [
        (record.__dict__["host"], record.__dict__["cause"])
        for record in caplog.records
        if record.getMessage() == "peer_refused" and record.levelno == logging.WARNING
    ]


async def _refused(dialer: End, dialed: End) -> str:
    """Dial, and return why it was in vain."""
    dialer.network.connect(dialed.me)
    await until(lambda: bool(dialer.lost))
    assert dialer.connected == dialed.connected == []
    ((peer, reason, failed),) = dialer.lost
    assert (peer, failed) == (dialed.me, True)
    return reason


async def test_members_with_certificates_exchange_messages_and_pieces(credentials: Pair) -> None:
    async with ends(ONE, OTHER, credentials=credentials) as (one, other):
        await connect(one, other)
        link = one.network.link(other.me)
        assert link is not None
        assert link.stream.identity == credentials[1].identity
        outgoing = Outgoing(PIECE)
        link.send_piece(outgoing.upload())
        link.send(have(1))
        await until(lambda: len(other.received) == len(PIECE) and bool(other.said))
        assert bytes(other.received) == PIECE
        assert other.said == [(one.me, have(1))]
        assert one.refusals == other.refusals == []


async def test_members_may_have_ipv6_addresses(cluster: Nodes) -> None:
    shown = (cluster.node("::1"), cluster.node("0:0::1"))
    async with ends("::1", "::1", credentials=shown) as (one, other):
        await connect(one, other)
        assert other.connected == [one.me]


async def test_peers_that_dial_each_other_at_once_keep_one_connection(credentials: Pair) -> None:
    async with ends(ONE, OTHER, credentials=credentials) as (one, other):
        one.network.connect(other.me)
        other.network.connect(one.me)
        await until(lambda: one.standing(other.me) == other.standing(one.me) == 1)
        assert one.network.links == other.network.links == 1


async def test_a_node_of_another_cluster_is_refused(
    cluster: Nodes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = Nodes(tmp_path, "other").node()
    async with ends(ONE, OTHER, credentials=(stranger, cluster.node())) as (one, other):
        reason = await _refused(one, other)
        assert "authority" in reason
        await until(lambda: bool(other.refusals))
        assert one.refusals == [Reason.OTHER_CLUSTER]
        assert other.refusals == [Reason.REFUSED_BY_PEER]
        assert sorted(_said(caplog)) == [(ONE, "refused_by_peer"), (OTHER, "other_cluster")]


async def test_an_expired_certificate_is_refused_and_both_ends_say_so(
    cluster: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    async with ends(ONE, OTHER, credentials=(cluster.expired(), cluster.node())) as (one, other):
        assert "expired" in await _refused(one, other)
        await until(lambda: bool(other.refusals))
        assert (one.refusals, other.refusals) == ([Reason.REFUSED_BY_PEER], [Reason.EXPIRED])
        assert sorted(_said(caplog)) == [(ONE, "expired"), (OTHER, "refused_by_peer")]


async def test_a_node_that_calls_itself_by_anothers_address_is_refused(
    cluster: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    shown = (cluster.node("127.0.0.9"), cluster.node())
    async with ends(ONE, OTHER, credentials=shown) as (one, other):
        reason = await _refused(one, other)
        assert "is for 127.0.0.9 address, not for" in reason, "it can tell what is wrong itself"
        await until(lambda: bool(other.refusals))
        assert other.refusals == [Reason.NOT_THE_MEMBER]
        assert one.refused_by == [other.me]
        assert (ONE, "not_the_member") in _said(caplog)


async def test_a_member_that_answers_with_anothers_certificate_is_refused(
    cluster: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    shown = (cluster.node(), cluster.node("127.0.0.9"))
    async with ends(ONE, OTHER, credentials=shown) as (one, other):
        await _refused(one, other)
        assert one.refusals == [Reason.NOT_THE_MEMBER]
        assert (OTHER, "not_the_member") in _said(caplog)
        assert one.refused_by == []


@pytest.mark.parametrize("tls_dials", [True, False])
async def test_nobody_falls_back_to_plain_tcp_and_both_ends_say_why(
    tls_dials: bool, cluster: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    node = cluster.node()
    shown = (node, None) if tls_dials else (None, node)
    async with ends(ONE, OTHER, credentials=shown) as (one, other):
        reason = await _refused(one, other)
        assert "TLS" in reason
        await until(lambda: bool(other.refusals))
        assert one.refusals == other.refusals == [Reason.NO_TLS]
        assert sorted(_said(caplog)) == [(ONE, "no_tls"), (OTHER, "no_tls")]
        words = [record.__dict__["reason"] for record in caplog.records]
        assert all("peer.plaintext" in word for word in words)


async def test_a_member_that_is_unknown_there_is_dropped_without_a_fault(
    credentials: Pair,
) -> None:
    async with ends(ONE, OTHER, credentials=credentials) as (one, other):
        other.site = Site({other.me, PeerId(f"{ONE}:1")})
        await _refused(one, other)
        assert one.refused_by == [other.me]
        assert one.refusals == other.refusals == []


async def test_a_node_with_a_new_certificate_dials_those_that_did_not_take_the_old_one(
    cluster: Nodes,
) -> None:
    late = cluster.expired()
    async with ends(ONE, OTHER, credentials=(late, cluster.node())) as (one, other):
        late.when_changed(one.network.credentials_changed)
        await _refused(one, other)
        late.use(cluster.node().current)
        await until(lambda: bool(one.connected and other.connected))


async def test_a_connection_ends_with_the_certificate_it_was_made_by(credentials: Pair) -> None:
    async with ends(ONE, OTHER, credentials=credentials) as (one, other):
        await connect(one, other)
        link = one.network.link(other.me)
        assert link is not None
        assert link.stream.identity is not None
        link.stream.identity = replace(link.stream.identity, not_after_s=1.0)
        await until(lambda: bool(one.lost))
        ((peer, reason, failed),) = one.lost
        assert "expired" in reason
        assert (peer, failed) == (other.me, False), "it may have a new one, so it is dialed again"
        assert one.refusals == [Reason.EXPIRED]


async def test_handshakes_under_way_end_with_the_network_and_count_as_connections(
    cluster: Nodes,
) -> None:
    async with ends(ONE, credentials=(cluster.node(),)) as (one,):
        at = Endpoint.parse(one.me)
        one.network.limit_links(2)
        sockets = [_knock(at), _knock(at), _knock(at)]
        await until(lambda: one.network.refused == 1)
        await one.network.stop()
        for sock in sockets:
            sock.settimeout(30.0)
            assert sock.recv(1) == b""
            sock.close()


def _knock(at: Endpoint, *, host: str | None = None) -> socket.socket:
    return socket.create_connection((at.host, at.port), source_address=(host or at.host, 0))


async def test_no_handshake_is_begun_with_an_address_that_no_member_has(
    cluster: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shoal.adapters.peers")
    async with ends(ONE, OTHER, credentials=(cluster.node(), cluster.node())) as (one, other):
        sock = _knock(Endpoint.parse(one.me), host="127.0.0.7")
        sock.settimeout(30.0)
        assert await asyncio.to_thread(sock.recv, 1) == b""
        sock.close()
        assert one.refusals == [Reason.NOT_THE_MEMBER]
        (record,) = caplog.records
        assert (record.levelno, record.__dict__["host"]) == (logging.INFO, "127.0.0.7")
        one.site = Site({one.me})
        await _refused(other, one)  # it may join in a moment, so it takes it for no fault
        assert other.refused_by == [one.me]


async def test_a_member_that_never_finishes_its_handshake_is_lost(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake_module, "DIAL_HANDSHAKE_TIMEOUT_S", 0.1)
    with socket.create_server((OTHER, 0)) as silent:
        async with ends(ONE, credentials=(cluster.node(),)) as (one,):
            peer = PeerId(str(Endpoint(*silent.getsockname())))
            one.network.connect(peer)
            await until(lambda: bool(one.lost))
            assert one.lost == [(peer, "did not finish the TLS handshake in time", True)]
            assert one.refused_by == []
