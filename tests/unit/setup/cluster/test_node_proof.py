"""Which node a token proves."""

from pathlib import Path

import pytest

from shoal.adapters.kube.api import KubeError, connected
from shoal.setup.cluster.node_proof import NodeRefused, TokenRefused, prove
from shoal.testing.kube.accounts import Identity, service_account
from shoal.testing.kube.faults import Refuse
from unit.setup.cluster.nodes import give_token
from unit.setup.cluster.world import NAME, NAMESPACE, world

POD = f"/api/v1/namespaces/{NAMESPACE}/pods/agent-a"
AUDIENCES = ("shoal-controller",)
AGENT = service_account(NAMESPACE, f"{NAME}-sa")


@pytest.mark.parametrize("says_node", [True, False])
async def test_a_pod_s_token_proves_its_node(tmp_path: Path, says_node: bool) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        give_token(here, "t", node="a", says_node=says_node)
        node = await prove(kube, "t", namespace=NAMESPACE)
        assert (node.name, node.addresses) == ("a", ("192.0.2.1",))
        assert node.runtime == "containerd://1.7.28"


@pytest.mark.parametrize(
    "identity",
    [
        Identity(AGENT),  # its API token
        Identity(AGENT, audiences=("vault",)),
    ],
)
async def test_a_token_for_another_audience_proves_nothing(
    tmp_path: Path, identity: Identity
) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.identities["t"] = identity
        for token in ("t", "unknown"):
            with pytest.raises(TokenRefused):
                await prove(kube, token, namespace=NAMESPACE)


async def test_another_account_gets_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        for user in (
            service_account(NAMESPACE, "default"),
            service_account("other", f"{NAME}-sa"),
            "system:node:a",
        ):
            here.server.identities["t"] = Identity(user, audiences=AUDIENCES)
            with pytest.raises(NodeRefused, match="the token is of"):
                await prove(kube, "t", namespace=NAMESPACE)


async def test_a_token_that_is_bound_to_no_pod_gets_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.identities["t"] = Identity(AGENT, audiences=AUDIENCES)
        with pytest.raises(NodeRefused, match="bound to no pod"):
            await prove(kube, "t", namespace=NAMESPACE)


async def test_a_pod_that_is_gone_or_another_of_its_name_gets_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        give_token(here, "t", node="a", says_node=False)
        here.server.delete(POD)
        with pytest.raises(NodeRefused, match="gone"):
            await prove(kube, "t", namespace=NAMESPACE)
        here.server.put(POD, {"spec": {"nodeName": "a"}})  # with another uid
        with pytest.raises(NodeRefused, match="gone"):
            await prove(kube, "t", namespace=NAMESPACE)


@pytest.mark.parametrize("node", ["../secrets", "", "nowhere"])
async def test_a_node_that_is_none_gets_nothing(tmp_path: Path, node: str) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.identities["t"] = Identity(
            AGENT,
            audiences=AUDIENCES,
            extra={
                "authentication.kubernetes.io/node-name": [node],
                "authentication.kubernetes.io/pod-name": ["p"],
                "authentication.kubernetes.io/pod-uid": ["u"],
            },
        )
        with pytest.raises(NodeRefused):
            await prove(kube, "t", namespace=NAMESPACE)


async def test_an_earlier_node_of_the_name_gets_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        claim = "authentication.kubernetes.io/"
        extra = {f"{claim}node-name": ["a"], f"{claim}node-uid": ["an-earlier-one"]}
        here.server.identities["t"] = Identity(AGENT, audiences=AUDIENCES, extra=extra)
        with pytest.raises(NodeRefused, match="an earlier node"):
            await prove(kube, "t", namespace=NAMESPACE)


async def test_an_api_server_that_does_not_answer_is_no_refusal(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        give_token(here, "t", node="a")
        here.server.faults.add(Refuse(503))
        with pytest.raises(KubeError):
            await prove(kube, "t", namespace=NAMESPACE)
