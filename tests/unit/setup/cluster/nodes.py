"""Nodes that ask the controller: their pods' tokens, and requests as they make them."""

import ssl
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shoal.adapters.certificates.keys import make_key
from shoal.adapters.certificates.requests import make_request
from shoal.testing.kube.accounts import Identity, service_account
from unit.setup.cluster.world import AGENT_MAP, NAME, NAMESPACE, World

_CLAIM = "authentication.kubernetes.io/"


def give_token(here: World, token: str, *, node: str, says_node: bool = True) -> None:
    """Let the API server know `token` as that of the agent's pod on `node`."""
    pod = f"agent-{node}"
    here.server.put(
        f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}", {"kind": "Pod", "spec": {"nodeName": node}}
    )
    uid = here.get(f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}")["metadata"]["uid"]
    extra = {f"{_CLAIM}pod-name": [pod], f"{_CLAIM}pod-uid": [uid]}
    if says_node:
        extra[f"{_CLAIM}node-name"] = [node]
    here.server.identities[token] = Identity(
        service_account(NAMESPACE, f"{NAME}-sa"), audiences=("shoal-controller",), extra=extra
    )


def request_for(
    here: World, node: str, *addresses: str, key: Ed25519PrivateKey | None = None
) -> dict[str, str]:
    """Return the body of a request for a certificate, as a node makes it."""
    from shoal.adapters.certificates.certificate import read_certificates

    ca = here.get(AGENT_MAP)["data"]["ca.crt"].encode()
    organization = read_certificates(ca, name="a")[0].x509.subject.rfc4514_string()
    cluster = organization.rpartition("O=")[2]
    made = make_request(key or make_key(), cluster=cluster, node=node, addresses=addresses)
    return {"csr": made.decode()}


async def ask(
    here: World, port: int, path: str, body: Any, *, token: str | None
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Ask the controller at `port` as a node does; return status, answer and headers."""
    ca = here.get(AGENT_MAP)["data"]["ca.crt"]
    trust = ssl.create_default_context(cadata=ca)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
        session.post(
            f"https://127.0.0.1:{port}{path}",
            data=body if isinstance(body, bytes) else None,
            json=None if isinstance(body, bytes) else body,
            headers=headers,
            server_hostname=f"{NAME}-controller.{NAMESPACE}.svc",
        ) as response,
    ):
        is_json = response.content_type == "application/json"
        answer = await response.json() if is_json else {}
        return response.status, answer, dict(response.headers)
