"""Writes the agents' ConfigMap so that it says what is so; the Job once, the controller for ever.

Two writers at once do no harm: what is written is a function of what was found, and goes by the
version that was read, so the slower one reads again and finds nothing to change.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shoal.adapters.kube.api import KubeConflict, KubeConnection
from shoal.setup.cluster.agent_settings import config_map, path_of
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.objects import collection

ISSUER_ANNOTATION = "shoal.io/token-issuer"
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Written:
    """What there is of the ConfigMap."""

    data: Mapping[str, str]
    issuer: str = ""
    """Who signed the cluster's tokens when this was installed; empty: not known."""


async def read_written(kube: KubeConnection, installation: Installation) -> Written | None:
    """Return the ConfigMap, or None if there is none.

    Raises:
        KubeError: it is not known.
    """
    found = await kube.find(path_of(installation))
    return None if found is None else _written(found)


async def write(
    kube: KubeConnection,
    installation: Installation,
    data: Mapping[str, str],
    *,
    issuer: str = "",
    may_create: bool = True,
) -> bool:
    """Make the ConfigMap hold `data`; return whether anything had to be written.

    Args:
        kube: the API server.
        installation: what the chart says.
        data: all of it; keys that others have added are taken away.
        issuer: who signs the cluster's tokens; kept as it was first written.
        may_create: whether to make it where there is none; an uninstall deletes it.

    Raises:
        KubeError: it could not be written.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            return await _write_once(kube, installation, data, issuer, may_create)
        except KubeConflict:
            if not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


async def _write_once(
    kube: KubeConnection,
    installation: Installation,
    data: Mapping[str, str],
    issuer: str,
    may_create: bool,
) -> bool:
    found = await kube.find(path_of(installation))
    if found is None:
        if not may_create:
            return False
        thing = config_map(installation, data)
        if issuer:
            thing["metadata"]["annotations"] = {ISSUER_ANNOTATION: issuer}
        await kube.create(collection(installation.namespace, "configmaps"), thing)
        return True
    before = _written(found)
    change: dict[str, Any] = {"metadata": {}}
    if dict(before.data) != dict(data):
        change["data"] = {**dict.fromkeys(before.data, None), **data}
    if issuer and not before.issuer:
        change["metadata"]["annotations"] = {ISSUER_ANNOTATION: issuer}
    if change == {"metadata": {}}:
        return False
    change["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
    await kube.patch(path_of(installation), change)
    return True


def _written(thing: Mapping[str, Any]) -> Written:
    data = thing.get("data") or {}
    annotations = (thing.get("metadata") or {}).get("annotations") or {}
    return Written(
        {str(key): str(value) for key, value in data.items()},
        str(annotations.get(ISSUER_ANNOTATION, "")),
    )
