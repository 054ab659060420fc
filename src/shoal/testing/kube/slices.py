"""EndpointSlices as Kubernetes' controller writes them."""

from collections.abc import Iterable
from typing import Any


def slice_path(name: str, *, namespace: str = "shoal") -> str:
    """Return where the EndpointSlice of that name is."""
    return f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}"


def endpoint(address: str, *, pod: str | None = None, **conditions: bool) -> dict[str, Any]:
    """Return an endpoint; ready and serving unless `conditions` say otherwise."""
    pod = pod or f"pod-{address}"
    return {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False, **conditions},
        "nodeName": f"node-{address}",
        "targetRef": {"kind": "Pod", "namespace": "shoal", "name": pod, "uid": f"uid-{pod}"},
    }


def endpoint_slice(
    endpoints: Iterable[dict[str, Any]], *, service: str = "peers", port: int = 65002
) -> dict[str, Any]:
    """Return a slice of `service` with these endpoints, of the family of the first."""
    held = list(endpoints)
    is_ipv6 = bool(held) and ":" in held[0]["addresses"][0]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }
        },
        "addressType": "IPv6" if is_ipv6 else "IPv4",
        "ports": [{"name": "peer", "port": port, "protocol": "TCP"}],
        "endpoints": held,
    }
