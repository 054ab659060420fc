"""What is needed, and what the API server says of it."""

from dataclasses import replace
from pathlib import Path

from shoal.adapters.kube.api import connected
from shoal.setup.cluster.permissions import Permission, lacking, needed
from shoal.testing.kube.accounts import Identity
from unit.setup.cluster.world import PLAIN, world


async def test_who_may_do_all_lacks_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        assert await lacking(kube, PLAIN) == []


async def test_what_is_lacking_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.identities["first"] = Identity("system:serviceaccount:a:b")
        here.server.tokens = set()
        missing = await lacking(kube, PLAIN)
    assert missing == list(needed(PLAIN))
    assert "list nodepools.apps.openyurt.io" in map(str, missing)


def test_the_webhook_needs_more() -> None:
    more = set(needed(replace(PLAIN, webhook=True))) - set(needed(PLAIN))
    assert Permission("patch", "secrets", name="ack-acr-acceleration-p2p-webhook-tls") in more
