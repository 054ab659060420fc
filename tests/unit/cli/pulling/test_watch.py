"""What people see of a pull: nothing, lines or bars."""

import io

import pytest
from rich.console import Console

from shoal.cli.pulling.sources import Sources
from shoal.cli.pulling.watch import Bars, Lines, Silent, Watcher, describe, megabytes
from shoal.core.digest import Digest
from shoal.core.oci.manifests import Descriptor

BLOB = Descriptor("layer", Digest("sha256", "abcdef" + "0" * 58), 2_000_000)
OTHER = Descriptor("layer", Digest("sha256", "123456" + "0" * 58), 5)


def play(watcher: Watcher) -> None:
    with watcher:
        watcher.begins([BLOB, OTHER])
        watcher.advanced(BLOB.digest, 1_000_000)
        watcher.learned(BLOB.digest, Sources(500_000, 1_500_000, 0))
        watcher.warn("careful [now]")
        watcher.ended(BLOB.digest, "pulled")
        watcher.ended(OTHER.digest, "was here")


def test_silence_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    play(Silent())
    assert capfd.readouterr() == ("", "")


def test_a_line_tells_how_a_blob_ended_and_where_it_came_from(
    capfd: pytest.CaptureFixture[str],
) -> None:
    play(Lines())
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "shoal: warning: careful [now]",
        "abcdef000000 pulled 2.0 MB (registry 500.0 kB, peers 1.5 MB)",
        "123456000000 was here 5 B",
    ]


def test_bars_show_progress_sources_and_ends() -> None:
    screen = io.StringIO()
    play(Bars(Console(file=screen, force_terminal=True, width=140)))
    shown = screen.getvalue()
    assert "abcdef000000" in shown
    assert "registry 500.0 kB, peers 1.5 MB" in shown
    assert "was here" in shown
    assert "careful [now]" in shown


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (10**12, "1000.00 GB")],
)
def test_sizes_are_for_people(size: int, text: str) -> None:
    assert megabytes(size) == text


def test_only_sources_that_gave_something_are_named() -> None:
    assert describe(Sources()) == ""
    assert describe(Sources(cached_bytes=7)) == "cache 7 B"
