"""`shoal pull` through an agent: other tools read what it writes, and get the same image."""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from bed.watching import SLOW, Slow, until
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import run
from shoal.testing.bed.registry import PASSWORD, USER
from shoal.testing.bed.traffic import Door
from shoal.testing.image_layout import ImageFormat

pytestmark = pytest.mark.site(1)


def pull(
    node: Node,
    pushed: Pushed,
    output: Path,
    *words: str,
    door: Door = Door.OPEN,
    check: bool = True,
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shoal", "pull", pushed.reference(door), "-o", str(output)]
    return node.run(*command, "--json", *words, check=check)


def skopeo(*words: str) -> dict[str, object]:
    done = run(["skopeo", "--insecure-policy", *words], timeout_s=60)
    said: dict[str, object] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
    return said


def arrived_bytes(layout: Path) -> int:
    """Return how many bytes of a blob that is not complete yet are in a layout."""
    sizes = [0]
    for path in layout.glob("blobs/*/.*.part"):
        with suppress(FileNotFoundError):  # it has its final name meanwhile
            sizes.append(path.stat().st_size)
    return max(sizes)


def diff_ids(inspected: Sequence[str] | object) -> object:
    return inspected["rootfs"]["diff_ids"] if isinstance(inspected, dict) else None


@pytest.mark.parametrize("image_format", ImageFormat)
def test_skopeo_reads_the_layout_and_gets_every_blob(
    agents: Bed, fresh_image: FreshImages, tmp_path: Path, image_format: ImageFormat
) -> None:
    pushed = fresh_image(image_format=image_format)
    out = tmp_path / "out"
    report = json.loads(pull(agents.nodes[0], pushed, out).stdout)
    assert report["digest"] == pushed.image.manifest_digest
    assert report["from"].startswith("agent")
    for blob in report["blobs"]:
        sources = [blob[f"{name}_bytes"] for name in ("origin", "peer", "cached")]
        assert sum(sources) == blob["bytes"]
    # The manifest is kept as the registry has it, and by a tag skopeo finds OCI's types only.
    source = f"oci:{out}:{pushed.tag}" if image_format is ImageFormat.OCI else f"oci:{out}"
    inspected = skopeo("inspect", source)
    assert inspected["Digest"] == pushed.image.manifest_digest
    assert inspected["Layers"] == [layer.digest for layer in pushed.image.layers]
    skopeo("copy", source, f"dir:{tmp_path}/copied")
    for layer in pushed.image.layers:
        data = (tmp_path / "copied" / layer.digest[7:]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == layer.digest[7:]
    skopeo("copy", source, f"docker-archive:{tmp_path}/app.tar:app:1")


@pytest.mark.parametrize("image_format", ImageFormat)
def test_skopeo_and_containerd_read_the_archive(
    agents: Bed, fresh_image: FreshImages, tmp_path: Path, image_format: ImageFormat
) -> None:
    pushed = fresh_image(image_format=image_format)
    node = agents.nodes[0]
    archive = tmp_path / "app.tar"
    pull(node, pushed, archive)
    wanted = [layer.diff_id for layer in pushed.image.layers]
    inspected = skopeo("inspect", "--config", f"docker-archive:{archive}")
    assert diff_ids(inspected) == wanted
    skopeo("copy", f"docker-archive:{archive}", f"oci:{tmp_path}/copied:1")
    assert diff_ids(skopeo("inspect", "--config", f"oci:{tmp_path}/copied:1")) == wanted
    node.ctr("images", "import", "--no-unpack", str(archive))
    assert pushed.reference() in node.ctr("images", "ls", "--quiet").stdout


@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
def test_a_private_image_is_pulled_with_dockers_credentials_only(
    agents: Bed, fresh_image: FreshImages, tmp_path: Path, door: Door
) -> None:
    pushed = fresh_image()
    registry = agents.registry.address(door)
    right, wrong = tmp_path / "right.json", tmp_path / "wrong.json"
    for path, password in ((right, PASSWORD), (wrong, "nonsense")):
        auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
        path.write_text(json.dumps({"auths": {registry: {"auth": auth}}}))
    node, out = agents.nodes[0], tmp_path / "out"
    words = ["--plain-http", "--creds-file"]
    assert pull(node, pushed, out, *words, str(wrong), door=door, check=False).returncode == 77
    assert pull(node, pushed, out, *words, str(right), door=door).returncode == 0
    assert skopeo("inspect", f"oci:{out}:{pushed.tag}")["Digest"] == pushed.image.manifest_digest


def test_without_an_agent_the_pull_falls_back(
    bed: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    pushed = fresh_image()
    node, out = bed.nodes[3], tmp_path / "out"
    report = json.loads(pull(node, pushed, out, "--fallback", "--plain-http").stdout)
    assert report["from"] == bed.registry.address()


def test_an_agent_that_is_killed_during_a_pull_costs_the_fallback_nothing_twice(
    agents: Bed, fresh_image: FreshImages, slow: Slow, tmp_path: Path
) -> None:
    pushed = fresh_image(layer_bytes=(16 << 20,))
    node, out = agents.nodes[0], tmp_path / "out"
    slow("reg", SLOW)
    words = ["--fallback", "--plain-http", "-o", str(out), "--json"]
    pulling = node.popen(
        sys.executable, "-m", "shoal", "pull", pushed.reference(), *words, stdout=subprocess.PIPE
    )
    try:
        assert until(lambda: arrived_bytes(out) >= 1 << 20 or pulling.poll() is not None)
        assert pulling.poll() is None, "it was over before anything could be killed"
        node.agent.kill()
        slow("reg", None)
        printed, _ = pulling.communicate(timeout=60)
    finally:
        pulling.kill()
        pulling.wait()
    assert pulling.returncode == 0
    assert json.loads(printed)["digest"] == pushed.image.manifest_digest
    assert skopeo("inspect", f"oci:{out}:{pushed.tag}")["Digest"] == pushed.image.manifest_digest
