"""What the webhook makes of a pod: images by their rewritten names, pull secrets, annotations.

Rule 1: a pod that cannot be rewritten whole stays as it is. It is pulled by its own names, which
the agents serve as well.
Rule 2: nothing is changed that Kubernetes lets nobody change: of a pod that runs only containers
that are new, and never its pull secrets.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.core.errors import BadInput
from shoal.core.reference import Reference

MODE_ANNOTATION = "k8s.aliyun.com/image-accelerate-mode"
CONFIG_ANNOTATION = "k8s.aliyun.com/p2p-config"
MODE = "p2p"

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")

Operation = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewImage:
    """One image that gets another name."""

    path: str
    """JSON pointer."""
    container: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be rewritten of a pod."""

    images: tuple[NewImage, ...]
    secrets: tuple[str, ...]
    """Names of the pod's pull secrets, in its order."""
    is_running: bool
    """Whether only containers are added to a pod that runs."""


def wanted(
    pod: Mapping[str, Any], before: Mapping[str, Any] | None, names: Mapping[str, str]
) -> Wanted:
    """Return what is to be rewritten.

    Args:
        pod: as it is to be written.
        before: as it is; None: it is new.
        names: registries that are rewritten, to their new names.
    """
    had = {pointer: image for pointer, _, image in _images(before or {})}
    images = tuple(
        NewImage(pointer, container, image, after)
        for pointer, container, image in _images(pod)
        if had.get(pointer) != image and (after := new_image(image, names)) is not None
    )
    listed = _spec(pod).get("imagePullSecrets")
    secrets = [
        str(one["name"])
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict) and one.get("name")
    ]
    return Wanted(images, tuple(secrets), is_running=before is not None)


def new_image(image: str, names: Mapping[str, str]) -> str | None:
    """Return an image's new name, or None if it keeps its own."""
    try:
        reference = Reference.parse(image)
    except BadInput:
        return None  # the runtime will say what is wrong with it
    registry = names.get(reference.registry)
    if registry is None:
        return None
    # The end as it was written: a tag that nobody gave is nobody's to add.
    end = ""
    if reference.digest is not None:
        end = f"@{reference.digest}"
    name = image.partition("@")[0]
    if ":" in name.rpartition("/")[2]:
        end = f":{reference.tag}{end}"
    return f"{registry}/{reference.repository}{end}"


def patch(pod: Mapping[str, Any], what: Wanted, copies: Sequence[str]) -> list[Operation]:
    """Return the JSON patch that rewrites a pod.

    Args:
        pod: as it is to be written.
        what: is to be rewritten of it.
        copies: names of pull secrets to add; none to a pod that runs.
    """
    operations: list[Operation] = [
        {"op": "replace", "path": f"{image.path}/image", "value": image.after}
        for image in what.images
    ]
    if what.is_running:
        return operations
    new = [name for name in copies if name not in what.secrets]
    if new and not what.secrets:
        value = [{"name": name} for name in new]
        operations.append({"op": "add", "path": "/spec/imagePullSecrets", "value": value})
    else:
        operations += [
            {"op": "add", "path": "/spec/imagePullSecrets/-", "value": {"name": name}}
            for name in new
        ]
    originals = {image.container: image.before for image in what.images}
    config = json.dumps({"originalImages": originals}, separators=(",", ":"), sort_keys=True)
    annotations = {MODE_ANNOTATION: MODE, CONFIG_ANNOTATION: config}
    metadata = pod.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("annotations"):
        operations.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    else:
        operations += [
            {"op": "add", "path": f"/metadata/annotations/{_escaped(key)}", "value": value}
            for key, value in annotations.items()
        ]
    return operations


def _images(pod: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield pointer, container and image of everything that a pod runs."""
    spec = _spec(pod)
    for kind in _CONTAINERS:
        containers = spec.get(kind)
        for index, one in enumerate(containers if isinstance(containers, list) else ()):
            if isinstance(one, dict) and isinstance(one.get("image"), str):
                yield f"/spec/{kind}/{index}", str(one.get("name", "")), one["image"]


def _spec(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = pod.get("spec")
    return spec if isinstance(spec, dict) else {}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")  # RFC 6901
