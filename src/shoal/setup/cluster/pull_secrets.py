"""Copies of pull secrets for rewritten names: the same credentials under another registry's name.

They are named as in the product, so that ones made by hand for it are found and left alone.
"""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import Any

from shoal.adapters.kube.api import KubeConflict, KubeConnection
from shoal.core.errors import BadInput
from shoal.core.reference import canonical_registry
from shoal.setup.cluster.objects import HOOK, collection, made, opened, sealed
from shoal.setup.names import MADE_BY, NAME

_JSON_TYPE, _JSON_KEY = "kubernetes.io/dockerconfigjson", ".dockerconfigjson"
_OLD_KEY = ".dockercfg"
# Source: Kubernetes documentation, "Object Names and IDs".
_MOST_CHARACTERS = 253


def copy_name(secret: str) -> str:
    """Return the name of a secret's copy."""
    name = f"acr-credential-{secret}-p2p"
    if len(name) <= _MOST_CHARACTERS:
        return name
    digest = sha256(secret.encode()).hexdigest()[:12]
    return f"acr-credential-{secret[:200].rstrip('.-')}-{digest}-p2p"


def rewritten_auths(secret: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of a pull secret under the rewritten names; empty if none is for them.

    Args:
        secret: the Secret.
        names: registries that are rewritten, to their new names.
    """
    held = opened(secret)
    try:
        told = json.loads(held.get(_JSON_KEY) or held.get(_OLD_KEY) or b"{}")
    except (ValueError, RecursionError):
        return {}
    auths = told.get("auths", {}) if _JSON_KEY in held and isinstance(told, dict) else told
    found: dict[str, Any] = {}
    for key, entry in auths.items() if isinstance(auths, dict) else ():
        host, slash, path = str(key).rpartition("://")[2].partition("/")
        # `https://index.docker.io/v1/` is how Docker writes a registry that has no path.
        end = "" if path.strip("/") in ("", "v1", "v2") else f"{slash}{path}"
        for registry, other in names.items():
            if _means(host, registry):
                found[f"{other}{end}"] = entry
    return found


def _means(pattern: str, registry: str) -> bool:
    """Return whether a key of a pull secret is for a registry, as the kubelet reads it."""
    if "*" in pattern or "?" in pattern:
        # Source: Kubernetes documentation, "Interpretation of config.json": a mark stands for part
        # of one label.
        parts, labels = pattern.lower().split("."), registry.split(".")
        return len(parts) == len(labels) and all(map(fnmatchcase, labels, parts))
    try:
        return canonical_registry(pattern) == registry
    except BadInput:
        return False


class PullSecrets:
    """Makes and renews copies beside the originals."""

    def __init__(self, kube: KubeConnection) -> None:
        """Write through `kube`."""
        self._kube = kube

    async def copied(
        self, namespace: str, secret: str, names: Mapping[str, str], *, dry_run: bool = False
    ) -> str | None:
        """Return the name of a secret's copy as it is now, or None if it needs none.

        Args:
            namespace: of the pod.
            secret: name of the original.
            names: registries that are rewritten, to their new names.
            dry_run: write nothing.

        Raises:
            BadInput: there is no such secret yet, so it is not known whether it needs one; or no
                webhook any more, with which the copy would go.
            KubeError: it could not be read or copied.
        """
        path = collection(namespace, "secrets")
        original = await self._kube.find(f"{path}/{secret}")
        if original is None:
            raise BadInput(f"pull secret {secret} does not exist")
        auths = rewritten_auths(original, names)
        if not auths:
            return None
        name = copy_name(secret)
        if not dry_run:
            await self._write(path, namespace, name, auths)
        return name

    async def _write(self, path: str, namespace: str, name: str, auths: dict[str, Any]) -> None:
        content = json.dumps({"auths": auths}, sort_keys=True).encode()
        data = sealed({_JSON_KEY: content})
        found = await self._kube.find(f"{path}/{name}")
        if found is None:
            thing = made("Secret", name, namespace) | {"type": _JSON_TYPE, "data": data}
            thing["metadata"]["ownerReferences"] = [await self._owned_by()]
            try:
                await self._kube.create(path, thing)
            except KubeConflict:  # another pod of the same moment
                return
        elif _is_ours(found) and found.get("data") != data:
            try:
                await self._kube.replace(f"{path}/{name}", found | {"data": data})
            except KubeConflict:
                return

    async def _owned_by(self) -> dict[str, str]:
        """Return who owns copies: with the webhook's configuration they are collected too.

        An object of a namespace may be owned by one of the cluster, and nothing else of ours is
        deleted whenever the webhook is. Asked each time: what is made for one that was deleted, and
        made anew since, is collected at once.
        """
        hook = await self._kube.find(HOOK)
        if hook is None:
            raise BadInput("the webhook is being taken away")
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "name": NAME,
            "uid": str(hook["metadata"]["uid"]),
        }


def _is_ours(secret: Mapping[str, Any]) -> bool:
    labels = (secret.get("metadata") or {}).get("labels") or {}
    return all(labels.get(key) == value for key, value in MADE_BY.items())
