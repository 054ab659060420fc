"""What does a cluster of 5,000 nodes cost the controller, and how soon is a new node in its site?

The controller alone in a process, and an API server stand-in over HTTPS that holds 5,000 nodes of
50 pools, each as long as a kubelet writes one with 50 images. Nodes change ten times a second, as
by their kubelets' status every few minutes, which moves none to another pool. `memory` is the
controller's anonymous memory (RssAnon) at its highest since its start; `cpu` is what the changes
take, user and system, in percent of a core. Then a node comes, and its endpoint at once: `join`
is how many seconds pass until the agents' ConfigMap has it, and `known` until an agent of its pool
has it as a member, whose kubelet brings it nothing.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.agent_costs import AnonymousPeaks
from bench.api_server import api_server
from bench.background import end, until
from bench.ledger import Figure, Ledger, parser
from shoal.adapters.discovery.kubernetes import KubernetesDiscovery
from shoal.adapters.discovery.node_sites import NodeSites
from shoal.adapters.kube.api import KubeAccess, connected
from shoal.core.peer import PeerId
from shoal.setup.cluster.agent_settings import SITES
from shoal.setup.cluster.authority import make_authority
from shoal.setup.cluster.controller import Controller, ControllerTools
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.lookup import ByHand
from shoal.setup.cluster.objects import PEERS
from shoal.setup.cluster.upkeep import write
from shoal.setup.names import AGENT_SETTINGS
from shoal.testing.bed.usage import CpuTime
from shoal.testing.image import MIB
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.objects import ResourcePath
from shoal.testing.kube.slices import endpoint, endpoint_slice, slice_path

NODES, POOLS, IMAGES = 5000, 50, 50
CHANGES_PER_S = 10
# The limit that the chart sets; of a core, and what an operator may take for at once.
MEMORY_BOUND_MIB, CPU_BOUND_PERCENT, JOIN_BOUND_S = 256, 20.0, 5.0
KNOWN_BOUND_S = 3.0
_PATIENCE_S = 120.0
_REST_S = 3.0
_INSTALLATION = Installation(
    namespace="shoal",
    method="none",
    all_nodes=True,
    agent={"registries": [{"name": "registry.example.com"}]},
)
_MAP = ResourcePath.parse(f"/api/v1/namespaces/shoal/configmaps/{AGENT_SETTINGS}")


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=3)
    options.add_argument("--seconds", type=float, default=20.0, help="of changes a run (20)")
    options.add_argument("--controller", nargs=2, metavar=("SERVER", "FOLDER"), help="be it")
    args = options.parse_args()
    if args.controller:
        asyncio.run(_be_controller(*args.controller))
        return 0
    ledger = Ledger("controller", question="What do 5,000 nodes cost the controller?")
    runs = [asyncio.run(_run(args.seconds)) for _ in range(args.runs)]
    memory, cpu, join, known = zip(*runs, strict=True)
    ledger.add(Figure.at_most("memory", memory, bound=MEMORY_BOUND_MIB, unit="MiB"))
    ledger.add(Figure.at_most("cpu", cpu, bound=CPU_BOUND_PERCENT, unit="% of a core"))
    ledger.add(Figure.at_most("join", join, bound=JOIN_BOUND_S, unit="s"))
    ledger.add(Figure.at_most("known", known, bound=KNOWN_BOUND_S, unit="s"))
    ledger.note("At 10 changes of nodes a second.")
    return ledger.finish(args)


async def _be_controller(server: str, folder: str) -> None:
    tools = ControllerTools(
        access=KubeAccess(server, Path(folder)),
        lookup=ByHand(),
        check_settings=lambda _: None,
        host="127.0.0.1",
        port=0,
        health_port=0,
    )
    await Controller(_INSTALLATION, tools).run(asyncio.Event())


async def _run(seconds: float) -> tuple[float, float, float, float]:
    """Return MiB, percent of a core, and the seconds of one joining and until it is known."""
    async with api_server() as (server, folder):
        put_pools(server)
        async with connected(KubeAccess(server.url, folder)) as kube:
            await make_authority(kube, "shoal")
            await write(kube, _INSTALLATION, {SITES: "{}"})
        async with _controller(server.url, folder) as pid:
            with AnonymousPeaks([pid]) as peaks:
                await until(lambda: _sites(server).count("\n") == NODES, within_s=_PATIENCE_S)
                agent = _Agent(server.url, folder, _sites(server))
                _put_endpoints(server, [0])
                await until(lambda: len(agent.members) == 1, within_s=_PATIENCE_S)
                await asyncio.sleep(_REST_S)
                before_s = CpuTime.of(pid).total_s
                took_s = await _change(server, seconds)
                used_s = CpuTime.of(pid).total_s - before_s
                began_s = time.monotonic()
                put_node(server, NODES, change=0)
                _put_endpoints(server, [0, NODES])
                await until(lambda: _sites(server).count("\n") == NODES + 1, within_s=_PATIENCE_S)
                join_s = time.monotonic() - began_s
                await until(lambda: len(agent.members) == 2, within_s=_PATIENCE_S)
                known_s = time.monotonic() - began_s
                await agent.end()
            memory_bytes = peaks.peak_bytes[pid]
    result = memory_bytes / MIB, 100 * used_s / took_s, join_s, known_s
    print("{:.1f} MiB, {:.2f} % of a core, {:.2f} s, {:.2f} s".format(*result), file=sys.stderr)
    return result


class _Agent:
    """What an agent on the first node knows of its site, by a file that stays as it is."""

    def __init__(self, server: str, folder: Path, sites: str) -> None:
        self.members: frozenset[PeerId] = frozenset()
        file = folder / SITES
        file.write_text(sites)
        discovery = KubernetesDiscovery(
            KubeAccess(server, folder),
            namespace="shoal",
            service=PEERS,
            port=65002,
            sites=NodeSites(file, node="node-00000"),
            sites_config_map=AGENT_SETTINGS,
        )
        self._task = asyncio.ensure_future(discovery.watch(self._told))

    def _told(self, members: frozenset[PeerId]) -> None:
        self.members = members

    async def end(self) -> None:
        """Watch no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _put_endpoints(server: KubeApiServer, numbers: Sequence[int]) -> None:
    endpoints = [
        endpoint(f"10.{number // 250}.{number % 250}.1") | {"nodeName": f"node-{number:05}"}
        for number in numbers
    ]
    server.put(slice_path("peers"), endpoint_slice(endpoints, service=PEERS))


