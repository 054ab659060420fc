"""Bars and lines."""

import io

import pytest
from rich.console import Console

from shoal.cli.pulling.sources import Sources
from shoal.testing.demo import display
from shoal.testing.demo.display import Bars, Display, Lines, display_for
from shoal.testing.demo.node_pull import Pulled

NAMES = ["node 1", "node 2"]


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def play(shown: Display) -> None:
    """Tell of a demo."""
    with shown:
        shown.advanced(0, done_bytes=500_000, sources=Sources(origin_bytes=200_000, peer_bytes=1))
        shown.advanced(1, done_bytes=250_000, sources=Sources())
        shown.registry_sent(500_000)
        shown.ended(0, Pulled(1.25, verified=True))
        shown.ended(1, Pulled(1.5, verified=False, error="gone"))
        shown.registry_sent(1_010_000)


def test_bars_show_each_node_and_the_copies_that_the_registry_sent() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    play(Bars(NAMES, image_bytes=1_000_000, console=console))
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    for words in ("node 1", "node 2", "done in 1.2 s", "failed", "registry", "1.01 copies sent"):
        assert words in said


def test_lines_say_how_far_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_LINE_INTERVAL_S", 0.0)
    file = io.StringIO()
    play(Lines(NAMES, image_bytes=1_000_000, file=file))
    assert file.getvalue().splitlines() == [
        "after 0 s: nodes have 25 to 50 % of the image; the registry has sent 500.0 kB, "
        "0.50 copies",
        "node 1: done in 1.2 s",
        "node 2: failed",
        "after 0 s: nodes have 25 to 50 % of the image; the registry has sent 1.0 MB, 1.01 copies",
    ]


def test_lines_are_few() -> None:
    file = io.StringIO()
    play(Lines(NAMES, image_bytes=1_000_000, file=file))
    assert len(file.getvalue().splitlines()) == 2


def test_bars_are_for_terminals() -> None:
    assert isinstance(display_for(NAMES, image_bytes=1, file=Terminal()), Bars)
    assert isinstance(display_for(NAMES, image_bytes=1, file=io.StringIO()), Lines)
