"""What a demo shows while it runs: a bar for each node and the registry, or lines."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from shoal.cli.pulling.sources import Sources
from shoal.cli.pulling.watch import describe, megabytes
from shoal.testing.demo.node_pull import Pulled, PullWatcher

_LINE_INTERVAL_S = 2.0


class Display(PullWatcher, Protocol):
    """Shows pulls on their way; a context manager around them."""

    def __enter__(self) -> "Display": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def registry_sent(self, size_bytes: int) -> None:
        """So many bytes of blobs has the registry sent; told several times a second."""
        ...


def display_for(names: Sequence[str], *, image_bytes: int, file: IO[str] = sys.stderr) -> Display:
    """Return bars if `file` is a terminal, else lines.

    Args:
        names: the nodes'.
        image_bytes: what each of them is going to get.
        file: where to.
    """
    if file.isatty():
        return Bars(names, image_bytes=image_bytes, console=Console(file=file))
    return Lines(names, image_bytes=image_bytes, file=file)


class Bars:
    """A bar for each node, and one for the registry that is full after one copy."""

    def __init__(self, names: Sequence[str], *, image_bytes: int, console: Console) -> None:
        self._image_bytes = image_bytes
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            TransferSpeedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            expand=True,  # the bars take what the words leave of the terminal
        )
        self._bars = [self._progress.add_task(name, total=image_bytes, note="") for name in names]
        self._registry = self._progress.add_task("registry", total=image_bytes, note="")

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def advanced(self, node: int, *, done_bytes: int, sources: Sources) -> None:
        """Move the node's bar."""
        self._progress.update(self._bars[node], completed=done_bytes, note=describe(sources))

    def ended(self, node: int, pulled: Pulled) -> None:
        """Say how it ended."""
        word = "failed" if pulled.error else f"done in {pulled.seconds:.1f} s"
        self._progress.update(self._bars[node], note=word)

    def registry_sent(self, size_bytes: int) -> None:
        """Move the registry's bar."""
        note = f"{size_bytes / self._image_bytes:.2f} copies sent"
        self._progress.update(self._registry, completed=size_bytes, note=note)


class Lines:
    """A line every two seconds, and one for each node that is done."""

    def __init__(self, names: Sequence[str], *, image_bytes: int, file: IO[str]) -> None:
        self._names = names
        self._image_bytes = image_bytes
        self._file = file
        self._done = [0] * len(names)
        self._began_s = self._next_s = 0.0

    def __enter__(self) -> "Lines":
        self._began_s = time.monotonic()
        self._next_s = self._began_s + _LINE_INTERVAL_S
        return self

    def __exit__(self, *_: object) -> None:
        self._file.flush()

    def advanced(self, node: int, *, done_bytes: int, sources: Sources) -> None:
        """Remember it for the next line."""
        self._done[node] = done_bytes

    def ended(self, node: int, pulled: Pulled) -> None:
        """Print how it ended."""
        word = "failed" if pulled.error else f"done in {pulled.seconds:.1f} s"
        self._print(f"{self._names[node]}: {word}")

    def registry_sent(self, size_bytes: int) -> None:
        """Print how far all are, if it is time."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_INTERVAL_S
        low, high = (100 * done // self._image_bytes for done in (min(self._done), max(self._done)))
        copies = size_bytes / self._image_bytes
        self._print(
            f"after {now_s - self._began_s:.0f} s: nodes have {low} to {high} % of the image; the "
            f"registry has sent {megabytes(size_bytes)}, {copies:.2f} copies"
        )

    def _print(self, text: str) -> None:
        print(text, file=self._file, flush=True)
