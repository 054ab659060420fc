"""Other clients through the agent: ctr, skopeo, and curl asking for parts."""

import hashlib
import json
import subprocess
from pathlib import Path

from bed.watching import blob_url, layer_bytes_by
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.node import FRONT_URL, Node
from shoal.testing.bed.registry import PASSWORD, USER
from shoal.testing.bed.traffic import Door

# A name without a port, as the path of a reference can hold it.
ALIAS = "registry.bed"


def start(bed: Bed, node: Node, door: Door = Door.OPEN, *, default: bool = False) -> None:
    """Start an agent that also knows the registry by a name that fits into a path."""
    registry = {
        "name": bed.registry.address(door),
        "plain_http": True,
        "aliases": [ALIAS],
        "default": default,
    }
    bed.start_agents({"registries": [registry], "membership": {"static": []}}, nodes=[node])


def curl(node: Node, url: str, out: Path, *words: str) -> str:
    """Ask as a plain client does; return the status."""
    command = ["curl", "-sS", "-o", str(out), "-w", "%{http_code}", *words, url]
    return node.run(*command, check=False).stdout


def test_ctr_pulls_and_unpacks_all_of_it_through_shoal(bed: Bed, fresh_image: FreshImages) -> None:
    node = bed.nodes[0]
    start(bed, node)
    pushed = fresh_image()
    mark = bed.registry.mark()
    node.ctr("images", "pull", "--hosts-dir", str(node.certs_d), pushed.reference())
    assert layer_bytes_by(bed.registry, pushed, since=mark) == {"shoal": pushed.image.layer_bytes}
    assert pushed.reference() in node.ctr("images", "ls", "--quiet").stdout


def test_ctr_pulls_with_a_login_through_shoal(bed: Bed, fresh_image: FreshImages) -> None:
    node = bed.nodes[0]
    bed.start_agents({"membership": {"static": []}}, nodes=[node])
    pushed = fresh_image()
    node.containerd.fetch(pushed.reference(Door.TOKEN), user=f"{USER}:{PASSWORD}")
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}


def skopeo_copy(
    node: Node, source: str, folder: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """Copy an image with skopeo, asking the agent for it, into an OCI layout."""
    return node.run(
        "skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", *words,
        f"docker://{FRONT_URL.removeprefix('http://')}/{source}", f"oci:{folder}:copy",
        check=False,
    )  # fmt: skip


def test_skopeo_copies_byte_for_byte_through_shoal(
    bed: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    node = bed.nodes[1]
    start(bed, node)
    pushed = fresh_image()
    copied = skopeo_copy(node, f"{ALIAS}/{pushed.repository}:{pushed.tag}", tmp_path / "out")
    assert copied.returncode == 0, copied.stderr
    image = pushed.image
    digests = [image.manifest_digest, image.config_digest, *(x.digest for x in image.layers)]
    for digest in digests:
        path = tmp_path / "out" / "blobs" / digest.replace(":", "/")
        assert path.read_bytes() == image.blob(digest).read_bytes()
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": image.layer_bytes}


def test_skopeo_copies_a_private_image_with_the_right_login_only(
    bed: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    node = bed.nodes[1]
    # skopeo logs in where a ping is refused, and a ping names no registry: so it is the default.
    start(bed, node, Door.BASIC, default=True)
    pushed = fresh_image()
    source = f"{pushed.repository}:{pushed.tag}"
    for login in ([], ["--src-creds", f"{USER}:guessed"]):
        refused = skopeo_copy(node, source, tmp_path / "none", *login)
        assert refused.returncode != 0
        assert "unauthorized" in refused.stderr or "authentication" in refused.stderr
    assert pushed.copies == 0
    copied = skopeo_copy(node, source, tmp_path / "out", "--src-creds", f"{USER}:{PASSWORD}")
    assert copied.returncode == 0, copied.stderr
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == pushed.image.manifest_digest
    assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}


def test_curl_gets_any_part_and_joins_what_was_cut(
    bed: Bed, fresh_image: FreshImages, tmp_path: Path
) -> None:
    node = bed.nodes[2]
    start(bed, node)
    pushed = fresh_image()
    layer = max(pushed.image.layers, key=lambda layer: layer.size_bytes)
    data = pushed.image.blob(layer.digest).read_bytes()
    url, out = blob_url(pushed, layer.digest), tmp_path / "part"
    end = len(data)
    parts = {
        "0-": (0, end),
        "0-0": (0, 1),
        "1000000-1999999": (1_000_000, 2_000_000),
        "524287-524288": (524_287, 524_289),  # over the border of two pieces
        "-7": (end - 7, end),
        f"{end - 1}-{end + 1_000_000}": (end - 1, end),
    }
    for asked, (first, last) in parts.items():
        assert curl(node, url, out, "-r", asked) == "206", asked
        assert out.read_bytes() == data[first:last], asked
    assert curl(node, url, out, "-r", f"{end}-") == "416"
    assert curl(node, url, out, "-r", "0-9,5-14") == "400"
    whole = tmp_path / "whole"
    whole.write_bytes(data[:1_234_567])
    assert curl(node, url, whole, "-C", "-") == "206"
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == layer.digest[7:]
    assert curl(node, url, out) == "200"
    assert out.read_bytes() == data
    assert pushed.copies < 1.01  # all of these parts, and the whole, for one copy
