"""What nodes ask of the controller over HTTPS: a certificate, and to write down how they are.

Rule 1: which node asks, its token says. Nothing in a body is believed but the key that it proves.
Rule 2: whatever is asked is bounded, in size, time and number, before the API server is bothered.
"""

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.kube.api import KubeConnection, KubeError
from shoal.core.errors import BadInput
from shoal.setup.cluster.allowance import Allowances
from shoal.setup.cluster.metrics import ControllerMetrics
from shoal.setup.cluster.node_proof import NodeRefused, ProvedNode, TokenRefused, prove
from shoal.setup.cluster.reports import Report, publish

_log = logging.getLogger("shoal.controller")

MAX_BODY_BYTES = 64 * 1024
_MAX_TOKEN_CHARACTERS = 8000  # the server takes lines of 8190 bytes
_TIMEOUT_S = 20.0
# A thousand nodes that start together ask twice each: served in less than a minute.
_ALL = Allowances(burst=200, per_s=50)
# A node that is in order asks for a certificate when it starts and a few times a year, and reports
# every ten minutes.
_BURST, _PER_S = 10, 1 / 30
_AT_ONCE = 32
# Renewed after a half to two thirds of it, so that a controller may be away for a month. A node
# that has left is no member any more, whatever its certificate says.
_CERTIFICATE_DAYS = 90
_RETRY_S = 5

Answer = Callable[[ProvedNode, Mapping[str, Any]], Awaitable[dict[str, Any]]]


class NodeService:
    """Answers nodes; `app` is what serves it."""

    def __init__(
        self,
        kube: KubeConnection,
        authority: Authority,
        *,
        namespace: str,
        metrics: ControllerMetrics,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """Sign by `authority`, for the agents' pods in `namespace`."""
        self._kube = kube
        self._authority = authority
        self._namespace = namespace
        self._metrics = metrics
        self._now_s = now_s or asyncio.get_running_loop().time
        self._all = Allowances(burst=_ALL.burst, per_s=_ALL.per_s, most=1)
        self._each = Allowances(burst=_BURST, per_s=_PER_S)
        self._gate = asyncio.Semaphore(_AT_ONCE)

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/certificates", self._certificates)
        app.router.add_post("/v1/reports", self._reports)
        return app

    async def _certificates(self, request: web.Request) -> web.Response:
        return await self._answered("certificates", request, self._sign)

    async def _reports(self, request: web.Request) -> web.Response:
        return await self._answered("reports", request, self._publish)

    async def _answered(self, what: str, request: web.Request, answer: Answer) -> web.Response:
        response = await self._response(request, answer)
        self._metrics.node_requests.labels(what, str(response.status)).inc()
        return response

    async def _response(self, request: web.Request, answer: Answer) -> web.Response:
        if wait_s := self._all.take("", now_s=self._now_s()):
            return _refusal(429, "too many nodes ask at once", retry_after_s=wait_s)
        try:
            async with asyncio.timeout(_TIMEOUT_S), self._gate:
                body = _body(await request.read())
                node = await prove(self._kube, _token(request), namespace=self._namespace)
                if wait_s := self._each.take(node.name, now_s=self._now_s()):
                    return _refusal(429, f"{node.name} asks too often", retry_after_s=wait_s)
                return _json(await answer(node, body))
        except TokenRefused as exc:
            return _refusal(401, str(exc))
        except NodeRefused as exc:
            _log.warning("node_refused", extra={"reason": str(exc)})
            return _refusal(403, str(exc))
        except BadInput as exc:
            return _refusal(400, str(exc))
        except KubeError as exc:
            _log.warning("api_server_failed", extra={"error": str(exc)})
            return _refusal(
                503, "the API server does not answer", retry_after_s=exc.retry_after_s or _RETRY_S
            )
        except TimeoutError:
            return _refusal(503, "this took too long", retry_after_s=_RETRY_S)

    async def _sign(self, node: ProvedNode, body: Mapping[str, Any]) -> dict[str, Any]:
        request = body.get("csr")
        if not isinstance(request, str):
            raise BadInput("csr is a certificate request in PEM")
        if not node.addresses:
            raise NodeRefused(f"node {node.name} has no InternalIP yet")
        try:
            certificate = self._authority.sign_request(
                request.encode(),
                node=node.name,
                addresses=node.addresses,
                days=_CERTIFICATE_DAYS,
            )
        except CertificateError as exc:
            raise BadInput(str(exc)) from exc
        _log.info(
            "certificate_signed",
            extra={
                "node": node.name,
                "addresses": list(node.addresses),
                "serial": f"{certificate.serial:x}",
                "until": certificate.not_after.isoformat(),
            },
        )
        return {
            "certificate": certificate.pem.decode(),
            "ca": self._authority.certificate.pem.decode(),
        }

    async def _publish(self, node: ProvedNode, body: Mapping[str, Any]) -> dict[str, Any]:
        report = Report.parse(body)
        if await publish(self._kube, node, report):
            _log.info(
                "node_reported",
                extra={"node": node.name, "status": report.status, "reason": report.reason},
            )
        return {"containerRuntimeVersion": node.runtime}


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _MAX_TOKEN_CHARACTERS:
        raise TokenRefused("the request has no bearer token")
    return token


def _body(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise BadInput("the body is not JSON") from exc
    if not isinstance(body, dict):
        raise BadInput("the body is no JSON object")
    return body


def _json(value: object, *, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(value).encode(), status=status, content_type="application/json"
    )


def _refusal(status: int, message: str, *, retry_after_s: float = 0.0) -> web.Response:
    response = _json({"message": message[:512]}, status=status)
    if retry_after_s:
        response.headers["Retry-After"] = str(math.ceil(retry_after_s))
    return response
