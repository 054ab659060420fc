"""What does it cost an agent to watch the endpoints of a Service, and how soon does it know?

Two agents, of one process each and with nothing to do: one alone, the other with a watch of 5,000
endpoints, 50 EndpointSlices of a hundred, at an API server stand-in over HTTPS. Endpoints become
ready and unready ten times a second in all, each time in another slice, so each change sends a
slice of 100 endpoints again and changes the members. `memory` is how much more anonymous memory
(RssAnon) the second has than the first, at its highest since its start; `cpu` is how much more
processor time it takes, user and system, in percent of a core. Then one endpoint more comes, and
goes: `join` and `leave` are the seconds until the agent's log says so.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.agent_costs import AnonymousPeaks
from bench.api_server import api_server
from bench.background import end, until
from bench.ledger import Figure, Ledger, parser
from shoal.testing.bed.usage import CpuTime
from shoal.testing.image import MIB
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.slices import endpoint, endpoint_slice, slice_path

SLICES, ENDPOINTS = 50, 100
CHANGES_PER_S = 10
MEMORY_BOUND_MIB, CPU_BOUND_PERCENT, NEWS_BOUND_S = 60, 1.0, 3.0
_PATIENCE_S = 60.0
_REST_S = 3.0  # for what a start leaves to be done


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=3)
    options.add_argument("--seconds", type=float, default=20.0, help="of changes a run (20)")
    args = options.parse_args()
    ledger = Ledger("membership", question="What does a watch of 5,000 endpoints cost an agent?")
    runs = [asyncio.run(_run(args.seconds)) for _ in range(args.runs)]
    memory, cpu, join, leave = zip(*runs, strict=True)
    ledger.add(Figure.at_most("memory", memory, bound=MEMORY_BOUND_MIB, unit="MiB"))
    ledger.add(Figure.at_most("cpu", cpu, bound=CPU_BOUND_PERCENT, unit="% of a core"))
    ledger.add(Figure.at_most("join", join, bound=NEWS_BOUND_S, unit="s"))
    ledger.add(Figure.at_most("leave", leave, bound=NEWS_BOUND_S, unit="s"))
    ledger.note("More than an agent without the watch, at 10 changes a second.")
    return ledger.finish(args)


async def _run(seconds: float) -> tuple[float, float, float, float]:
    """Return MiB, percent of a core, and the seconds of one joining and one leaving."""
    async with api_server() as (server, folder):
        for number in range(SLICES):
            _put(server, number)
        kubernetes = {
            "namespace": "shoal",
            "service": "peers",
            "server": server.url,
            "account_dir": str(folder),
        }
        async with (
            _agent(folder / "alone", {}) as (alone, _),
            _agent(folder / "watching", {"kubernetes": kubernetes}) as (watching, log),
        ):
            with AnonymousPeaks([alone, watching]) as peaks:
                total = SLICES * ENDPOINTS
                await until(lambda: _members(log) == total, within_s=_PATIENCE_S)
                await asyncio.sleep(_REST_S)
                before = CpuTime.of(watching).total_s, CpuTime.of(alone).total_s
                took_s = await _change(server, seconds)
                more_s = (CpuTime.of(watching).total_s - before[0]) - (
                    CpuTime.of(alone).total_s - before[1]
                )
                await until(lambda: _members(log) == total, within_s=_PATIENCE_S)
                join_s = await _news(server, log, total + 1)
                leave_s = await _news(server, log, total)
            more_bytes = peaks.peak_bytes[watching] - peaks.peak_bytes[alone]
    result = more_bytes / MIB, 100 * more_s / took_s, join_s, leave_s
    print("{:.1f} MiB, {:.2f} % of a core, {:.2f} s, {:.2f} s".format(*result), file=sys.stderr)
    return result


def _put(server: KubeApiServer, number: int, *, unready: int | None = None) -> None:
    server.put(
        slice_path(f"peers-{number:02}"),
        endpoint_slice(
            endpoint(f"127.1.{number}.{host}", ready=host != unready) for host in range(ENDPOINTS)
        ),
    )


async def _change(server: KubeApiServer, seconds: float) -> float:
    """Make an endpoint unready and ready again, in one slice after the other; return the time."""
    began_s = time.monotonic()
    changes = int(seconds * CHANGES_PER_S) // 2 * 2
    for change in range(changes):
        number = change // 2
        unready = number % ENDPOINTS if change % 2 == 0 else None
        _put(server, number % SLICES, unready=unready)
        due_s = began_s + (change + 1) / CHANGES_PER_S
        await asyncio.sleep(max(due_s - time.monotonic(), 0))
    return time.monotonic() - began_s


async def _news(server: KubeApiServer, log: Path, members: int) -> float:
    """Let one endpoint more come, or go; return how long the agent took to know."""
    await asyncio.sleep(1.0)
    path = slice_path("peers-more")
    began_s = time.monotonic()
    if members > SLICES * ENDPOINTS:
        server.put(path, endpoint_slice([endpoint("127.2.0.1")]))
    else:
        server.delete(path)
    await until(lambda: _members(log) == members, within_s=_PATIENCE_S)
    return time.monotonic() - began_s


@asynccontextmanager
async def _agent(folder: Path, membership: dict[str, Any]) -> AsyncIterator[tuple[int, Path]]:
    """Run an agent of one process; give its process and its log."""
    folder.mkdir()
    config, log = folder / "agent.yaml", folder / "log"
    settings = {
        "front": {"hosts": ["127.0.0.1"], "port": 0},
        "peer": {"hosts": ["127.0.0.1"], "port": 0, "address": "127.0.0.1", "plaintext": True},
        "exporter": {"enabled": False},
        "store": {"path": str(folder / "store")},
        "supervisor": {"enabled": False},
        "membership": membership,
    }
    config.write_text(yaml.safe_dump(settings))
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shoal", "agent", "--config", str(config), stderr=out
        )
    try:
        await until(lambda: _members(log) is not None, within_s=_PATIENCE_S)
        yield _worker(process.pid), log
    finally:
        await end(process)


def _worker(pid: int) -> int:
    """Return the process that does the work: a child, if there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def _members(log: Path) -> int | None:
    """Return how many members the agent has last told of."""
    told = [line for line in log.read_text().splitlines() if "members_changed" in line]
    return int(json.loads(told[-1])["members"]) if told else None


if __name__ == "__main__":
    sys.exit(main())
