"""One demo from the first process to the last folder removed.

All that must go again is started by this file's functions alone, and in a `finally` of theirs it
goes: agents, registry, then the folder. A signal only cancels the task, which happens where it
awaits something: nothing is between started and known. What takes down does not await, so nothing
cancels that.
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from shoal.cli.pulling.watch import megabytes
from shoal.core.digest import Digest
from shoal.core.reference import Reference
from shoal.testing.demo.addresses import Addresses, choose_addresses
from shoal.testing.demo.display import Display, display_for
from shoal.testing.demo.failures import AddressTaken, DemoFailed
from shoal.testing.demo.hints import hints, write_hosts_toml
from shoal.testing.demo.node_pull import Expected, pull_everywhere
from shoal.testing.demo.outcome import NodeOutcome, Outcome, megabits
from shoal.testing.demo.registry_thread import RegistryThread
from shoal.testing.demo.site import REGISTRY_NAME, Site
from shoal.testing.image_layout import BuiltImage
from shoal.testing.registry_content import RegistryContent

REFERENCE = Reference(REGISTRY_NAME, "shoal/demo", "latest")
_STARTS = 3
_SHOW_INTERVAL_S = 0.2
_WATCH_INTERVAL_S = 1.0
# A pull that takes ten times as long as the registry's link would need for all nodes one after
# another hangs; the two minutes are for machines on which it is not the link that counts.
_SLACK, _SLACK_S = 10, 120.0
# What a store may take beside the image, so that nothing has to go for it; and what is looked for
# on the disk beside the image, for what an agent writes otherwise.
_STORE_SLACK_BYTES = 64 * 1024 * 1024
_ROOM_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose."""

    nodes: int
    rate_bytes_per_s: int | None  # of the registry
    json: bool
    keep: bool


@dataclass(frozen=True, slots=True)
class _Running:
    """What runs while a demo does."""

    addresses: Addresses
    registry: RegistryThread
    site: Site

    def stop(self) -> None:
        """End it all. Idempotent."""
        self.site.stop()
        self.registry.stop()


def run(image: BuiltImage, options: Options) -> int:
    """Run a demo of `image`; return the exit code: 1 if a node failed, 130 for Ctrl-C.

    Raises:
        DemoFailed: it could not be run.
    """
    try:
        return asyncio.run(_run(image, options))
    except asyncio.CancelledError:
        return 130  # as shells report an end by SIGINT


