"""How much processor time does the agent take to pass a GB on from one peer to another?

Three agents in a chain, links unshaped. A has a blob of 1 GiB in its store. B,
whose worker process is measured, knows A and C; A and C know only B. A client on B and one on C ask
for the blob at the same time, so B receives it from A, verifies it (each piece, and the whole
digest), stores it, and sends it to C once, piece by piece as they come. The clients ask for the
last byte alone, which an agent only hands out when all the rest is here and right: a client is what
starts a download, and sending it a GB is not what is measured.

The figure is the growth of user and system time of B's worker process (/proc/<pid>/stat), less
what it takes when idle, for each GB (10^9 bytes) of the blob. Beside it, `floor`: a bare loop of
system calls and hashes (`bare_relay.py`) that does the same to the same bytes between the same
namespaces in the same run, and `over_floor`, the ratio of the two. `client` is what one client that
reads all of it costs beside that, served from the store. B's own metrics must say that it received
the blob from peers, nothing from the registry, and sent it to peers once; a run in which they do
not is an error.

Each run does so twice: between peers on plain TCP, and (`tls`, `tls_floor`) between peers with
certificates, which is mutual TLS 1.3 and a signed receipt with each piece; there the bare loop
speaks TLS too.

A run takes some 40 s where the disk writes 200 MB/s; each of its waits is given up after 3 minutes.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import bare_relay
from bench.agent_costs import worker_pid
from bench.backed_memory import back_memory
from bench.large_blob import LargeBlob, push_large_blob, read, read_together, wait_stored
from bench.ledger import Figure, Ledger, parser
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.testing.bed.agents import PEER_PORT, Agent
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, in_namespace, run
from shoal.testing.bed.usage import CpuTime
from shoal.testing.cluster import Cluster

BOUND_S_PER_GB = 1.8
TLS_BOUND_S_PER_GB = 3.2
_IDLE_S = 2.0
_BARE_PORT = 7010
# What may come from elsewhere, or go twice, before a run counts as another experiment.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Pass:
    """What B took to pass the blob on once, in seconds."""

    work: CpuTime  # less what it takes when idle
    idle_share: float  # of one processor
    client_s: float  # a client that reads all of it from the store
    wall_s: float
    floor: CpuTime


@dataclass(frozen=True, slots=True)
class Run:
    """One after the other, within a minute, so that they may be compared."""

    plain: Pass
    tls: Pass


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=5)
    options.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the blob (1024)")
    args = options.parse_args()
    ledger = Ledger("cpu", question="What does it cost the agent to pass a GB on between peers?")
    with Bed(nodes=3) as bed:
        blob = push_large_blob(bed, size_mib=args.size)
        chain = _chain(bed, blob)
        runs = [
            Run(*(_pass_on(bed, chain, blob, tls=tls) for tls in (False, True)))
            for _ in range(args.runs)
        ]
    _add(ledger, runs, blob.size_bytes / 1e9)
    return ledger.finish(args)


def _chain(bed: Bed, blob: LargeBlob) -> tuple[Node, Node, Node]:
    """Return the nodes as A, B and C.

    B is the one that tracks the blob among all three, and therefore also among any two: whatever
    an agent knows of the others, it asks B who has the blob.
    """
    by_peer = {PeerId(_member(node)): node for node in bed.nodes}
    b, a, c = (by_peer[peer] for peer in ranked(blob.spec.tag, by_peer))
    return a, b, c


def _member(node: Node) -> str:
    return f"{node.host.ipv4}:{PEER_PORT}"


def _pass_on(bed: Bed, chain: tuple[Node, Node, Node], blob: LargeBlob, *, tls: bool) -> Pass:
    a, b, c = chain
    bed.stop_agents()
    bed.tls = tls
    for node, known in ((a, (a, b)), (b, (a, b, c)), (c, (b, c))):
        members = {"static": [_member(other) for other in known]}
        node.start_agent(bed.agent_settings(node, {"membership": members}), wait=False)
    for node in chain:
        node.agent.wait_ready()
    read(a, [blob.manifest_path, blob.blob_path], size_bytes=blob.size_bytes)
    wait_stored(a, blob)

    back_memory(3 * blob.size_bytes)  # B's and C's part files, and room
    pid = worker_pid(b.agent)
    before_idle = CpuTime.of(pid)
    time.sleep(_IDLE_S)
    began, began_s = CpuTime.of(pid), time.monotonic()
    idle_share = (began - before_idle).total_s / _IDLE_S
    read_together([b, c], blob, last_byte=True)
    wall_s = time.monotonic() - began_s
    wait_stored(b, blob)
    elapsed_s = time.monotonic() - began_s
    spent = CpuTime.of(pid) - began
    work = CpuTime(spent.user_s - idle_share * elapsed_s, spent.system_s)
    _check_route(b.agent, blob)

    began = CpuTime.of(pid)
    read(b, [blob.manifest_path, blob.blob_path], size_bytes=blob.size_bytes)
    client_s = (CpuTime.of(pid) - began).total_s
    floor = _bare(bed, chain, blob, tls=tls)
    result = Pass(work, idle_share, client_s, wall_s, floor)
    print(
        f"{'TLS' if tls else 'plain TCP'}: "
        f"user {work.user_s:.2f} s, system {work.system_s:.2f} s in {wall_s:.1f} s; "
        f"idle {idle_share:.1%} of a processor; a client {client_s:.2f} s; "
        f"bare: user {floor.user_s:.2f} s, system {floor.system_s:.2f} s",
        file=sys.stderr,
        flush=True,
    )
    return result


def _bare(bed: Bed, chain: tuple[Node, Node, Node], blob: LargeBlob, *, tls: bool) -> CpuTime:
    """Return what the bare relay on B takes for the same bytes.

    Raises:
        BedError: it failed, or did not get the bytes of the blob.
    """
    a, b, c = chain
    (source,) = a.agent.store.rglob(blob.spec.digest.hex)
    for node in chain:
        node.agent.stop()
    back_memory(blob.size_bytes)
    kept = bed.folder / "bare"
    port, size = str(_BARE_PORT), str(blob.size_bytes)
    last = ["--tls", str(_certificate(bed))] if tls else []
    server = _start(a, ["serve", a.host.ipv4, port, str(source), *last])
    drain = _start(c, ["drain", b.host.ipv4, port, size, *last])
    try:
        relay = ["relay", b.host.ipv4, port, a.host.ipv4, port, str(kept), size, *last]
        done = run(in_namespace(b.host.namespace, _bare_command(relay)), timeout_s=120)
        digest, user, system = done.stdout.split()
        if digest != blob.spec.digest.hex:
            raise BedError("the bare relay did not receive the blob")
        return CpuTime(float(user), float(system))
    finally:
        kept.unlink(missing_ok=True)
        for process in (server, drain):
            process.kill()
            process.wait(10)


def _certificate(bed: Bed) -> Path:
    """Return a file with a certificate and its key."""
    files = Cluster(bed.folder / "bare-tls").issue("bare", ["127.0.0.1"])
    both = bed.folder / "bare.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    return both


def _start(node: Node, words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(in_namespace(node.host.namespace, _bare_command(words)))


def _bare_command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", str(Path(bare_relay.__file__)), *words]


def _check_route(agent: Agent, blob: LargeBlob) -> None:
    """Check that the blob came from peers and went to a peer once.

    Raises:
        BedError: it took another way.
    """
    metrics = agent.metrics()
    received, sent, origin = (
        sum(value for key, value in metrics.items() if key.startswith(name)) / blob.size_bytes
        for name in (
            "shoal_peer_received_bytes_total",
            "shoal_peer_sent_bytes_total",
            'shoal_origin_bytes_total{kind="blob"',
        )
    )
    right = abs(received - 1) < _TOLERANCE and abs(sent - 1) < _TOLERANCE and origin < _TOLERANCE
    if not right:
        raise BedError(
            f"{agent.service.name} received {received:.3f} copies from peers and {origin:.3f} from "
            f"the registry, and sent {sent:.3f} to peers: not what is to be measured"
        )


def _add(ledger: Ledger, runs: list[Run], gigabytes: float) -> None:
    plain, tls = [run.plain for run in runs], [run.tls for run in runs]
    ledger.add(
        Figure.at_most(
            "cpu_per_gb",
            [one.work.total_s / gigabytes for one in plain],
            bound=BOUND_S_PER_GB,
            unit="s/GB",
            note="received from a peer, verified, stored, sent once to a peer",
        )
    )
    _add_floor(ledger, plain, gigabytes, prefix="", note="no protocol, no event loop")
    _add_split(ledger, plain, gigabytes, prefix="")
    ledger.add(
        Figure.shown(
            "client",
            [one.client_s / gigabytes for one in plain],
            unit="s/GB",
            note="not in the others: a client that reads the blob from B's store",
        )
    )
    ledger.add(
        Figure.shown(
            "rate",
            [gigabytes * 1e3 / one.wall_s for one in plain],
            unit="MB/s",
            more_is_better=True,
            note="of the blob to B and C, on this machine, which runs all three agents",
        )
    )
    idle = [one.idle_share * 100 for one in plain]
    ledger.add(
        Figure.shown("idle", idle, unit="%", note="of a processor, by an agent without work")
    )
    ledger.add(
        Figure.at_most(
            "tls",
            [one.work.total_s / gigabytes for one in tls],
            bound=TLS_BOUND_S_PER_GB,
            unit="s/GB",
            note="as cpu_per_gb, between peers with certificates: mutual TLS 1.3 and receipts",
        )
    )
    _add_floor(ledger, tls, gigabytes, prefix="tls_", note="through TLS 1.3")
    _add_split(ledger, tls, gigabytes, prefix="tls_")
    more = [run.tls.work.total_s / run.plain.work.total_s for run in runs]
    ledger.add(Figure.shown("tls_over_plain", more, unit="x"))


def _add_floor(
    ledger: Ledger, passes: list[Pass], gigabytes: float, *, prefix: str, note: str
) -> None:
    ledger.add(
        Figure.shown(
            f"{prefix}floor",
            [one.floor.total_s / gigabytes for one in passes],
            unit="s/GB",
            note=f"a bare loop of the same system calls and hashes: {note}",
        )
    )
    over = [one.work.total_s / one.floor.total_s for one in passes]
    ledger.add(Figure.shown(f"{prefix}over_floor", over, unit="x"))


def _add_split(ledger: Ledger, passes: list[Pass], gigabytes: float, *, prefix: str) -> None:
    user = [one.work.user_s / gigabytes for one in passes]
    ledger.add(Figure.shown(f"{prefix}user", user, unit="s/GB"))
    system = [one.work.system_s / gigabytes for one in passes]
    ledger.add(Figure.shown(f"{prefix}system", system, unit="s/GB"))


if __name__ == "__main__":
    sys.exit(main())
