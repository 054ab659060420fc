"""What do the Jobs and the webhook take, in a cluster of 5,000 nodes?

Each alone in a process, against an API server stand-in over HTTPS. `job` is the set-up Job's
anonymous memory (RssAnon) at its highest from its start to its end, over 5,000 nodes of 50 pools,
with the cloud's SDKs imported as for ACR; `uninstall` that of the Job that uninstalls. `webhook` is
the webhook's, over some hundred pods a second, each in a namespace of its own with a pull secret
that is copied, 16 at once. `review` is the processor's time, user and system, that one of them
takes.
"""

import asyncio
import base64
import importlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession, TCPConnector

from bench.agent_costs import AnonymousPeaks
from bench.api_server import api_server
from bench.background import end, until
from bench.controller import NODES, put_pools
from bench.ledger import Figure, Ledger, parser
from shoal.adapters.certificates.authority import Authority
from shoal.adapters.kube.api import KubeAccess, connected
from shoal.cli.setup_cluster import check_agent_settings
from shoal.setup.cluster.authority import server_certificate
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.job import JobTools, run_job
from shoal.setup.cluster.lookup import ByHand
from shoal.setup.cluster.objects import CERTIFICATE, HOOK, KEY
from shoal.setup.cluster.webhook import Webhook, WebhookTools
from shoal.setup.farewell.job import Uninstall
from shoal.setup.names import WEBHOOK
from shoal.testing.bed.usage import CpuTime
from shoal.testing.image import MIB
from shoal.testing.kube.api_server import KubeApiServer

PODS, AT_ONCE = 2000, 16
# Half of the limit that the chart sets for both; and what 20 pods a second may take of a core.
MEMORY_BOUND_MIB, REVIEW_BOUND_MS = 64, 20.0
_PATIENCE_S = 120.0
_REGISTRY = "registry.example.com"
_SDKS = (
    "shoal.setup.cluster.cloud_lookup",
    "alibabacloud_cr20181201.client",
    "alibabacloud_sts20150401.client",
    "alibabacloud_credentials.provider",
)
_INSTALLATION = Installation(
    namespace="shoal",
    method="none",
    all_nodes=True,
    agent={"registries": [{"name": _REGISTRY}]},
)


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=3)
    options.add_argument("--be", nargs=3, metavar=("WHAT", "SERVER", "FOLDER"), help="be it")
    args = options.parse_args()
    if args.be:
        what, server, folder = args.be
        be = {"job": _be_job, "uninstall": _be_uninstall, "webhook": _be_webhook}[what]
        asyncio.run(be(KubeAccess(server, Path(folder)), Path(folder)))
        return 0
    ledger = Ledger("set-up", question="What do the Jobs and the webhook take?")
    runs = [asyncio.run(_run()) for _ in range(args.runs)]
    job, uninstall, webhook, review = zip(*runs, strict=True)
    ledger.add(Figure.at_most("job", job, bound=MEMORY_BOUND_MIB, unit="MiB"))
    ledger.add(Figure.at_most("uninstall", uninstall, bound=MEMORY_BOUND_MIB, unit="MiB"))
    ledger.add(Figure.at_most("webhook", webhook, bound=MEMORY_BOUND_MIB, unit="MiB"))
    ledger.add(Figure.at_most("review", review, bound=REVIEW_BOUND_MS, unit="ms"))
    ledger.note(f"{NODES} nodes; {PODS} pods, each with a pull secret that is copied.")
    return ledger.finish(args)


async def _be_job(access: KubeAccess, folder: Path) -> None:
    for module in _SDKS:
        importlib.import_module(module)
    tools = JobTools(
        access=access,
        lookup=ByHand(),
        check_settings=check_agent_settings,
        say=print,
        account_dir=folder,
    )
    await run_job(_INSTALLATION, tools)


async def _be_uninstall(access: KubeAccess, _folder: Path) -> None:
    async with connected(access) as kube:
        await Uninstall(kube=kube, namespace="shoal", manifests=(), wait_s=1).run()


