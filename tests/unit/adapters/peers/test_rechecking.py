"""Connections that stand when a node gets new credentials."""

import pytest

from shoal.adapters.peers import rechecking
from shoal.core.trust.identity import Reason
from unit.adapters.peers.cluster import Nodes
from unit.adapters.peers.ends import until
from unit.adapters.peers.members import connect, ends


@pytest.mark.parametrize("at_once", [1, 16])
async def test_new_credentials_leave_connections_and_close_what_was_revoked(
    cluster: Nodes, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(rechecking, "RECHECKED_AT_ONCE", at_once)
    good, renewed, bad = cluster.node(), cluster.node(), cluster.node()
    hosts = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
    async with ends(*hosts, credentials=(good, renewed, bad)) as (one, other, third):
        good.when_changed(one.network.credentials_changed)
        await connect(one, other)
        one.network.connect(third.me)
        await until(lambda: bool(third.connected))
        kept = one.network.link(other.me)
        cluster.revoke(bad, told=good)
        await until(lambda: bool(one.lost and third.lost))
        assert one.network.link(other.me) is kept
        assert kept is not None
        assert not kept.closed
        ((peer, reason, failed),) = one.lost
        assert (peer, failed) == (third.me, True)
        assert "revoked" in reason
        assert one.refusals == [Reason.REVOKED]
