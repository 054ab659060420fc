"""The demo's command line: `./dev demo`, which is `python -m shoal.testing.demo`."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from shoal.cli.pulling.watch import megabytes
from shoal.core.errors import BadInput, ShoalError
from shoal.core.units import parse_rate, parse_size
from shoal.testing.demo.addresses import MAX_NODES
from shoal.testing.demo.run import Options, run
from shoal.testing.image import DEFAULT_BYTES, BuiltImage, cached_image

_DEFAULT_NODES = 4
# As thin as the link of a remote site often is: it is the registry's, not the nodes', that decides
# how long a rollout takes, and on loopback there would be none.
_DEFAULT_RATE = "100Mbit/s"
_MAX_IMAGE_BYTES = 20_000_000_000  # the largest blob that is supported


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a demo; return its exit code: 0, 1 for a node that failed, 2 for wrong use, 130."""
    options = _parser().parse_args(arguments)
    # The build is no part of the event loop: until that begins, these end it as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        image = _image(options.cache, options.image_size)
        return run(
            image,
            Options(
                nodes=options.nodes,
                rate_bytes_per_s=options.registry_rate,
                json=options.json,
                keep=options.keep,
            ),
        )
    except KeyboardInterrupt:
        return 130
    except (ShoalError, OSError) as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev demo",
        description="A registry and some agents on this machine, which pull one image at once: "
        "how long each node takes, and how often the registry sends the image.",
        epilog="Exit codes: 0, every node got the image and every byte of it was right; 1, one "
        "did not; 2, wrong use; 130, interrupted.",
    )
    parser.add_argument(
        "--nodes",
        type=_nodes,
        default=_DEFAULT_NODES,
        metavar="N",
        help=f"how many agents, up to {MAX_NODES} (default: {_DEFAULT_NODES})",
    )
    parser.add_argument(
        "--image-size",
        type=_size,
        default=DEFAULT_BYTES,
        metavar="SIZE",
        help="about the size of the image, as 200MB or 1GiB; its lowest layer alone, a system "
        f"that runs, has some 25 MB (default: {megabytes(DEFAULT_BYTES)})",
    )
    parser.add_argument(
        "--registry-rate",
        type=_rate,
        default=_rate(_DEFAULT_RATE),
        metavar="RATE",
        help="what all connections of the registry get together, as 20MB/s or 1Gbit/s; `none` for "
        f"no limit (default: {_DEFAULT_RATE})",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as a last line")
    parser.add_argument(
        "--keep", action="store_true", help="leave it running, and say how to pull from it"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/images"),
        metavar="DIR",
        help="for images that were built (default: .cache/images)",
    )
    return parser


def _image(cache: Path, size_bytes: int) -> BuiltImage:
    print("the image, from the files of this machine's Debian packages ...", file=sys.stderr)
    return cached_image(cache, size_bytes=size_bytes)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _nodes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_NODES:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_NODES}, got {text[:20]!r}")
    return int(text)


def _size(text: str) -> int:
    try:
        size_bytes = parse_size(text)
    except BadInput as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    if not 0 < size_bytes <= _MAX_IMAGE_BYTES:
        raise argparse.ArgumentTypeError(f"expected up to {megabytes(_MAX_IMAGE_BYTES)}")
    return size_bytes


def _rate(text: str) -> int | None:
    if text == "none":
        return None
    try:
        rate = parse_rate(text)
    except BadInput as exc:
        raise argparse.ArgumentTypeError(f"{exc}, or none") from exc
    if rate < 1:
        raise argparse.ArgumentTypeError("expected more than 0; `none` for no limit")
    return rate