async def _run(image: BuiltImage, options: Options) -> int:
    task = asyncio.current_task()
    assert task is not None
    _on_signals(task.cancel)
    content = RegistryContent()
    await asyncio.to_thread(
        content.add_layout, image.layout, repository=REFERENCE.repository, tag=str(REFERENCE.tag)
    )
    with tempfile.TemporaryDirectory(prefix="shoal-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        _check_room(folder, image, options)
        async with aiohttp.ClientSession(trust_env=False) as session:
            running = await _start(folder, content, image, options, session)
            try:
                outcome = await _pull(image, options, running, session)
                _report(outcome)
                _complain(outcome, running.site)
                if options.keep:
                    await _keep(folder, image, running, outcome if options.json else None)
                elif options.json:
                    print(json.dumps(outcome.as_json()), flush=True)
            finally:
                running.stop()
    return 1 if outcome.failed else 0


def _on_signals(act: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # run with nohup
        loop.add_signal_handler(number, act)


def _check_room(folder: Path, image: BuiltImage, options: Options) -> None:
    needed = options.nodes * (image_bytes(image) + _ROOM_BYTES)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DemoFailed(
            f"{options.nodes} nodes need {megabytes(needed)} in {folder.parent}, where "
            f"{megabytes(free)} are free: set TMPDIR to a folder on another disk, or choose a "
            "smaller --image-size or fewer --nodes"
        )


def blobs_of(image: BuiltImage) -> dict[Digest, int]:
    """Return an image's blobs, config and layers, with their sizes; each once."""
    config = image.config_digest
    sizes = {config: image.blob(config).stat().st_size}
    sizes |= {layer.digest: layer.size_bytes for layer in image.layers}
    return {Digest.parse(digest): size_bytes for digest, size_bytes in sizes.items()}


def image_bytes(image: BuiltImage) -> int:
    """Return the size of an image's blobs together: what one copy is."""
    return sum(blobs_of(image).values())


async def _start(
    folder: Path,
    content: RegistryContent,
    image: BuiltImage,
    options: Options,
    session: aiohttp.ClientSession,
) -> _Running:
    """Start registry and agents, elsewhere if somebody else takes their addresses meanwhile."""
    for left in reversed(range(_STARTS)):
        addresses = choose_addresses(options.nodes)
        home = folder / f"start-{_STARTS - left}"
        home.mkdir()
        registry = RegistryThread(
            content,
            host=addresses.registry_host,
            port=addresses.registry_port,
            rate_bytes_per_s=options.rate_bytes_per_s,
        )
        site = Site(home, addresses, store_bytes=image_bytes(image) + _STORE_SLACK_BYTES)
        running = _Running(addresses, registry, site)
        try:
            registry.start()
            _say(f"starting {options.nodes} agents ...")
            site.start()
            await site.wait_ready(session)
        except BaseException as exc:
            running.stop()
            if not isinstance(exc, AddressTaken) or not left:
                raise
        else:
            return running
    raise AssertionError("the last try returns or raises")


async def _pull(
    image: BuiltImage, options: Options, running: _Running, session: aiohttp.ClientSession
) -> Outcome:
    size_bytes = image_bytes(image)
    nodes = running.site.nodes
    timeout_s = _SLACK_S
    link = "no limit"
    if options.rate_bytes_per_s is not None:
        timeout_s += _SLACK * options.nodes * size_bytes / options.rate_bytes_per_s
        link = megabits(options.rate_bytes_per_s)
    _say(
        f"{options.nodes} nodes pull {megabytes(size_bytes)} in {len(image.layers)} layers at "
        f"once; the registry's link: {link}"
    )
    expected = Expected(Digest.parse(image.manifest_digest), frozenset(blobs_of(image)))
    with display_for([node.name for node in nodes], image_bytes=size_bytes) as display:
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(_show_registry(display, running.registry))
            pulled = await pull_everywhere(
                [node.front_url for node in nodes],
                REFERENCE,
                expected,
                watcher=display,
                timeout_s=timeout_s,
            )
            showing.cancel()
        display.registry_sent(running.registry.sent_bytes)
    figures = await running.site.figures(session)
    return Outcome(
        nodes=[
            NodeOutcome(node.name, node.address.front, result, counted)
            for node, result, counted in zip(nodes, pulled, figures, strict=True)
        ],
        image_bytes=size_bytes,
        origin_bytes=running.registry.sent_bytes,
        rate_bytes_per_s=options.rate_bytes_per_s,
    )


async def _show_registry(display: Display, registry: RegistryThread) -> None:
    while True:
        await asyncio.sleep(_SHOW_INTERVAL_S)
        display.registry_sent(registry.sent_bytes)


def _report(outcome: Outcome) -> None:
    console = Console(highlight=False, markup=False)
    console.print(outcome.table())
    console.print(outcome.summary())


def _complain(outcome: Outcome, site: Site) -> None:
    for node, agent in zip(outcome.nodes, site.nodes, strict=True):
        if node in outcome.failed:
            why = node.pulled.error or "its agent gives no metrics"
            if not node.pulled.error and not node.pulled.verified:
                why = "not every byte of the image that was built has arrived"
            _say(f"{node.name} failed: {why}{agent.log_tail()}")


async def _keep(
    folder: Path, image: BuiltImage, running: _Running, as_json: Outcome | None
) -> None:
    """Leave all running until a signal comes.

    Raises:
        DemoFailed: an agent ended.
    """
    hosts = write_hosts_toml(folder, REFERENCE, running.addresses)
    print(f"\n{hints(REFERENCE, image, running.addresses, hosts_folder=hosts)}", flush=True)
    if as_json is not None:
        print(json.dumps(as_json.as_json()), flush=True)
    _say("Ctrl-C ends it all.")
    stop = asyncio.Event()
    _on_signals(stop.set)
    while not stop.is_set():
        try:
            async with asyncio.timeout(_WATCH_INTERVAL_S):
                await stop.wait()
        except TimeoutError:
            running.site.check()
    _say("stopping ...")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
