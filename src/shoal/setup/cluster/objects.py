"""Objects of the API server that the cluster's commands make and read: names, paths, Secrets."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from shoal.setup.names import MADE_BY, NAME

PEERS = f"{NAME}-peers"
AGENT_ACCOUNT = f"{NAME}-sa"
JOB_ACCOUNT = f"{NAME}-job-sa"
TOKEN_AUDIENCE = "shoal-controller"  # noqa: S105 - a name

HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
HOOK = f"{HOOKS}/{NAME}"
NODES = "/api/v1/nodes"
TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

# The keys of a Secret of type kubernetes.io/tls.
CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
TLS_SECRET = "kubernetes.io/tls"  # noqa: S105 - a type


def collection(namespace: str, resource: str) -> str:
    """Return the path of objects of the core: `secrets`, `configmaps`, `pods`."""
    return f"/api/v1/namespaces/{namespace}/{resource}"


def made(kind: str, name: str, namespace: str) -> dict[str, Any]:
    """Return what every object of the core that is made here begins with."""
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": dict(MADE_BY)},
    }


def sealed(values: Mapping[str, bytes]) -> dict[str, str]:
    """Return the `data` of a Secret."""
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


def opened(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what a Secret holds; what is no base64 is left out."""
    data = secret.get("data")
    found: dict[str, bytes] = {}
    for key, value in data.items() if isinstance(data, dict) else ():
        try:
            found[str(key)] = base64.b64decode(str(value), validate=True)
        except (binascii.Error, ValueError):
            continue
    return found
