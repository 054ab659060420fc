"""Webhooks, as the stand-in asks them."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shoal.adapters.kube.api import KubeConnection, KubeRefused, connected
from shoal.testing.certificates import PrivateAuthority
from unit.adapters.kube.serving import Cluster, cluster

PODS = "/api/v1/namespaces/a/pods"
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook"


@dataclass(slots=True)
class Hook:
    """A webhook that answers as told."""

    response: dict[str, Any] = field(default_factory=lambda: {"allowed": True})
    delay_s: float = 0.0
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a review."""
        asked = (await request.json())["request"]
        self.seen.append(asked)
        await asyncio.sleep(self.delay_s)
        return web.json_response({"response": {"uid": asked["uid"], **self.response}})


@asynccontextmanager
async def hooked(
    folder: Path, hook: Hook, **options: object
) -> AsyncIterator[tuple[Cluster, KubeConnection]]:
    (folder / "hook").mkdir()
    authority = PrivateAuthority(folder / "hook")
    app = web.Application()
    app.router.add_post("/mutate", hook.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tls = authority.server_context("hook.a.svc")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        async with cluster(folder) as made, connected(made.access) as kube:
            made.server.services[("a", "hook")] = ("127.0.0.1", runner.addresses[0][1])
            rule = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
            webhook = {
                "name": "hook",
                "rules": [rule | {"operations": ["CREATE"]}],
                "clientConfig": {
                    "service": {"namespace": "a", "name": "hook", "path": "/mutate"},
                    "caBundle": base64.b64encode(authority.ca_file.read_bytes()).decode(),
                },
                **options,
            }
            made.server.put(HOOKS, {"webhooks": [webhook]})
            made.server.put("/api/v1/namespaces/a", {"metadata": {"labels": {"env": "prod"}}})
            yield made, kube
    finally:
        await runner.cleanup()


def pod(name: str, **labels: str) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": {}}


async def test_a_pod_is_written_as_the_webhook_wants_it(tmp_path: Path) -> None:
    patch = json.dumps([{"op": "add", "path": "/spec/x", "value": 1}]).encode()
    hook = Hook({"allowed": True, "patch": base64.b64encode(patch).decode()})
    async with hooked(tmp_path, hook) as (_, kube):
        assert (await kube.create(PODS, pod("one")))["spec"] == {"x": 1}
        assert hook.seen[0]["kind"] == {"group": "", "version": "v1", "kind": "Pod"}
        await kube.patch(f"{PODS}/one", {"spec": {"y": 1}})
        assert len(hook.seen) == 1  # it is asked for creations alone


async def test_a_pod_is_refused_by_a_webhook_that_says_no(tmp_path: Path) -> None:
    hook = Hook({"allowed": False, "status": {"message": "not today"}})
    async with hooked(tmp_path, hook) as (_, kube):
        with pytest.raises(KubeRefused, match="not today"):
            await kube.create(PODS, pod("one"))


async def test_selectors_choose_pods_and_namespaces(tmp_path: Path) -> None:
    hook = Hook()
    terms = [{"key": "env", "operator": "In", "values": ["prod"]}]
    selectors = {
        "objectSelector": {"matchLabels": {"a": "b"}},
        "namespaceSelector": {"matchExpressions": terms},
    }
    async with hooked(tmp_path, hook, **selectors) as (made, kube):
        await kube.create(PODS, pod("one"))
        await kube.create(PODS, pod("two", a="b"))
        made.server.put("/api/v1/namespaces/a", {"metadata": {"labels": {"env": "test"}}})
        await kube.create(PODS, pod("three", a="b"))
        assert [asked["name"] for asked in hook.seen] == ["two"]


@pytest.mark.parametrize("policy", ["Ignore", "Fail"])
async def test_a_webhook_that_is_too_slow_is_left_out_if_its_policy_says_so(
    tmp_path: Path, policy: str
) -> None:
    hook = Hook(delay_s=30)
    async with hooked(tmp_path, hook, failurePolicy=policy, timeoutSeconds=0.2) as (_, kube):
        if policy == "Ignore":
            await kube.create(PODS, pod("one"))
        else:
            with pytest.raises(KubeRefused, match="webhook hook"):
                await kube.create(PODS, pod("one"))
