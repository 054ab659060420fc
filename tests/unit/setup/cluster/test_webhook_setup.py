"""The webhook's certificate over the years."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.kube.api import connected
from shoal.setup.cluster.webhook_setup import set_up_webhook
from unit.setup.cluster.world import NAME, NAMESPACE, PLAIN, world

SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-webhook-tls"
HOOK = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"


async def test_it_is_renewed_in_time_and_trusted_anew_by_another_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    first, second = Authority.make("c"), Authority.make("c")
    hook: dict[str, Any] = {"webhooks": [{"name": "a", "clientConfig": {"caBundle": "b2xk"}}]}
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.put(HOOK, hook)
        assert await set_up_webhook(kube, PLAIN, first, now=now)
        assert not await set_up_webhook(kube, PLAIN, first, now=now + timedelta(days=50))
        before = here.get(SECRET)["data"]
        assert await set_up_webhook(kube, PLAIN, first, now=now + timedelta(days=70))
        assert here.get(SECRET)["data"]["tls.crt"] != before["tls.crt"]
        assert await set_up_webhook(kube, PLAIN, second, now=now)
        bundle = here.get(HOOK)["webhooks"][0]["clientConfig"]["caBundle"]
        assert bundle == here.get(SECRET)["data"]["ca.crt"]


async def test_a_secret_that_holds_nonsense_is_replaced(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        authority = Authority.make("c")
        for data in ({}, {"tls.crt": "bm8=", "tls.key": "bm8="}):
            here.server.put(SECRET, {"data": data})
            assert await set_up_webhook(kube, PLAIN, authority, now=datetime.now(UTC))
