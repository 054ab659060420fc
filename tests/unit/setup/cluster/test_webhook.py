"""The webhook, asked by an API server over HTTPS as its configuration says."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from shoal.adapters.kube.api import KubeConnection, connected
from shoal.setup.cluster.job import run_job
from shoal.setup.cluster.webhook import Webhook, WebhookTools, names_in
from shoal.testing.kube.faults import Hang, Refuse
from unit.agent.driving import until
from unit.setup.cluster.test_pull_secrets import ENTRY, HOOK, NEW, OLD, SECRETS, secret
from unit.setup.cluster.world import AGENT_MAP, NAME, NAMESPACE, World, world

PODS = "/api/v1/namespaces/apps/pods"
TLS = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-webhook-tls"
MODE = "k8s.aliyun.com/image-accelerate-mode"


def configuration() -> dict[str, Any]:
    rules = [
        {"resources": ["pods"], "operations": ["CREATE"]},
        {"resources": ["pods/ephemeralcontainers"], "operations": ["UPDATE"]},
    ]
    hook = {
        "name": "pods.p2p.shoal.io",
        "clientConfig": {
            "service": {"name": f"{NAME}-webhook", "namespace": NAMESPACE, "path": "/mutate"}
        },
        "rules": [rule | {"apiGroups": [""], "apiVersions": ["v1"]} for rule in rules],
        "objectSelector": {"matchLabels": {MODE: "p2p"}},
        "failurePolicy": "Ignore",
        "timeoutSeconds": 60,
    }
    return {"webhooks": [hook]}


def mount(here: World, folder: Path) -> None:
    """Put what the kubelet mounts into `folder`."""
    for key, value in here.get(TLS)["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    (folder / "agent.yaml").write_text(here.get(AGENT_MAP)["data"]["agent.yaml"])


def pod(name: str, *, secrets: tuple[str, ...] = (), **labels: str) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": {MODE: "p2p", **labels}},
        "spec": {
            "containers": [{"name": "c", "image": f"{OLD}/team/app:1"}],
            "imagePullSecrets": [{"name": secret} for secret in secrets],
        },
    }


@asynccontextmanager
async def hooked(folder: Path) -> AsyncIterator[tuple[World, Webhook]]:
    async with world(folder) as here:
        here.server.put(HOOK, configuration())
        here.server.put("/api/v1/namespaces/apps", {})
        here.server.put(f"{SECRETS}/mine", secret(OLD))
        installation = here.installed(webhook=True, agent={"registries": [{"name": OLD}]})
        await run_job(installation, here.tools())
        mounted = folder / "mounted"
        mounted.mkdir()
        mount(here, mounted)
        tools = WebhookTools(
            access=here.access,
            settings=mounted / "agent.yaml",
            tls_dir=mounted,
            host="127.0.0.1",
            port=0,
            health_port=0,
            poll_s=0.02,
        )
        webhook = Webhook(tools)
        async with webhook.running():
            here.server.services[(NAMESPACE, f"{NAME}-webhook")] = ("127.0.0.1", webhook.port)
            yield here, webhook


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster with a webhook that runs."""
    async with hooked(tmp_path) as (running, _):
        yield running


@pytest.fixture
async def kube(here: World) -> AsyncIterator[KubeConnection]:
    """A connection with it."""
    async with connected(here.access) as connection:
        yield connection


def image_of(thing: dict[str, Any]) -> str:
    return str(thing["spec"]["containers"][0]["image"])


async def test_a_labelled_pod_is_rewritten_with_its_secret_there_before(
    here: World, kube: KubeConnection
) -> None:
    made = await kube.create(PODS, pod("one", secrets=("mine",)))
    assert image_of(made) == f"{NEW}/team/app:1"
    assert made["spec"]["imagePullSecrets"] == [
        {"name": "mine"},
        {"name": "acr-credential-mine-p2p"},
    ]
    copy = here.get(f"{SECRETS}/acr-credential-mine-p2p")
    assert int(copy["metadata"]["resourceVersion"]) < int(made["metadata"]["resourceVersion"])
    content = json.loads(base64.b64decode(copy["data"][".dockerconfigjson"]))
    assert content == {"auths": {NEW: ENTRY}}


async def test_a_pod_whose_secret_is_not_there_yet_stays_as_it_is(kube: KubeConnection) -> None:
    made = await kube.create(PODS, pod("one", secrets=("later",)))
    assert image_of(made) == f"{OLD}/team/app:1"


async def test_a_pod_without_secrets_is_rewritten_too(kube: KubeConnection) -> None:
    assert image_of(await kube.create(PODS, pod("one"))) == f"{NEW}/team/app:1"


async def test_a_debug_container_is_rewritten_if_its_credentials_are_there(
    kube: KubeConnection,
) -> None:
    change = {"spec": {"ephemeralContainers": [{"name": "e", "image": f"{OLD}/team/debug"}]}}
    await kube.create(PODS, pod("with", secrets=("mine",)))
    thing = await kube.patch(f"{PODS}/with/ephemeralcontainers", change, kind="strategic")
    assert thing["spec"]["ephemeralContainers"][0]["image"] == f"{NEW}/team/debug"
    plain = pod("without", secrets=("mine",))
    plain["metadata"]["labels"] = {}
    await kube.create(PODS, plain)  # made before it was labelled
    await kube.patch(f"{PODS}/without", {"metadata": {"labels": {MODE: "p2p"}}})
    thing = await kube.patch(f"{PODS}/without/ephemeralcontainers", change, kind="strategic")
    assert thing["spec"]["ephemeralContainers"][0]["image"] == f"{OLD}/team/debug"


