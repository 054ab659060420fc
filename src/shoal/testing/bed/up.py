"""`python -m shoal.testing.bed.up`: build the bed and leave it for hands-on work until Ctrl-C."""

import argparse
import os
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from shoal.testing.bed.agents import EXPORTER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.record import Record
from shoal.testing.image import DEFAULT_BYTES, MIB, cached_image

LABEL = "up"
DOWN_TIMEOUT_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m shoal.testing.bed.up", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, help="how many nodes (4)")
    parser.add_argument("--rate", help="of every link both ways, as 100mbit; default: unshaped")
    parser.add_argument("--registry-rate", help="of the registry's link; default: as the nodes'")
    parser.add_argument("--direct", action="store_true", help="no agents: nodes pull straight")
    parser.add_argument(
        "--image-size", type=int, default=DEFAULT_BYTES // MIB, metavar="MIB", help="of the image"
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/images"), help="for the image")
    parser.add_argument("--down", action="store_true", help="take down every bed that `up` left")
    options = parser.parse_args(arguments)
    if options.down:
        return take_down()
    signal.signal(signal.SIGTERM, _interrupt)
    image = cached_image(options.cache, size_bytes=options.image_size * MIB)
    bed = Bed(
        nodes=options.nodes, rate=options.rate, registry_rate=options.registry_rate, label=LABEL
    )
    try:
        with bed:
            reference = bed.registry.push(image, repository="library/demo")
            if options.direct:
                for node in bed.nodes:
                    node.use_registry()
            else:
                bed.start_agents()
            print(_how_to_use(bed, reference, agents=not options.direct), flush=True)
            while True:
                signal.pause()
    except KeyboardInterrupt:
        print("\nthe bed is down")
    return 0


def take_down() -> int:
    """End every bed that this command left, from another terminal."""
    records = [record for record in Record.every() if record.label == LABEL]
    for record in records:
        _end_owner(record)
        record.remove()  # what is left, if anything
    print(f"down: {' '.join(record.bed_id for record in records) or 'nothing was up'}")
    return 0


def _end_owner(record: Record) -> None:
    give_up_s = time.monotonic() + DOWN_TIMEOUT_S
    if record.owner_alive:
        os.kill(record.owner_pid, signal.SIGTERM)
    while time.monotonic() < give_up_s:
        if not record.owner_alive:
            return
        time.sleep(0.1)


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _how_to_use(bed: Bed, reference: str, *, agents: bool) -> str:
    lines = [
        f"Bed {bed.record.bed_id}: {len(bed.nodes)} nodes, everything below {bed.folder}",
        f"Registry {bed.registry.address()}, its requests in {bed.registry.access_log}",
        "",
    ]
    for node in bed.nodes:
        fetch = node.containerd.fetch_command(reference)
        pull = ["images", "pull", "--hosts-dir", str(node.certs_d), reference]
        lines += [
            f"{node.name}  {node.host.ipv4}  {node.host.ipv6}",
            f"  shell   {shlex.join(node.command(['bash']))}",
            f"  fetch   {shlex.join(fetch)}",
            f"  pull    {shlex.join(node.containerd.ctr_command(pull))}",
        ]
        if agents:
            metrics = ["curl", "-s", f"http://127.0.0.1:{EXPORTER_PORT}/metrics"]
            lines += [
                f"  metrics {shlex.join(node.command(metrics))}",
                f"  agent   {node.agent.config}  log {node.agent.service.log}",
            ]
        lines.append("")
    return "\n".join([*lines, "Ctrl-C takes it down; so does --down from another terminal."])


if __name__ == "__main__":
    raise SystemExit(main())
