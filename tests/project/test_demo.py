"""`./dev demo` from end to end: real agents, small images, no root."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# The least that a real image takes, 25 MB, once through a link that does not count.
SMALL = ("--image-size", "1MB", "--registry-rate", "none")
PATIENCE_S = 150.0

pytestmark = pytest.mark.timeout(400)


@dataclass(slots=True)
class Demo:
    """A demo that runs, with its temporary folder."""

    process: "subprocess.Popen[str]"
    folder: Path
    output: Path

    def said(self) -> str:
        """Return what it has written so far, to standard output and error."""
        return self.output.read_text()

    def wait_for(self, words: str) -> str:
        """Return all it has written once `words` are in it."""
        give_up_s = time.monotonic() + PATIENCE_S
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < give_up_s, self.said()
            time.sleep(0.05)
        return self.said()

    def end(self, number: signal.Signals) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def check_gone(self) -> None:
        """Check that no process and no file is left."""
        assert list(self.folder.iterdir()) == []
        needle = str(self.folder).encode()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # a process that has ended meanwhile
                assert needle not in path.read_bytes(), path


@contextlib.contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    """Run a demo."""
    home, output = folder / "tmp", folder / "output"
    home.mkdir(parents=True)
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "shoal.testing.demo", *SMALL, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            # A variable of the agent's, which must not reach the demo's agents.
            env={**os.environ, "TMPDIR": str(home), "SHOAL_FRONT__PORT": "1"},
        )
    try:
        yield Demo(process, home, output)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def test_two_at_once_pull_check_and_leave_nothing(tmp_path: Path) -> None:
    with (
        demo(tmp_path / "1", "--nodes", "3", "--json") as first,
        demo(tmp_path / "2", "--nodes", "2", "--json") as second,
    ):
        for run, nodes in ((first, 3), (second, 2)):
            assert run.process.wait(PATIENCE_S) == 0, run.said()
            figures = json.loads(run.said().splitlines()[-1])
            size = figures["image_bytes"]
            assert figures["nodes"] == figures["verified_nodes"] == nodes
            assert size > 20_000_000
            assert figures["origin_copies"] == pytest.approx(figures["origin_bytes"] / size, 1e-3)
            assert 1.0 <= figures["origin_copies"] < 1.5
            assert figures["peer_bytes"] > 0.5 * size
            assert len(figures["seconds_per_node"]) == nodes
            assert all(seconds > 0 for seconds in figures["seconds_per_node"])
            assert "copies of the image" in run.said()
            run.check_gone()


def test_one_that_is_kept_gives_skopeo_and_curl_the_bytes_that_were_built(tmp_path: Path) -> None:
    with demo(tmp_path, "--nodes", "2", "--keep", "--json") as kept:
        said = kept.wait_for("Ctrl-C ends it all.")
        figures = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
        assert figures["verified_nodes"] == 2
        manifest = found(r"curl .*\s.*\s+'(http://\S+/manifests/\S+)'", said)
        with urllib.request.urlopen(manifest, timeout=60) as answer:
            built = built_image(answer.headers["Docker-Content-Digest"], answer.read())
        layer = found(r"'(http://\S+/blobs/sha256:\S+)'", said)
        with urllib.request.urlopen(layer, timeout=60) as answer:
            name = answer.headers["Docker-Content-Digest"].removeprefix("sha256:")
            assert answer.read() == built[name].read_bytes()
        folder = Path(found(r"--hosts-dir (\S+)", said))
        assert (folder / "registry.test" / "hosts.toml").is_file()

        if has_skopeo := shutil.which("skopeo") is not None:
            layout = tmp_path / "copy"
            copy = shlex.split(found(r"\s(skopeo copy .*)", said).replace("/tmp/demo", str(layout)))
            done = subprocess.run(copy, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            copied = blobs(layout)
            assert copied.keys() == built.keys()
            assert all(
                path.read_bytes() == built[name].read_bytes() for name, path in copied.items()
            )
        assert kept.end(signal.SIGINT) == 0
        kept.check_gone()
    if not has_skopeo:
        pytest.skip("skopeo is not installed: all but its copy was tried")


def found(pattern: str, text: str) -> str:
    """Return what the pattern's group matches."""
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def blobs(layout: Path) -> dict[str, Path]:
    """Return an OCI layout's blobs by their digests' hexadecimal."""
    return {path.name: path for path in (layout / "blobs" / "sha256").iterdir()}


def built_image(digest: str, manifest: bytes) -> dict[str, Path]:
    """Return the blobs of the image in the cache that has this manifest."""
    name = digest.removeprefix("sha256:")
    for layout in (ROOT / ".cache" / "images").iterdir():
        image = blobs(layout)
        if name in image:
            assert image[name].read_bytes() == manifest
            return image
    raise AssertionError(f"no image in the cache has the manifest {digest}")


@pytest.mark.parametrize("words", ["starting 2 agents", "nodes pull"])
def test_one_that_is_stopped_early_takes_everything_down(tmp_path: Path, words: str) -> None:
    with demo(tmp_path, "--nodes", "2", "--registry-rate", "1Mbit/s") as run:
        run.wait_for(words)
        assert run.end(signal.SIGTERM) == 130, run.said()
        assert "Traceback" not in run.said()
        run.check_gone()