async def test_labelling_a_pod_that_runs_restarts_nothing(
    here: World, kube: KubeConnection
) -> None:
    plain = pod("one")
    plain["metadata"]["labels"] = {}
    await kube.create(PODS, plain)
    thing = await kube.patch(f"{PODS}/one", {"metadata": {"labels": {MODE: "p2p"}}})
    assert image_of(thing) == f"{OLD}/team/app:1"


async def test_an_api_server_that_refuses_leaves_pods_as_they_are(
    here: World, kube: KubeConnection
) -> None:
    here.server.faults.add(Refuse(503), verb="get")
    made = await kube.create(PODS, pod("one", secrets=("mine",)))
    assert image_of(made) == f"{OLD}/team/app:1"


async def test_a_slow_look_at_a_secret_ends_before_the_api_server_s_patience(
    tmp_path: Path,
) -> None:
    async with hooked(tmp_path) as (here, webhook):
        here.server.faults.add(Hang(), verb="get", times=None)
        trust = ssl.create_default_context(cadata=(tmp_path / "mounted" / "ca.crt").read_text())
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u",
                "namespace": "apps",
                "object": pod("one", secrets=("mine",)),
                "dryRun": False,
            },
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"https://127.0.0.1:{webhook.port}/mutate?timeout=1s",
                json=review,
                ssl=trust,
                server_hostname=f"{NAME}-webhook.{NAMESPACE}.svc",
            ) as response,
        ):
            answer = (await response.json())["response"]
        assert answer == {"uid": "u", "allowed": True}


async def test_a_webhook_that_is_dead_stops_no_pod(tmp_path: Path) -> None:
    async with hooked(tmp_path) as (here, webhook):
        port = webhook.port
        here.server.services[(NAMESPACE, f"{NAME}-webhook")] = ("127.0.0.1", 1)
        async with connected(here.access) as kube:
            assert image_of(await kube.create(PODS, pod("one"))) == f"{OLD}/team/app:1"
            here.server.services[(NAMESPACE, f"{NAME}-webhook")] = ("127.0.0.1", port)
            assert image_of(await kube.create(PODS, pod("two"))) == f"{NEW}/team/app:1"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'{"request": 1}', b'{"apiVersion": "admission.k8s.io/v1", "request": {}}'],
)
async def test_what_is_no_review_is_refused(tmp_path: Path, body: bytes) -> None:
    async with hooked(tmp_path) as (here, webhook):
        trust = ssl.create_default_context(cadata=(tmp_path / "mounted" / "ca.crt").read_text())
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"https://127.0.0.1:{webhook.port}/mutate",
                data=body,
                ssl=trust,
                server_hostname=f"{NAME}-webhook.{NAMESPACE}.svc",
            ) as response,
        ):
            assert response.status == 400
        assert here.server.watches == 0


async def test_a_renewed_certificate_and_new_names_are_taken_without_a_restart(
    tmp_path: Path,
) -> None:
    async with hooked(tmp_path) as (here, _), connected(here.access) as kube:
        here.server.delete(TLS)
        installation = here.installed(agent={"registries": [{"name": "docker.io"}]})
        await run_job(installation, here.tools())
        mount(here, tmp_path / "mounted")
        count = 0

        async def image(name: str) -> str:
            thing = pod(name)
            thing["spec"]["containers"][0]["image"] = "redis"
            return image_of(await kube.create(PODS, thing))

        async with asyncio.timeout(30):
            while await image(f"p{count}") == "redis":
                count += 1
                await asyncio.sleep(0.02)
        assert await image("last") == "docker.distributed.io:65001/library/redis"


async def test_it_waits_for_its_certificate_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        (tmp_path / "mounted").mkdir()
        tools = WebhookTools(
            access=here.access,
            settings=tmp_path / "mounted" / "agent.yaml",
            tls_dir=tmp_path / "mounted",
            host="127.0.0.1",
            port=0,
            health_port=0,
            poll_s=0.02,
        )
        webhook = Webhook(tools)
        stop = asyncio.Event()
        task = asyncio.ensure_future(webhook.run(stop))
        await until(lambda: webhook.health_port != 0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{webhook.health_port}") as session:
            async with session.get("/readyz") as response:
                assert response.status == 503
            here.server.put(HOOK, configuration())
            await run_job(here.installed(webhook=True), here.tools())
            mount(here, tmp_path / "mounted")
            await until(lambda: webhook.port != 0)
            await asyncio.sleep(0)
            async with session.get("/readyz") as response:
                assert response.status == 200
        stop.set()
        await task


def test_names_come_from_the_agents_settings(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("{front: {port: 7}, registries: [{name: a.b, aliases: [a.distributed.b:7]}]}")
    assert names_in(file) == {"a.b": "a.distributed.b:7"}
    file.write_text("[]")
    with pytest.raises(TypeError):
        names_in(file)
