"""The bed itself: it comes up quickly, goes without a trace, and its links carry what they say."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.measure import goodput
from shoal.testing.bed.network import Host, Site, parse_rate
from shoal.testing.bed.processes import BedError, listen_in
from shoal.testing.bed.record import CGROUPS, Record, all_namespaces

# 1448 bytes of payload in a frame of 1514: the most that one TCP stream can carry.
PAYLOAD_SHARE = 1448 / 1514


def goodput_within(source: Host, here: Host, *, least: float, most: float) -> list[float]:
    """Measure up to eight times, until one is within: a machine that others load has moments."""
    rates: list[float] = []
    while len(rates) < 8 and not (rates and least < rates[-1] < most):
        rates.append(goodput(source, here, seconds=1.0))
    return rates


def traces(bed_id: str, folder: Path) -> list[str]:
    """Return what is left on the machine of the bed `bed_id`."""
    left = [name for name in all_namespaces() if bed_id in name]
    left += [line for line in Path("/proc/mounts").read_text().splitlines() if bed_id in line]
    left += [str(path) for path in CGROUPS.glob(f"*/shoal-{bed_id}")]
    left += [str(folder)] if folder.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if bed_id in command:
            left.append(f"{process.name}: {command}")
    return left


def wait_for_no_traces(bed_id: str, folder: Path) -> None:
    give_up_s = time.monotonic() + 60
    while (left := traces(bed_id, folder)) and time.monotonic() < give_up_s:
        time.sleep(0.1)
    assert left == []


def test_it_comes_up_quickly_and_goes_without_a_trace() -> None:
    began_s = time.monotonic()
    with Bed(nodes=4) as bed:
        seconds = time.monotonic() - began_s
        bed_id, folder = bed.record.bed_id, bed.folder
        assert traces(bed_id, folder)
        bed.nodes[0].run("curl", "-sfo", "/dev/null", f"{bed.registry.url()}/v2/")
    assert traces(bed_id, folder) == []
    assert seconds < 30  # 0.4 s on an idle machine with two cores


def test_it_goes_without_a_trace_when_a_test_fails() -> None:
    bed = Bed(nodes=1)

    def fail() -> None:
        with bed:
            running.append(bed.nodes[0].popen("sleep", "600"))
            began.append(bed.folder)
            raise RuntimeError("as it happens")

    began: list[Path] = []
    running: list[subprocess.Popen[bytes]] = []
    with pytest.raises(RuntimeError, match="as it happens"):
        fail()
    assert running[0].wait(60) == -signal.SIGKILL
    assert traces(began[0].name, began[0]) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_goes_without_a_trace_when_its_owner_is_killed(number: signal.Signals) -> None:
    script = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also under nohup and &
        "from shoal.testing.bed.bed import Bed\n"
        "with Bed(nodes=1) as bed:\n"
        "    print(bed.folder, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().strip())
        assert traces(folder.name, folder)
        os.kill(owner.pid, number)
        owner.wait(60)
    wait_for_no_traces(folder.name, folder)


def test_cleaning_leaves_live_beds_alone(bed: Bed) -> None:
    subprocess.run([sys.executable, "-m", "shoal.testing.bed.clean"], check=True, timeout=90)
    assert bed.record.owner_alive
    assert bed.record in Record.every()
    assert bed.nodes[0].containerd.service.running


def test_nodes_reach_each_other_and_the_registry_on_both_address_families(bed: Bed) -> None:
    first, second = bed.nodes[0].host, bed.nodes[1].host
    for source in (second, bed.registry.host):
        for ipv6 in (False, True):
            assert goodput(source, first, seconds=0.1, ipv6=ipv6) > 0


def test_both_ends_of_a_stream_slow_down_as_linux_does_whatever_the_machine_defaults_to(
    bed: Bed,
) -> None:
    connecting = (
        "import socket, sys; made = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30);"
        "print(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).decode())"
    )
    first, second = bed.nodes[0], bed.nodes[1]
    with listen_in(second.host.namespace, second.host.ipv4) as listener:
        listener.settimeout(30)
        port = str(listener.getsockname()[1])
        said = first.run(sys.executable, "-c", connecting, second.host.ipv4, port).stdout
        accepted, _ = listener.accept()
        with accepted:
            answering = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    assert said.strip("\0\n") == answering.decode().strip("\0") == "cubic"
    said = first.run(sys.executable, "-c", connecting, bed.registry.host.ipv6, "5000").stdout
    assert said.strip("\0\n") == "cubic"


@pytest.mark.parametrize("rate", ["100mbit", "1gbit"])
def test_one_stream_gets_what_a_shaped_link_can_carry(rate: str) -> None:
    most = parse_rate(rate) / 8 * PAYLOAD_SHARE
    with Bed(nodes=2, rate=rate) as bed:
        for source in (bed.registry.host, bed.nodes[1].host):
            # On an idle machine within a hundredth; one that is busy reads late, or in bursts.
            rates = goodput_within(source, bed.nodes[0].host, least=0.9 * most, most=1.1 * most)
            assert 0.9 * most < rates[-1] < 1.1 * most, rates


def test_a_site_shares_one_uplink_but_not_within_itself() -> None:
    sites = [Site(2, rate="200mbit", uplink="50mbit"), Site(1, rate="200mbit", uplink="50mbit")]
    with Bed(sites=sites) as bed:
        here, beside, away = (node.host for node in bed.nodes)
        assert [node.site for node in bed.nodes] == [1, 1, 2]
        within = goodput_within(beside, here, least=150e6 / 8, most=220e6 / 8)
        across = goodput_within(away, here, least=40e6 / 8, most=60e6 / 8)
        from_registry = goodput_within(bed.registry.host, here, least=40e6 / 8, most=60e6 / 8)
    assert within[-1] * 8 > 150e6, within
    assert 40e6 < across[-1] * 8 < 60e6, across
    assert 40e6 < from_registry[-1] * 8 < 60e6, from_registry


def test_a_link_can_be_cut_and_slowed_while_it_is_used() -> None:
    with Bed(nodes=1, rate="1gbit") as bed:
        node = bed.nodes[0]
        bed.network.set_rate(node.name, "20mbit")
        rates = goodput_within(bed.registry.host, node.host, least=10e6 / 8, most=25e6 / 8)
        assert rates[-1] * 8 < 25e6, rates
        bed.network.cut(node.name)
        done = node.run("curl", "-m", "0.3", f"{bed.registry.url()}/v2/", check=False)
        assert done.returncode == 28
        bed.network.mend(node.name)
        node.run("curl", "-sfm", "20", f"{bed.registry.url()}/v2/")


@pytest.mark.parametrize("text", ["", "fast", "100", "0mbit", "100mbyte", "-1mbit"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(BedError, match="not a rate"):
        parse_rate(text)
