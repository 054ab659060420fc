"""The bed without Shoal: real clients pull straight from the real registry."""

import json
from pathlib import Path

import pytest

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.cri import Auth, PullFailed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.measure import check_complete, rollout
from shoal.testing.bed.registry import OTHER_PASSWORD, OTHER_USER, PASSWORD, USER
from shoal.testing.bed.traffic import Door
from shoal.testing.image import BuiltImage, ImageFormat

LOGIN = Auth(username=USER, password=PASSWORD)


def test_every_node_costs_the_registry_one_copy(bed: Bed, fresh_image: FreshImages) -> None:
    pushed = fresh_image()
    rolled = rollout(bed, pushed.image, pushed.reference())
    check_complete(rolled, bed, pushed.image)
    config_bytes = pushed.image.blob(pushed.image.config_digest).stat().st_size
    expected = len(bed.nodes) * (pushed.image.layer_bytes + config_bytes)
    assert rolled.traffic.blob_bytes == expected
    assert rolled.copies == expected / pushed.image.layer_bytes
    assert rolled.traffic.manifest_bytes > 0
    assert rolled.traffic.header_bytes > 0
    assert 0 <= rolled.cpu_idle <= 1


@pytest.mark.parametrize("image_format", ImageFormat)
def test_the_cri_pulls_and_removes(
    bed: Bed, fresh_image: FreshImages, image_format: ImageFormat
) -> None:
    pushed = fresh_image(image_format=image_format)
    cri = bed.nodes[0].cri
    assert cri.status(pushed.reference()) is None
    image_id = cri.pull(pushed.reference())
    found = cri.status(pushed.reference())
    assert found is not None
    assert found.id == image_id == pushed.image.config_digest
    assert found.tags == (pushed.reference(),)
    assert found.size_bytes >= pushed.image.layer_bytes
    cri.remove(pushed.reference())
    assert cri.status(pushed.reference()) is None


@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
def test_a_private_image_is_pulled_with_the_right_password(
    bed: Bed, fresh_image: FreshImages, door: Door
) -> None:
    pushed = fresh_image()
    bed.nodes[1].cri.pull(pushed.reference(door), auth=LOGIN)
    assert pushed.copies == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("door", [Door.BASIC, Door.TOKEN])
@pytest.mark.parametrize(
    "auth", [None, Auth(username=USER, password="wrong")], ids=["none", "wrong"]
)
def test_a_private_image_is_not_pulled_otherwise(
    bed: Bed, fresh_image: FreshImages, door: Door, auth: Auth | None
) -> None:
    pushed = fresh_image()
    with pytest.raises(PullFailed, match=r"401|403|denied|authoriz|unauthorized"):
        bed.nodes[1].cri.pull(pushed.reference(door), auth=auth)
    assert pushed.copies == 0


def test_a_valid_login_without_a_grant_gets_no_token_for_the_repository(
    bed: Bed, fresh_image: FreshImages
) -> None:
    pushed = fresh_image()
    stranger = Auth(username=OTHER_USER, password=OTHER_PASSWORD)
    with pytest.raises(PullFailed, match=r"denied|authoriz"):
        bed.nodes[1].cri.pull(pushed.reference(Door.TOKEN), auth=stranger)
    last = json.loads(bed.registry.token_log.read_text().splitlines()[-1])
    assert (last["user"], last["status"]) == (OTHER_USER, 200)


def test_a_public_repository_gives_tokens_to_anyone(bed: Bed, fresh_image: FreshImages) -> None:
    pushed = fresh_image(repository="public/fresh")
    bed.nodes[2].cri.pull(pushed.reference(Door.TOKEN))
    assert pushed.copies == pytest.approx(1, abs=0.01)


def test_blobs_come_from_the_storage_that_the_registry_redirects_to(
    bed: Bed, fresh_image: FreshImages
) -> None:
    pushed = fresh_image()
    mark = bed.registry.mark()
    bed.nodes[2].containerd.fetch(pushed.reference(Door.REDIRECTING))
    assert pushed.copies == pytest.approx(1, abs=0.01)
    layers = {layer.digest for layer in pushed.image.layers}
    doors = {r.door for r in bed.registry.requests(since=mark) if r.blob_digest in layers}
    assert doors == {Door.STORAGE}


def test_a_container_runs_from_the_pulled_image(bed: Bed, debian_image: BuiltImage) -> None:
    reference = bed.registry.push(debian_image, repository="library/debian")
    runtime = bed.nodes[3].containerd
    runtime.ctr("images", "pull", "--hosts-dir", str(runtime.certs_d), reference)
    said = runtime.run_container(
        reference,
        ["/bin/bash", "-c", "ls / | sort | tr '\\n' ' '; cat /srv/marker"],
        name="smoke",
    )
    assert said == "bin dev etc lib lib64 proc run sbin srv sys tmp usr var seed 0\n"


def test_skopeo_copies_the_image_byte_for_byte(
    bed: Bed, debian_image: BuiltImage, tmp_path: Path
) -> None:
    reference = bed.registry.push(debian_image, repository="library/debian")
    bed.nodes[0].run(
        "skopeo", "copy", "-q", "--src-tls-verify=false",
        f"docker://{reference}", f"oci:{tmp_path}:copy",
    )  # fmt: skip
    digests = [debian_image.manifest_digest, debian_image.config_digest]
    for digest in [*digests, *(layer.digest for layer in debian_image.layers)]:
        copied = tmp_path / "blobs" / digest.replace(":", "/")
        assert copied.read_bytes() == debian_image.blob(digest).read_bytes()
