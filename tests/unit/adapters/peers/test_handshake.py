"""Handshakes: who gets through, who does not, and what each end hears of it."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from shoal.adapters.certificates.keys import key_pem, make_key
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.peers import handshake as handshake_module
from shoal.adapters.peers.handshake import ALPN, HungUp, TooSlow, shake_hands
from shoal.adapters.peers.stream import HANDSHAKE, NO_TLS_HERE
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.errors import PeerFault
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Reason, Refused, Role
from unit.adapters.peers.cluster import Nodes
from unit.adapters.peers.ends import tcp_pair

Pair = tuple[PeerCredentials, PeerCredentials]
SERVER = PeerId("127.0.0.1:65002")


async def _shake(
    client: PeerCredentials, server: PeerCredentials, *, dialed: PeerId = SERVER
) -> tuple[TlsStream | PeerFault, TlsStream | PeerFault]:
    """Return what becomes of each end; the client reads once if it believes in the connection."""
    one, other = tcp_pair()
    for sock in (one, other):
        sock.setblocking(False)
    ends = await asyncio.gather(
        _outcome(one, client, dialed), _outcome(other, server, None), return_exceptions=False
    )
    for end in ends:
        if isinstance(end, TlsStream):
            end.close()
    return ends


async def _outcome(
    sock: socket.socket, credentials: PeerCredentials, dialed: PeerId | None
) -> TlsStream | PeerFault:
    try:
        stream = await shake_hands(sock, credentials, dialed=dialed)
        if dialed is not None:
            await _first_read(stream)
        else:
            stream.send(b"welcome")
    except PeerFault as fault:
        return fault
    return stream


async def _first_read(stream: TlsStream) -> None:
    """Do as who dialed: say something, and read; a refusal shows at the latest here."""
    try:
        stream.send(b"hello")
        async with asyncio.timeout(30.0):
            while True:
                try:
                    stream.receive(memoryview(bytearray(100)))
                except BlockingIOError:
                    await asyncio.sleep(0.001)
                else:
                    return
    except PeerFault:
        stream.close()
        raise
    except OSError:
        return


def _reason(end: TlsStream | PeerFault) -> Reason:
    assert isinstance(end, Refused), end
    return end.reason


async def test_two_nodes_of_a_cluster_know_each_other_afterwards(credentials: Pair) -> None:
    client, server = credentials
    one, other = await _shake(client, server)
    assert isinstance(one, TlsStream)
    assert isinstance(other, TlsStream)
    assert one.identity == server.identity
    assert other.identity == client.identity
    assert one.certificate == server.current.certificate.der


async def test_a_session_cannot_be_taken_up_again_without_showing_a_certificate(
    credentials: Pair,
) -> None:
    assert credentials[1].server_context.num_tickets == 0
    assert credentials[0].client_context.minimum_version == ssl.TLSVersion.TLSv1_3


async def test_another_clusters_certificate_is_refused_and_both_ends_know_why(
    tmp_path: Path, cluster: Nodes
) -> None:
    other_cluster = Nodes(tmp_path, "other")
    one, other = await _shake(other_cluster.node(), cluster.node())
    assert _reason(one) is Reason.OTHER_CLUSTER
    assert "authority" in str(one)
    assert _reason(other) is Reason.REFUSED_BY_PEER


async def test_a_client_of_another_cluster_hears_that_it_is_not_trusted(
    tmp_path: Path, cluster: Nodes
) -> None:
    """It trusts this cluster, but shows what the other one has signed."""
    stranger = Nodes(tmp_path, "other").node()
    stranger.current.client_context.load_verify_locations(
        cadata=(
            cluster.cluster.authority.certificate.pem
            + cluster.cluster.authority.revocation_list({}).pem
        ).decode()
    )
    stranger.current.client_context.verify_flags &= ~ssl.VERIFY_CRL_CHECK_LEAF
    one, other = tcp_pair()
    for sock in (one, other):
        sock.setblocking(False)
    tls = stranger.current.client_context.wrap_socket(
        one, server_hostname="127.0.0.1", do_handshake_on_connect=False
    )
    server = asyncio.create_task(_outcome(other, cluster.node(), None))  # noqa: TID251 - awaited
    await handshake_module._shake(tls)
    assert _reason(await server) is Reason.OTHER_CLUSTER
    with pytest.raises(ssl.SSLError, match="unknown ca"):
        tls.recv(1)
    tls.close()


async def test_an_expired_certificate_is_refused_whoever_shows_it(cluster: Nodes) -> None:
    one, other = await _shake(cluster.expired(), cluster.node())
    assert _reason(other) is Reason.EXPIRED
    assert _reason(one) is Reason.REFUSED_BY_PEER
    assert "expired" in str(one)
    one, other = await _shake(cluster.node(), cluster.expired())
    assert _reason(one) is Reason.EXPIRED
    assert _reason(other) is Reason.REFUSED_BY_PEER


async def test_a_revoked_certificate_is_refused_whoever_shows_it(cluster: Nodes) -> None:
    good, bad = cluster.node(), cluster.node()
    cluster.revoke(bad, told=good)
    one, other = await _shake(bad, good)
    assert _reason(other) is Reason.REVOKED
    assert _reason(one) is Reason.REFUSED_BY_PEER
    assert "revoked" in str(one)
    one, other = await _shake(good, bad)
    assert _reason(one) is Reason.REVOKED
    assert _reason(other) is Reason.REFUSED_BY_PEER


async def test_a_member_that_answers_with_anothers_certificate_is_refused(
    cluster: Nodes,
) -> None:
    one, other = await _shake(cluster.node(), cluster.node("127.0.0.9"))
    assert _reason(one) is Reason.NOT_THE_MEMBER
    assert "address" in str(one)
    assert isinstance(other, PeerFault)


async def test_who_shows_no_certificate_is_refused(cluster: Nodes) -> None:
    server = cluster.node()
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    tls, end = await _bare_client(bare, server)
    assert _reason(end) is Reason.NONE
    with pytest.raises(ssl.SSLError, match="certificate required"):
        tls.recv(1)
    tls.close()


async def test_an_operator_is_no_node_and_gets_no_pieces(cluster: Nodes, tmp_path: Path) -> None:
    key = make_key()
    certificate = cluster.cluster.authority.issue(
        key.public_key(), roles=[Role.OPERATOR], name="alice"
    )
    chain = tmp_path / "alice.pem"
    chain.write_bytes(certificate.pem + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(chain)
    context.set_alpn_protocols([ALPN])
    tls, end = await _bare_client(context, cluster.node())
    assert _reason(end) is Reason.NOT_THE_MEMBER
    assert "alice of test" in str(end)
    tls.close()


async def test_a_program_of_the_cluster_that_is_no_agent_is_refused(cluster: Nodes) -> None:
    one, other = await _shake(cluster.node(alpn=()), cluster.node())
    assert "shoal/1" in str(one)
    assert isinstance(other, PeerFault)
    one, other = await _shake(cluster.node(), cluster.node(alpn=("h2",)))
    assert "shoal/1" in str(one) + str(other)


async def test_older_tls_is_refused(cluster: Nodes) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    one, other = tcp_pair()
    for sock in (one, other):
        sock.setblocking(False)
    server = asyncio.create_task(_outcome(other, cluster.node(), None))  # noqa: TID251 - awaited
    tls = old.wrap_socket(one, do_handshake_on_connect=False)
    with pytest.raises(ssl.SSLError, match="protocol version"):
        await handshake_module._shake(tls)
    tls.close()
    assert _reason(await server) is Reason.NO_TLS


async def _bare_client(
    context: ssl.SSLContext, server: PeerCredentials
) -> tuple[ssl.SSLSocket, TlsStream | PeerFault]:
    one, other = tcp_pair()
    for sock in (one, other):
        sock.setblocking(False)
    task = asyncio.create_task(_outcome(other, server, None))  # noqa: TID251 - awaited below
    tls = context.wrap_socket(one, do_handshake_on_connect=False)
    await handshake_module._shake(tls)
    return tls, await task


# --- what is no TLS -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [b"\x00\x00\x00\x15\x01\x00\x12127.0.0.3:65002", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100],
    ids=["shoal", "http", "garbage"],
)
async def test_plain_words_are_answered_in_tls_and_refused(said: bytes, credentials: Pair) -> None:
    one, other = tcp_pair()
    other.setblocking(False)
    one.sendall(said)
    task = asyncio.create_task(_outcome(other, credentials[1], None))  # noqa: TID251 - awaited
    one.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(one, 100) == NO_TLS_HERE
    one.close()
    end = await task
    assert _reason(end) is Reason.NO_TLS
    assert "plain TCP" in str(end)


async def test_garbage_that_looks_like_tls_is_refused(credentials: Pair) -> None:
    one, other = tcp_pair()
    other.setblocking(False)
    one.sendall(bytes((HANDSHAKE, 3, 1, 0, 50)) + os.urandom(50))
    task = asyncio.create_task(_outcome(other, credentials[1], None))  # noqa: TID251 - awaited
    one.settimeout(30.0)
    one.shutdown(socket.SHUT_WR)
    end = await task
    assert isinstance(end, Refused)
    one.close()


async def test_a_plain_peer_that_is_dialed_says_so_and_is_not_spoken_to_plainly(
    credentials: Pair,
) -> None:
    one, other = tcp_pair()
    one.setblocking(False)
    task = asyncio.create_task(_outcome(one, credentials[0], SERVER))  # noqa: TID251 - awaited
    other.setblocking(False)
    assert (await asyncio.get_running_loop().sock_recv(other, 4096))[0] == HANDSHAKE
    other.send(NO_TLS_HERE)
    end = await task
    assert _reason(end) is Reason.NO_TLS
    assert "peer.plaintext" in str(end)
    other.close()


# --- those that do not finish ---------------------------------------------------------------------


async def test_a_peer_that_leaves_in_the_middle_has_hung_up(credentials: Pair) -> None:
    for said in (b"", bytes((HANDSHAKE, 3))):
        one, other = tcp_pair()
        one.sendall(said)
        one.close()
        other.setblocking(False)
        assert isinstance(await _outcome(other, credentials[1], None), HungUp)
    one, other = tcp_pair()
    one.setblocking(False)
    other.close()
    assert isinstance(await _outcome(one, credentials[0], SERVER), HungUp)


@pytest.mark.parametrize("said", [b"", bytes((HANDSHAKE,)), bytes((HANDSHAKE, 3, 1, 2, 0, 1))])
async def test_a_handshake_that_is_not_finished_is_given_up(
    said: bytes, credentials: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake_module, "HANDSHAKE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(handshake_module, "DIAL_HANDSHAKE_TIMEOUT_S", 0.1)
    one, other = tcp_pair()
    one.sendall(said)
    other.setblocking(False)
    assert isinstance(await _outcome(other, credentials[1], None), TooSlow)
    one.settimeout(30.0)
    assert one.recv(100) == b""
    one.close()
    one, other = tcp_pair()
    one.setblocking(False)
    assert isinstance(await _outcome(one, credentials[0], SERVER), TooSlow)
    other.close()


async def test_a_handshake_that_drips_is_given_up(
    credentials: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake_module, "HANDSHAKE_TIMEOUT_S", 0.3)
    one, other = tcp_pair()
    other.setblocking(False)
    task = asyncio.create_task(_outcome(other, credentials[1], None))  # noqa: TID251 - awaited
    hello = bytes((HANDSHAKE, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3)) + bytes(500)
    for byte in hello:
        if task.done():
            break
        one.send(bytes((byte,)))
        await asyncio.sleep(0.01)
    assert isinstance(await task, TooSlow)
    one.close()