async def _be_webhook(access: KubeAccess, folder: Path) -> None:
    settings = folder / "agent.yaml"
    tools = WebhookTools(
        access=access, settings=settings, tls_dir=folder, host="127.0.0.1", port=0, health_port=0
    )
    webhook = Webhook(tools)
    async with webhook.running():
        (folder / "port").write_text(str(webhook.port))
        await asyncio.Event().wait()


async def _run() -> tuple[float, float, float, float]:
    """Return the MiB of both Jobs and of the webhook, and milliseconds of a review."""
    async with api_server() as (server, folder):
        put_pools(server)
        job_bytes = await _job("job", server.url, folder)
        uninstall_bytes = await _job("uninstall", server.url, folder)
        webhook_bytes, review_s = await _webhook(server, folder)
    result = job_bytes / MIB, uninstall_bytes / MIB, webhook_bytes / MIB, 1000 * review_s
    print("{:.1f} MiB, {:.1f} MiB, {:.1f} MiB, {:.2f} ms".format(*result), file=sys.stderr)
    return result


async def _job(which: str, url: str, folder: Path) -> int:
    async with _process(which, url, folder) as process:
        with AnonymousPeaks([process.pid]) as peaks:
            async with asyncio.timeout(_PATIENCE_S):
                code = await process.wait()
    if code != 0:
        raise RuntimeError(f"{which} ended with {code}: {(folder / 'log').read_text()}")
    return peaks.peak_bytes[process.pid]


async def _webhook(server: KubeApiServer, folder: Path) -> tuple[int, float]:
    """Return its memory, and the seconds of a processor that one review takes."""
    shown = server_certificate(Authority.make("bench"), WEBHOOK, "shoal")
    (folder / CERTIFICATE).write_bytes(shown.certificate)
    (folder / KEY).write_bytes(shown.key)
    registry = {"name": _REGISTRY, "aliases": ["registry.distributed.example.com:65001"]}
    (folder / "agent.yaml").write_text(yaml.safe_dump({"registries": [registry]}))
    server.put(HOOK, {"webhooks": []})
    for number in range(PODS):
        server.put(f"/api/v1/namespaces/ns{number}/secrets/pull", _secret())
    async with _process("webhook", server.url, folder) as process:
        port = folder / "port"
        await until(lambda: port.exists() and bool(port.read_text()), within_s=_PATIENCE_S)
        with AnonymousPeaks([process.pid]) as peaks:
            before_s = CpuTime.of(process.pid).total_s
            async with ClientSession(connector=TCPConnector(limit=AT_ONCE)) as session:
                url = f"https://127.0.0.1:{port.read_text()}/mutate?timeout=30s"
                gate = asyncio.Semaphore(AT_ONCE)
                await asyncio.gather(*(_ask(session, url, gate, n) for n in range(PODS)))
            used_s = CpuTime.of(process.pid).total_s - before_s
    return peaks.peak_bytes[process.pid], used_s / PODS


async def _ask(session: ClientSession, url: str, gate: asyncio.Semaphore, number: int) -> None:
    pod = {
        "metadata": {"labels": {"k8s.aliyun.com/image-accelerate-mode": "p2p"}},
        "spec": {
            "containers": [{"name": f"c{i}", "image": f"{_REGISTRY}/team/a:{i}"} for i in range(4)],
            "imagePullSecrets": [{"name": "pull"}],
        },
    }
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": str(number), "namespace": f"ns{number}", "object": pod},
    }
    # Whose certificate it is does not matter here.
    async with gate, session.post(url, json=review, ssl=False) as answer:
        told: Any = await answer.json()
    if "patch" not in told["response"]:
        raise RuntimeError(f"the webhook changed nothing: {told}")


def _secret() -> dict[str, Any]:
    auths = {_REGISTRY: {"auth": base64.b64encode(b"user:password").decode()}}
    content = json.dumps({"auths": auths}).encode()
    return {"data": {".dockerconfigjson": base64.b64encode(content).decode()}}


@asynccontextmanager
async def _process(what: str, url: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / "log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.set_up", "--be", what, url, str(folder)),
            stdout=out,
            stderr=out,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            await end(process)


if __name__ == "__main__":
    sys.exit(main())
