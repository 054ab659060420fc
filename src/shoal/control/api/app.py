"""The API at the root of the console: one route, RPC style.

Every answer has a request id. Refused calls go into the audit trail, with who said they were.
"""

import hashlib
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from shoal.control.api import accounts, components, ram, ram_policies, registry, sts
from shoal.control.api.actions import Action, Asked
from shoal.control.api.callers import authenticate
from shoal.control.api.faults import Fault, missing
from shoal.control.api.issuer_keys import IssuerKeys
from shoal.control.api.nonces import Nonces
from shoal.control.api.signatures import Call, same
from shoal.control.console import Console
from shoal.control.store import ids
from shoal.control.store.changes import Author

MAX_PARAMETERS = 100
_SERVED: Mapping[str, Mapping[str, Action]] = {
    registry.VERSION: {**registry.ACTIONS, **components.ACTIONS},
    sts.VERSION: sts.ACTIONS,
    ram.VERSION: {**ram.ACTIONS, **ram_policies.ACTIONS},
    accounts.VERSION: accounts.ACTIONS,
}
_UNSIGNED = "AssumeRoleWithOIDC"


def mount(root: web.Application, console: Console) -> None:
    """Add the API to the console's application."""
    api = Api(console)
    root.router.add_route("GET", "/", api.serve)
    root.router.add_route("POST", "/", api.serve)


class Api:
    """Takes calls, and answers them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._nonces = Nonces()
        self._issuer_keys = IssuerKeys()

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request."""
        if request.method == "GET" and not request.query and "x-acs-action" not in request.headers:
            return web.Response(status=303, headers={"Location": "/console/instances"})
        request_id = ids.request_id()
        action = "unknown"
        try:
            call = await _read(request)
            parameters = {**call.query, **call.form}
            action = call.headers.get("x-acs-action") or parameters.get("Action") or ""
            author = Author("unknown", request.remote or "", request_id)
            body = await self._answer(call, parameters, action, author)
        except Fault as fault:
            await self._console.denied(
                Author(_claimed_key(request), request.remote or "", request_id),
                action=action[:64],
                resource=request.query.get("InstanceId", "")[:64],
                reason=f"{fault.code}: {fault}",
            )
            return web.json_response(
                fault.body(request_id, request.host),
                status=fault.status,
                headers={"x-acs-request-id": request_id},
            )
        return web.json_response(
            {"RequestId": request_id, **body}, headers={"x-acs-request-id": request_id}
        )

    async def _answer(
        self, call: Call, parameters: Mapping[str, str], action: str, author: Author
    ) -> dict[str, object]:
        if not action:
            raise missing("Action")
        version = call.headers.get("x-acs-version") or parameters.get("Version") or ""
        if version not in _SERVED:
            raise Fault(404, "InvalidVersion", "Specified parameter Version is not valid.")
        console = self._console
        if version == sts.VERSION and action == _UNSIGNED:
            return await sts.assume_role_with_oidc(console, self._issuer_keys, parameters)
        if action not in _SERVED[version]:
            raise Fault(404, "InvalidAction.NotFound", "Specified api is not found.")
        caller = await authenticate(console, self._nonces, call, parameters)
        known = Author(caller.arn, author.source, author.request_id)
        return await _SERVED[version][action](Asked(console, caller, known, parameters))


async def _read(request: web.Request) -> Call:
    body = await request.read()
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        if headers.setdefault(name.lower(), value) != value:
            raise Fault(400, "InvalidHeader", f"The header {name} is there twice.")
        if not value.isprintable():  # bytes that are no text would fail in the signature
            raise Fault(400, "InvalidHeader", f"The header {name} holds what is not text.")
    digest = headers.get("x-acs-content-sha256")
    if digest is not None and not same(digest, hashlib.sha256(body).hexdigest()):
        raise Fault(400, "SignatureDoesNotMatch", "x-acs-content-sha256 is not the body's.")
    is_form = request.content_type == "application/x-www-form-urlencoded"
    form = _pairs(body.decode(errors="replace")) if is_form and body else {}
    query = _pairs(request.rel_url.raw_query_string)
    for name in sorted(query.keys() & form.keys()):
        raise Fault(400, "InvalidParameter", f"The parameter {name[:64]} is there twice.")
    return Call(request.method, request.rel_url.raw_path, query, headers, body, form)


def _pairs(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise Fault(400, "InvalidParameter", "There are too many parameters.") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        # What is there twice could be signed as the one and acted on as the other.
        if name in found:
            raise Fault(400, "InvalidParameter", f"The parameter {name[:64]} is there twice.")
        found[name] = value
    return found


def _claimed_key(request: web.Request) -> str:
    header = request.headers.get("Authorization", "")
    if "Credential=" in header:
        return header.split("Credential=", 1)[1].split(",", 1)[0][:64]
    return request.query.get("AccessKeyId", "anonymous")[:64]
