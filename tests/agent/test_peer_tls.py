"""Whole agents that speak TLS with each other: whom they take, and that the rest can still pull."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from agent.conftest import Registry
from agent.sites import MB, Node, addresses, blob, site
from shoal.testing.cluster import Cluster, settings_of


def _shown(cluster: Cluster, host: str, **options: Any) -> dict[str, Any]:
    """Return the settings of a node that shows a certificate of `cluster`."""
    return {"peer": {"tls": settings_of(cluster.issue(host, [host], **options))}}


async def _stored(node: Node, digest: Any) -> None:
    await node.until(lambda: any((node.folder / node.host / "blobs").rglob(digest.hex)))


async def test_a_blob_goes_between_nodes_with_certificates_byte_for_byte(
    tmp_path: Path, registry: Registry
) -> None:
    size = 20 * MB
    digest = blob(registry, size)
    cluster, hosts = Cluster(tmp_path / "certificates"), addresses(2)
    each = [_shown(cluster, host) for host in hosts]
    async with site(tmp_path, registry, each=each, hosts=hosts) as (session, [seed, other]):
        await seed.pull(session, digest)
        await _stored(seed, digest)
        await other.pull(session, digest)  # whose every byte is checked
        # All of it, where the machine is not too busy for peers to be in time.
        received = await other.metric(session, "shoal_peer_received_bytes_total")
        assert 0 < received <= size
        assert await seed.metric(session, "shoal_peer_sent_bytes_total") >= received


async def test_whoever_is_not_of_the_cluster_is_refused_and_pulls_from_the_registry(
    tmp_path: Path, registry: Registry
) -> None:
    cluster, hosts = Cluster(tmp_path / "certificates"), addresses(5)
    good, stranger, late, revoked, plain = hosts
    long_ago = datetime.now(UTC) - timedelta(days=3)
    each = [
        _shown(cluster, good),
        _shown(Cluster(tmp_path / "others", "other"), stranger),
        _shown(cluster, late, now=long_ago, days=1),
        _shown(cluster, revoked),
        {"peer": {"plaintext": True}},
    ]
    cluster.revoke(revoked)
    async with site(tmp_path, registry, each=each, hosts=hosts, peers=0) as (session, nodes):
        for host, cause in (
            (stranger, "other_cluster"),
            (late, "expired"),
            (revoked, "revoked"),
            (plain, "no_tls"),
        ):
            await _heard(nodes[0], host, cause)
            assert await _refusals(nodes[0], session, cause) > 0
        # Each of them hears why the good one does not take it, or says itself what is wrong.
        for node, cause in zip(
            nodes[1:],
            ("other_cluster", "refused_by_peer", "refused_by_peer", "no_tls"),
            strict=True,
        ):
            await _heard(node, good, cause)
            assert await _refusals(node, session, cause) > 0
        digests = [blob(registry, MB) for _ in nodes]
        await asyncio.gather(
            *(node.pull(session, digest) for node, digest in zip(nodes, digests, strict=True))
        )
        for node in nodes:
            assert await node.metric(session, "shoal_peers_connected") == 0


async def _heard(node: Node, host: str, cause: str) -> None:
    """Wait until the log of `node` has that it and `host` parted, and why."""
    await node.until(lambda: _says(node, host, cause))


def _says(node: Node, host: str, cause: str) -> bool:
    return any(
        record.get("event") == "peer_refused"
        and record.get("host") == host
        and record.get("cause") == cause
        for record in node.records()
    )


async def _refusals(node: Node, session: aiohttp.ClientSession, reason: str) -> float:
    return await node.metric(session, "shoal_peer_handshakes_refused_total", reason=reason)


async def test_a_certificate_that_is_revoked_ends_its_connections_and_a_new_one_is_taken(
    tmp_path: Path, registry: Registry
) -> None:
    cluster, hosts = Cluster(tmp_path / "certificates"), addresses(3)
    each = [_shown(cluster, host) for host in hosts]
    async with site(tmp_path, registry, each=each, hosts=hosts) as (session, [one, two, bad]):
        before = {node.host: len(node.records()) for node in (one, two)}
        cluster.revoke(bad.host)
        for node in (one, two):
            await _heard(node, bad.host, "revoked")
        # The connection between the others stands: it was not made anew, so nobody lost it.
        for node, other in ((one, two), (two, one)):
            assert not _lost(node.records()[before[node.host] :], f"{other.host}:")
        _shown(cluster, bad.host)  # over the old one
        for node in (one, two, bad):
            await node.connected(session, 2)


def _lost(records: list[dict[str, Any]], peer: str) -> bool:
    return any(
        record["event"] == "peer_lost" and str(record["peer"]).startswith(peer)
        for record in records
    )
