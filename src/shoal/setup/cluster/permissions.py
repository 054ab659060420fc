"""What the set-up's account must be allowed, asked of the API server before anything is done."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from shoal.adapters.kube.api import KubeConnection
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.objects import ACCESS_REVIEWS
from shoal.setup.names import AGENT_SETTINGS, AUTHORITY, NAME, WEBHOOK_TLS

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Permission:
    """One verb on one resource."""

    verb: str
    resource: str
    """With its subresource, as `nodes/status`."""
    group: str = ""
    name: str = ""
    is_namespaced: bool = True

    def __str__(self) -> str:
        resource = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{self.verb} {resource}{f' {self.name}' if self.name else ''}"


def needed(installation: Installation) -> Iterator[Permission]:
    """Yield what the Job and the controller do; the chart's roles give no more than that."""
    for verb in ("get", "patch"):
        yield Permission(verb, "configmaps", name=AGENT_SETTINGS)
    yield Permission("get", "secrets", name=AUTHORITY)
    yield Permission("create", "configmaps")
    yield Permission("create", "secrets")
    yield Permission("get", "pods")
    for verb in ("get", "list", "watch"):
        yield Permission(verb, "nodes", is_namespaced=False)
    yield Permission("patch", "nodes/status", is_namespaced=False)
    yield Permission("create", "events", is_namespaced=False)
    yield Permission("create", "tokenreviews", "authentication.k8s.io", is_namespaced=False)
    yield Permission("list", "nodepools", "apps.openyurt.io", is_namespaced=False)
    if installation.webhook:
        for verb in ("get", "patch"):
            yield Permission(verb, "secrets", name=WEBHOOK_TLS)
            yield Permission(
                verb,
                "mutatingwebhookconfigurations",
                "admissionregistration.k8s.io",
                name=NAME,
                is_namespaced=False,
            )


async def lacking(kube: KubeConnection, installation: Installation) -> list[Permission]:
    """Return the permissions that this account does not have.

    Raises:
        KubeError: the API server did not say.
    """
    wanted = list(needed(installation))
    gate = asyncio.Semaphore(_AT_ONCE)

    async def is_allowed(permission: Permission) -> bool:
        resource, _, subresource = permission.resource.partition("/")
        attributes = {
            "verb": permission.verb,
            "group": permission.group,
            "resource": resource,
            "subresource": subresource,
            "name": permission.name,
            "namespace": installation.namespace if permission.is_namespaced else "",
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        async with gate:
            answer = await kube.create(ACCESS_REVIEWS, review)
        status = answer.get("status")
        return isinstance(status, dict) and status.get("allowed") is True

    answers = await asyncio.gather(*(is_allowed(permission) for permission in wanted))
    return [permission for permission, allowed in zip(wanted, answers, strict=True) if not allowed]