def _sites(server: KubeApiServer) -> str:
    found = server.objects.get(_MAP)
    return str(found["data"][SITES]) if found is not None else ""


def put_pools(server: KubeApiServer) -> None:
    """Put all node pools, and all nodes, shared out among them."""
    for pool in range(POOLS):
        spec = {"type": "Edge", "interConnectivity": True}
        server.put(f"/apis/apps.openyurt.io/v1beta2/nodepools/np{pool}", {"spec": spec})
    for number in range(NODES):
        put_node(server, number, change=0)


def put_node(server: KubeApiServer, number: int, *, change: int) -> None:
    """Have a node of one of the pools, as its kubelet writes it."""
    labels = {
        "apps.openyurt.io/nodepool": f"np{number % POOLS}",
        "openyurt.io/is-edge-worker": "true",
        "kubernetes.io/hostname": f"node-{number}",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    images: list[dict[str, Any]] = [
        {"names": [f"registry.example.com/team/app-{i}@sha256:{i:064}"], "sizeBytes": 10**8 + i}
        for i in range(IMAGES)
    ]
    node = {
        "metadata": {"labels": labels},
        "status": {"images": images, "conditions": [{"type": "Ready", "heartbeat": change}]},
    }
    server.put(f"/api/v1/nodes/node-{number:05}", node)


async def _change(server: KubeApiServer, seconds: float) -> float:
    """Change a node ten times a second, each another; return how long it took."""
    began_s = time.monotonic()
    for change in range(int(seconds * CHANGES_PER_S)):
        put_node(server, change * 7 % NODES, change=change + 1)
        due_s = began_s + (change + 1) / CHANGES_PER_S
        await asyncio.sleep(max(due_s - time.monotonic(), 0))
    return time.monotonic() - began_s


@asynccontextmanager
async def _controller(server: str, folder: Path) -> AsyncIterator[int]:
    """Run the controller; give its process."""
    with (folder / "log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.controller",
            "--controller",
            server,
            str(folder),
            stderr=out,
        )
    try:
        yield process.pid
    finally:
        await end(process)


if __name__ == "__main__":
    sys.exit(main())
