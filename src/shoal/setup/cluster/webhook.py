"""The webhook: rewrites the images of labelled pods when they are made.

Whatever goes wrong here, the pod is admitted as it is: then it is pulled by its own names.
"""

import asyncio
import base64
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from prometheus_client import CollectorRegistry

from shoal.adapters.kube.api import KubeAccess, connected
from shoal.core.errors import BadInput, ShoalError
from shoal.setup.cluster.agent_settings import FOLDER, SETTINGS
from shoal.setup.cluster.health import HEALTH_PORT, health, serving
from shoal.setup.cluster.metrics import WebhookMetrics
from shoal.setup.cluster.objects import CERTIFICATE, KEY
from shoal.setup.cluster.pull_secrets import PullSecrets, copy_name
from shoal.setup.cluster.rewrite import Operation, patch, wanted
from shoal.setup.cluster.rewritten_names import rewrites

_log = logging.getLogger("shoal.webhook")

WEBHOOK_PORT = 8444
TLS_DIR = Path("/etc/shoal/controller-tls")
# Two pods, before and after, of the 1.5 MiB that etcd takes.
_MAX_BODY_BYTES = 8 * 1024**2
_MAX_SETTINGS_BYTES = 2 * 1024**2
_TIMEOUT_S = 4.0
# What the answer itself takes, of the time that the API server waits.
_MARGIN_S = 0.5
_TIMEOUT = re.compile(r"(\d{1,2})s", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTools:
    """What the webhook works with, so that tests can give it other things."""

    access: KubeAccess
    settings: Path = Path(FOLDER) / SETTINGS
    tls_dir: Path = TLS_DIR
    host: str = "0.0.0.0"  # noqa: S104 - the API server asks from its own network
    port: int = WEBHOOK_PORT
    health_port: int = HEALTH_PORT
    poll_s: float = 5.0
    """Seconds between two looks at files that the kubelet changes."""


@dataclass(frozen=True, slots=True)
class Review:
    """A request of the API server, as far as it matters."""

    uid: str
    namespace: str
    pod: Mapping[str, Any]
    before: Mapping[str, Any] | None
    is_dry_run: bool

    @classmethod
    def parse(cls, content: bytes) -> "Review":
        """Return what the API server asks.

        Raises:
            BadInput: it is no AdmissionReview of v1.
        """
        try:
            told = json.loads(content)
            request = told["request"]
            version, uid = told["apiVersion"], request["uid"]
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise BadInput("the body is no AdmissionReview") from exc
        pod, before = request.get("object"), request.get("oldObject")
        if version != "admission.k8s.io/v1" or not isinstance(uid, str):
            raise BadInput(f"an AdmissionReview of {version!r} is not understood")
        return cls(
            uid,
            str(request.get("namespace") or ""),
            pod if isinstance(pod, dict) else {},
            before if isinstance(before, dict) else None,
            request.get("dryRun") is True,
        )

    def answer(self, operations: list[Operation]) -> dict[str, Any]:
        """Return the answer: yes, with a patch if there is one."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": True}
        if operations:
            encoded = base64.b64encode(json.dumps(operations).encode()).decode()
            response |= {"patchType": "JSONPatch", "patch": encoded}
        return {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        }


@dataclass(slots=True)
class Webhook:
    """The process; `run` it."""

    tools: WebhookTools
    metrics: WebhookMetrics = field(default_factory=lambda: WebhookMetrics(CollectorRegistry()))
    port: int = 0
    health_port: int = 0
    _names: Mapping[str, str] = field(default_factory=dict)
    _seen: dict[Path, object] = field(default_factory=dict)
    _not_ready: str = "the certificate is not there yet: the set-up Job makes it"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run while the block does; ready when it begins.

        Raises:
            SettingsError: a port is taken.
        """
        tools = self.tools
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        async with (
            connected(tools.access, most=16) as kube,
            health(
                self.metrics.registry,
                not_ready=lambda: self._not_ready,
                host=tools.host,
                port=tools.health_port,
            ) as self.health_port,
        ):
            while True:
                if self._look(context):
                    break
                await asyncio.sleep(tools.poll_s)
            secrets = PullSecrets(kube)

            async def mutate(request: web.Request) -> web.Response:
                return await self._mutate(request, secrets)

            app = web.Application(client_max_size=_MAX_BODY_BYTES)
            app.router.add_post("/mutate", mutate)
            async with (
                serving(app, host=tools.host, port=tools.port, tls=context) as self.port,
                asyncio.TaskGroup() as group,
            ):
                self._not_ready = ""
                looking = group.create_task(self._look_for_ever(context))
                yield
                looking.cancel()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises:
            SettingsError: a port is taken.
        """
        async with self.running():
            await stop.wait()

    async def _look_for_ever(self, context: ssl.SSLContext) -> None:
        while True:
            await asyncio.sleep(self.tools.poll_s)
            self._look(context)

    def _look(self, context: ssl.SSLContext) -> bool:
        """Take what is new of the certificate and the settings; return whether there are both."""
        tools = self.tools
        certificate, key = tools.tls_dir / CERTIFICATE, tools.tls_dir / KEY
        try:
            # Marked before it is read: what is swapped in meanwhile is new at the next look.
            if (mark := _mark(certificate)) != self._seen.get(certificate):
                context.load_cert_chain(certificate, key)
                self._seen[certificate] = mark
            if (mark := _mark(tools.settings)) != self._seen.get(tools.settings):
                self._names = names_in(tools.settings)
                self._seen[tools.settings] = mark
                _log.info("names", extra={"registries": sorted(self._names)})
        except (OSError, ssl.SSLError, ValueError, TypeError, yaml.YAMLError) as exc:
            self._not_ready = self._not_ready and f"{exc}"
            _log.warning("not_read", extra={"error": str(exc)})
        return len(self._seen) == 2

    async def _mutate(self, request: web.Request, secrets: PullSecrets) -> web.Response:
        try:
            review = Review.parse(await request.read())
        except BadInput as exc:
            return web.json_response({"message": str(exc)}, status=400)
        operations: list[Operation] = []
        outcome = "failed"
        try:
            async with asyncio.timeout(_time_s(request.query.get("timeout", ""))):
                operations = await self.operations(review, secrets)
            outcome = "rewritten" if operations else "unchanged"
        except (ShoalError, TimeoutError) as exc:
            _log.warning(
                "pod_left_as_it_is",
                extra={"namespace": review.namespace, "error": str(exc) or "no time left"},
            )
        self.metrics.reviews.labels(outcome).inc()
        return web.json_response(review.answer(operations))

    async def operations(self, review: Review, secrets: PullSecrets) -> list[Operation]:
        """Return the patch for a pod; its pull secrets are copied when this returns.

        Raises:
            BadInput: a pull secret does not exist yet, or of a pod that runs it has no copy.
            KubeError: a pull secret could not be read or copied.
        """
        names = self._names
        what = wanted(review.pod, review.before, names)
        if not what.images:
            return []
        copies = [
            name
            for secret in what.secrets
            if not _is_copy(secret, what.secrets)
            and (
                name := await secrets.copied(
                    review.namespace, secret, names, dry_run=review.is_dry_run
                )
            )
        ]
        if what.is_running and not set(copies) <= set(what.secrets):
            raise BadInput("a pod that runs takes no more pull secrets")
        return patch(review.pod, what, copies)


def names_in(settings: Path) -> dict[str, str]:
    """Return which registries are rewritten to what, by an agent's settings.

    Raises:
        OSError, ValueError, TypeError, yaml.YAMLError: they cannot be read.
    """
    with settings.open("rb") as file:
        content = file.read(_MAX_SETTINGS_BYTES)
    told = yaml.safe_load(content)
    if not isinstance(told, dict):
        raise TypeError(f"{settings} holds no settings")
    registries = [one for one in told.get("registries") or () if isinstance(one, dict)]
    return rewrites(registries, int((told.get("front") or {}).get("port", 65001)))


def _is_copy(secret: str, secrets: tuple[str, ...]) -> bool:
    return any(copy_name(other) == secret for other in secrets)


def _mark(path: Path) -> tuple[int, int, int]:
    about = path.stat()
    return about.st_ino, about.st_mtime_ns, about.st_size


def _time_s(told: str) -> float:
    """Return how long an answer may take: the API server says how long it waits, as `5s`."""
    match = _TIMEOUT.fullmatch(told)
    return max(int(match[1]) - _MARGIN_S, _MARGIN_S) if match else _TIMEOUT_S
