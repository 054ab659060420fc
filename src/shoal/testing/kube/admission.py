"""Asks mutating webhooks before an object is written, over HTTPS, as an API server does."""

import asyncio
import base64
import json
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from shoal.core.errors import BadInput
from shoal.testing.kube.objects import Objects, ResourcePath
from shoal.testing.kube.patches import json_patched

_CONFIGURATIONS = ResourcePath(
    "admissionregistration.k8s.io/v1", None, "mutatingwebhookconfigurations", None
)
# The cluster's DNS: namespace and name of a Service -> where it is.
Services = Mapping[tuple[str, str], tuple[str, int]]


class Denied(BadInput):
    """A webhook said no, or did not answer and its policy is to fail."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A write that is to be admitted."""

    operation: str
    """CREATE or UPDATE."""
    path: ResourcePath
    thing: dict[str, Any]
    before: dict[str, Any] | None
    user: str
    is_dry_run: bool = False


class Admission:
    """The webhooks that the objects name, and where they are."""

    def __init__(self, objects: Objects, services: Services) -> None:
        """Read configurations and namespaces from `objects`."""
        self._objects = objects
        self._services = services

    async def admitted(self, attempt: Attempt) -> dict[str, Any]:
        """Return the object as the webhooks want it.

        Raises:
            Denied: one does not want it at all.
        """
        thing = attempt.thing
        for configuration in self._objects.all(_CONFIGURATIONS, lambda _: True):
            for hook in configuration["webhooks"]:
                if not self._concerns(hook, attempt, thing):
                    continue
                try:
                    thing = await self._asked(hook, attempt, thing)
                except (aiohttp.ClientError, OSError, TimeoutError, LookupError, ValueError) as exc:
                    if isinstance(exc, Denied) or hook.get("failurePolicy", "Fail") != "Ignore":
                        raise Denied(f"webhook {hook['name']}: {exc}") from exc
        return thing

    def _concerns(self, hook: dict[str, Any], attempt: Attempt, thing: dict[str, Any]) -> bool:
        path = attempt.path
        resource = path.resource + (f"/{path.subresource}" if path.subresource else "")
        group, _, version = path.group.rpartition("/")
        rules = (
            attempt.operation in rule["operations"]
            and group in rule["apiGroups"]
            and version in rule["apiVersions"]
            and resource in rule["resources"]
            for rule in hook.get("rules") or ()
        )
        if not any(rules):
            return False
        namespace = self._objects.get(ResourcePath("v1", None, "namespaces", path.namespace)) or {}
        return _selects(hook.get("namespaceSelector"), namespace) and (
            _selects(hook.get("objectSelector"), thing)
            or _selects(hook.get("objectSelector"), attempt.before or thing)
        )

    async def _asked(
        self, hook: dict[str, Any], attempt: Attempt, thing: dict[str, Any]
    ) -> dict[str, Any]:
        client = hook["clientConfig"]
        service = client["service"]
        host, port = self._services[(service["namespace"], service["name"])]
        trust = ssl.create_default_context(cadata=base64.b64decode(client["caBundle"]).decode())
        request = _request(attempt, thing)
        timeout_s = hook.get("timeoutSeconds", 10)
        # It counts for all of it, and the webhook is told.
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession() as session,
            session.post(
                f"https://{host}:{port}{service.get('path', '/')}?timeout={timeout_s}s",
                json={"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"} | request,
                ssl=trust,
                server_hostname=f"{service['name']}.{service['namespace']}.svc",
            ) as response,
        ):
            if response.status != 200:
                raise ValueError(f"answered {response.status}")
            answer = (await response.json())["response"]
        if answer["uid"] != request["request"]["uid"]:
            raise ValueError("answered another request")
        if not answer["allowed"]:
            raise Denied(str(answer.get("status", {}).get("message")))
        if not answer.get("patch"):
            return thing
        patched: dict[str, Any] = json_patched(thing, json.loads(base64.b64decode(answer["patch"])))
        return patched


def _request(attempt: Attempt, thing: dict[str, Any]) -> dict[str, Any]:
    path = attempt.path
    group, _, version = path.group.rpartition("/")
    return {
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": {"group": group, "version": version, "kind": thing.get("kind", "")},
            "resource": {"group": group, "version": version, "resource": path.resource},
            "subResource": path.subresource or "",
            "name": path.name or "",
            "namespace": path.namespace or "",
            "operation": attempt.operation,
            "userInfo": {"username": attempt.user},
            "object": thing,
            "oldObject": attempt.before,
            "dryRun": attempt.is_dry_run,
            "options": {},
        }
    }


def _selects(selector: dict[str, Any] | None, thing: dict[str, Any]) -> bool:
    labels = (thing.get("metadata") or {}).get("labels") or {}
    selector = selector or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_fits(term, labels) for term in selector.get("matchExpressions") or ())


def _fits(term: dict[str, Any], labels: dict[str, str]) -> bool:
    has, value = term["key"] in labels, labels.get(term["key"])
    match term["operator"]:
        case "In":
            return value in term["values"]
        case "NotIn":
            return value not in term["values"]
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
    raise BadInput(f"the operator {term['operator']!r} is not understood here")
