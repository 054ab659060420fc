"""What becomes of a pod."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.setup.cluster.rewrite import (
    CONFIG_ANNOTATION,
    MODE_ANNOTATION,
    new_image,
    patch,
    wanted,
)
from shoal.testing.kube.patches import json_patched

OLD = "test-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
NEW = "test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001"
NAMES = {OLD: NEW, "docker.io": "docker.distributed.io:65001"}
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"{OLD}/docker-builder/nginx:latest", f"{NEW}/docker-builder/nginx:latest"),
        (f"{OLD}/a/b", f"{NEW}/a/b"),
        (f"{OLD}/a/b@{DIGEST}", f"{NEW}/a/b@{DIGEST}"),
        (f"{OLD}/a/b:1@{DIGEST}", f"{NEW}/a/b:1@{DIGEST}"),
        ("nginx", "docker.distributed.io:65001/library/nginx"),
        ("team/app:2", "docker.distributed.io:65001/team/app:2"),
        ("other.example.com/a", None),
        ("other.example.com:5000/a:1", None),
        (f"{NEW}/a/b:1", None),
        ("", None),
        ("Not An Image", None),
    ],
)
def test_the_registry_alone_is_another(image: str, expected: str | None) -> None:
    assert new_image(image, NAMES) == expected


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": spec}


def rewritten(
    thing: dict[str, Any], *copies: str, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    what = wanted(thing, before, NAMES)
    result: dict[str, Any] = json_patched(thing, patch(thing, what, copies))
    return result


def test_a_pod_as_in_the_product_s_page() -> None:
    before = pod(
        containers=[{"name": "c", "image": f"{OLD}/docker-builder/nginx:latest"}],
        imagePullSecrets=[{"name": "test-registry"}],
    )
    after = rewritten(before, "acr-credential-test-registry-p2p")
    assert after["spec"]["containers"][0]["image"] == f"{NEW}/docker-builder/nginx:latest"
    assert after["spec"]["imagePullSecrets"] == [
        {"name": "test-registry"},
        {"name": "acr-credential-test-registry-p2p"},
    ]
    annotations = after["metadata"]["annotations"]
    assert annotations[MODE_ANNOTATION] == "p2p"
    assert json.loads(annotations[CONFIG_ANNOTATION]) == {
        "originalImages": {"c": f"{OLD}/docker-builder/nginx:latest"}
    }


def test_init_containers_too_and_annotations_stay() -> None:
    before = pod(
        initContainers=[{"name": "i", "image": "busybox"}],
        containers=[{"name": "c", "image": "other.example.com/a"}, {"name": "d", "image": "redis"}],
    )
    before["metadata"]["annotations"] = {"mine": "kept"}
    after = rewritten(before)
    assert after["spec"]["initContainers"][0]["image"].startswith("docker.distributed.io:65001/")
    assert after["spec"]["containers"][0]["image"] == "other.example.com/a"
    assert after["metadata"]["annotations"]["mine"] == "kept"
    assert "imagePullSecrets" not in after["spec"]


def test_a_pod_without_such_an_image_needs_nothing() -> None:
    for thing in (pod(), pod(containers=[{"name": "c", "image": "other.example.com/a"}]), {}):
        assert wanted(thing, None, NAMES).images == ()


def test_of_a_pod_that_runs_only_what_is_new_is_rewritten_and_nothing_else() -> None:
    running = pod(
        containers=[{"name": "c", "image": "redis"}],
        ephemeralContainers=[{"name": "e", "image": "busybox"}],
    )
    more = pod(
        containers=[{"name": "c", "image": "redis"}],
        ephemeralContainers=[{"name": "e", "image": "busybox"}, {"name": "f", "image": "curl"}],
    )
    after = rewritten(more, "never-added", before=running)
    expected = pod(**more["spec"])
    expected["spec"]["ephemeralContainers"][1]["image"] = "docker.distributed.io:65001/library/curl"
    assert after == expected


def test_a_second_time_nothing_changes() -> None:
    before = pod(containers=[{"name": "c", "image": "redis"}], imagePullSecrets=[{"name": "a"}])
    after = rewritten(before, "acr-credential-a-p2p")
    assert wanted(after, None, NAMES).images == ()


IMAGES = st.one_of(
    st.sampled_from(["redis", f"{OLD}/a/b:1", "other.example.com/a", "", "a b"]),
    st.text(max_size=8),
)
LISTS = st.lists(st.fixed_dictionaries({"name": st.text(max_size=3), "image": IMAGES}), max_size=3)
PODS = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"annotations": st.just({"a": "b"})})},
    optional={
        "spec": st.fixed_dictionaries(
            {},
            optional={
                "containers": LISTS,
                "initContainers": LISTS,
                "imagePullSecrets": st.lists(
                    st.fixed_dictionaries({"name": st.sampled_from("ab")}), max_size=2
                ),
            },
        )
    },
)


@settings(deadline=None)
@given(PODS, st.lists(st.sampled_from(["x", "a"]), max_size=2, unique=True))
def test_every_patch_fits_and_only_adds_or_renames(
    thing: dict[str, Any], copies: list[str]
) -> None:
    what = wanted(thing, None, NAMES)
    if not what.images:
        return
    after = json_patched(thing, patch(thing, what, copies))
    for kind in ("containers", "initContainers"):
        for old, new in zip(thing["spec"].get(kind, ()), after["spec"].get(kind, ()), strict=True):
            assert old["name"] == new["name"]
            assert new["image"] in (old["image"], new_image(old["image"], NAMES))
    listed = thing["spec"].get("imagePullSecrets", [])
    assert after["spec"].get("imagePullSecrets", [])[: len(listed)] == listed
    assert wanted(after, None, NAMES).images == ()
