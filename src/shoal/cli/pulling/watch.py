"""What a pull tells those who watch it: silence, lines, or bars."""

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from shoal.cli.pulling.sources import Sources
from shoal.core.digest import Digest
from shoal.core.oci.manifests import Descriptor


class Watcher(Protocol):
    """Is told of a pull as it goes on; used as a context manager around it."""

    def __enter__(self) -> "Watcher": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def begins(self, blobs: Sequence[Descriptor]) -> None:
        """The image is known; these blobs are needed."""
        ...

    def advanced(self, digest: Digest, done_bytes: int) -> None:
        """So many bytes of a blob are here."""
        ...

    def learned(self, digest: Digest, sources: Sources) -> None:
        """The agent says where a blob's bytes come from."""
        ...

    def ended(self, digest: Digest, word: str) -> None:
        """A blob is done: `word` says how."""
        ...

    def warn(self, text: str) -> None:
        """Something that the user should know, though the pull goes on."""
        ...


class Silent:
    """Shows warnings only if they matter to the outcome: none."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begins(self, blobs: Sequence[Descriptor]) -> None:
        """Show nothing."""

    def advanced(self, digest: Digest, done_bytes: int) -> None:
        """Show nothing."""

    def learned(self, digest: Digest, sources: Sources) -> None:
        """Show nothing."""

    def ended(self, digest: Digest, word: str) -> None:
        """Show nothing."""

    def warn(self, text: str) -> None:
        """Show nothing."""


class Lines(Silent):
    """A line on stderr for each blob that is done: for logs, and where there is no terminal."""

    def __init__(self) -> None:
        self._sizes: dict[Digest, int] = {}
        self._sources: dict[Digest, Sources] = {}

    def begins(self, blobs: Sequence[Descriptor]) -> None:
        """Remember how long each is."""
        self._sizes = {blob.digest: blob.size_bytes for blob in blobs}

    def learned(self, digest: Digest, sources: Sources) -> None:
        """Remember it for the blob's line."""
        self._sources[digest] = sources

    def ended(self, digest: Digest, word: str) -> None:
        """Print the blob's line."""
        sources = self._sources.get(digest)
        whence = f" ({describe(sources)})" if sources is not None else ""
        size = megabytes(self._sizes.get(digest, 0))
        print(f"{short(digest)} {word} {size}{whence}", file=sys.stderr)

    def warn(self, text: str) -> None:
        """Print it."""
        print(f"shoal: warning: {text}", file=sys.stderr)


class Bars:
    """A progress bar for each blob on the terminal, with where its bytes come from."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[whence]}"),
            console=self._console,
        )
        self._bars: dict[Digest, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begins(self, blobs: Sequence[Descriptor]) -> None:
        """Draw a bar for each."""
        for blob in blobs:
            self._bars[blob.digest] = self._progress.add_task(
                short(blob.digest), total=blob.size_bytes, start=False, whence="waiting"
            )

    def advanced(self, digest: Digest, done_bytes: int) -> None:
        """Move the blob's bar."""
        bar = self._bars[digest]
        if not self._progress.tasks[bar].started:
            self._progress.start_task(bar)
            self._progress.update(bar, whence="")
        self._progress.update(bar, completed=done_bytes)

    def learned(self, digest: Digest, sources: Sources) -> None:
        """Say it beside the blob's bar."""
        self._progress.update(self._bars[digest], whence=describe(sources))

    def ended(self, digest: Digest, word: str) -> None:
        """Fill the blob's bar; where nothing was learned of its bytes, say how it ended."""
        bar = self._bars[digest]
        task = self._progress.tasks[bar]
        if not task.started:
            self._progress.start_task(bar)
        whence = task.fields["whence"] if task.fields["whence"] not in ("", "waiting") else word
        self._progress.update(bar, completed=task.total, whence=whence)
        self._progress.stop_task(bar)

    def warn(self, text: str) -> None:
        """Print it above the bars."""
        self._console.print(f"shoal: warning: {text}", markup=False, highlight=False)


def describe(sources: Sources) -> str:
    """Return where bytes came from in words: `registry 1.0 MB, peers 7.4 MB`."""
    named = (
        ("registry", sources.origin_bytes),
        ("peers", sources.peer_bytes),
        ("cache", sources.cached_bytes),
    )
    parts = [f"{name} {megabytes(count)}" for name, count in named if count]
    return ", ".join(parts)


def megabytes(size_bytes: int) -> str:
    """Return a size for people, in units of a thousand as registries bill them."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def short(digest: Digest) -> str:
    """Return the first twelve of the digest's letters, as every tool shows them."""
    return digest.hex[:12]
