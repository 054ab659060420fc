"""The set-up Job against an API server over HTTPS, in good and bad days."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shoal.adapters.certificates.authority import Authority
from shoal.cli.setup_cluster import check_agent_settings
from shoal.core.errors import SettingsError
from shoal.setup.cluster.installation import Installation, Rrsa
from shoal.setup.cluster.job import run_job
from shoal.setup.cluster.lookup import ByHand, Registries
from shoal.setup.cluster.steps import StepFailed
from shoal.testing.kube.accounts import Identity
from shoal.testing.kube.faults import Cut, Refuse, Slow
from unit.setup.cluster.world import AGENT_MAP, AUTHORITY, NAME, NAMESPACE, World, world


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster."""
    async with world(tmp_path) as running:
        yield running


async def run(here: World, installation: Installation | None = None) -> None:
    await run_job(installation or here.installation, here.tools())


async def failure(here: World, installation: Installation | None = None) -> str:
    with pytest.raises(StepFailed) as caught:
        await run(here, installation)
    text = str(caught.value)
    assert "\n" not in text
    return text


async def test_it_makes_what_the_agents_wait_for(here: World) -> None:
    here.check_settings = check_agent_settings
    await run(here)
    data = here.get(AGENT_MAP)["data"]
    settings = yaml.safe_load(data["agent.yaml"])
    assert settings["registries"] == [{"name": "registry.example.com"}]
    assert settings["membership"] == {
        "kubernetes": {
            "namespace": NAMESPACE,
            "service": f"{NAME}-peers",
            "sites_config_map": f"{NAME}-agent",
        },
        "sites_file": "/etc/shoal/agent/nodes.yaml",
    }
    assert yaml.safe_load(data["nodes.yaml"]) == {"*": "default"}
    secret = here.get(AUTHORITY)["data"]
    authority = Authority.read(
        base64.b64decode(secret["tls.crt"]),
        base64.b64decode(secret["tls.key"]),
        name="a",
        key_name="a",
    )
    assert data["ca.crt"].encode() == authority.certificate.pem
    assert here.get(AUTHORITY)["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "shoal"


async def test_it_may_run_again_and_then_changes_nothing(here: World) -> None:
    await run(here)
    version = here.server.objects.version
    await run(here)
    assert here.server.objects.version == version
    assert any("as it should be" in line for line in here.said)


@pytest.mark.parametrize(
    ("fault", "verb"),
    [
        (Refuse(503), "get"),
        (Refuse(500), "list"),
        (Refuse(503), "create"),
        (Refuse(429, retry_after_s=1), None),
        (Cut(), None),
        (Slow(0.1), None),
    ],
)
async def test_faults_of_the_server_delay_and_break_nothing(
    here: World, fault: Any, verb: Any
) -> None:
    here.server.faults.add(fault, verb=verb)
    await run(here)
    assert here.get(AGENT_MAP)["data"]["nodes.yaml"]


async def test_a_page_of_nodes_that_is_too_old_is_listed_anew(here: World) -> None:
    here.server.faults.add(Refuse(410), verb="list")
    await run(here)


async def test_a_create_that_was_done_unseen_is_found_at_the_next_try(here: World) -> None:
    """As when the connection is cut after the server has written."""
    first = Authority.make("shoal-first")
    await run(here)
    before = here.get(AUTHORITY)
    assert before["data"]["tls.crt"] != base64.b64encode(first.certificate.pem).decode()
    here.server.delete(AGENT_MAP)
    await run(here)
    assert here.get(AUTHORITY) == before


async def test_a_version_that_is_too_old_is_named(here: World) -> None:
    here.server.version = "v1.26.2-aliyun.1"
    text = await failure(here)
    assert "Prerequisite Kubernetes version" in text
    assert "v1.26.2-aliyun.1" in text
    assert "1.26.3" in text


async def test_missing_permissions_are_listed_before_anything_is_made(here: World) -> None:
    here.server.identities["first"] = Identity("system:serviceaccount:x:y")
    here.server.tokens = set()
    text = await failure(here)
    assert "Prerequisite permissions" in text
    assert "create secrets" in text
    assert "patch nodes/status" in text
    assert not [seen for seen in here.server.requests if seen.verb in ("patch", "update")]


async def test_a_pool_that_cannot_share_is_refused_by_its_reason(here: World) -> None:
    text = await failure(here, here.installed(node_pool="np1", all_nodes=False))
    assert text.startswith("Node pools: there is no node pool with the ID 'np1'")


async def test_pools_are_read_as_ack_and_openyurt_write_them(here: World) -> None:
    for name, pool in (("c", "connected"), ("d", "separate"), ("e", "yurt")):
        here.put_node(name, pool=pool, edge="true")
    mode = "alibabacloud.com/interconnection-mode"
    connected = {mode: "private", "alibabacloud.com/pool-nodes-connected": "true"}
    pools: dict[str, dict[str, Any]] = {
        "connected": {"metadata": {"annotations": connected}, "spec": {"type": "Edge"}},
        "separate": {"metadata": {"annotations": {mode: "private"}}, "spec": {"type": "Edge"}},
        "yurt": {"spec": {"type": "Edge", "interConnectivity": True}},
    }
    for name, thing in pools.items():
        here.server.put(f"/apis/apps.openyurt.io/v1beta2/nodepools/{name}", thing)
    await run(here, here.installed(all_nodes=False))
    by_node = yaml.safe_load(here.get(AGENT_MAP)["data"]["nodes.yaml"])
    assert by_node == {"c": "connected", "e": "yurt"}
    assert any("separate (1 node)" in line and "site of its own" in line for line in here.said)


async def test_settings_that_no_agent_takes_are_refused_by_their_key(here: World) -> None:
    here.check_settings = check_agent_settings
    text = await failure(here, here.installed(agent={"registries": [{"name": "a b"}]}))
    assert text.startswith(f"ConfigMap {NAME}-agent: registries[0].name")
    text = await failure(here, here.installed(agent={"registries": [{"name": "a"}], "frnt": {}}))
    assert "did you mean front" in text


async def test_no_registry_at_all_is_refused(here: World) -> None:
    assert "no registry was found" in await failure(here, here.installed(agent={}))


class Looked(ByHand):
    """A look-up that answers as told."""

    def __init__(self, found: Registries | Exception) -> None:
        """Answer with `found`."""
        self.found = found

    async def look_up(self) -> Registries:
        """Answer."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    async def may_share(self) -> bool:
        """Answer."""
        return (await self.look_up()).may_share


async def test_what_was_looked_up_is_served_beside_what_is_given_by_hand(here: World) -> None:
    vpc = "test-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
    here.lookup = Looked(Registries(names=(vpc, "registry.example.com"), remarks=("a remark",)))
    await run(here)
    settings = yaml.safe_load(here.get(AGENT_MAP)["data"]["agent.yaml"])
    assert [one["name"] for one in settings["registries"]] == ["registry.example.com", vpc]
    assert "registries: a remark" in here.said


async def test_a_look_up_that_fails_names_the_step(here: World) -> None:
    here.lookup = Looked(SettingsError("the key is unknown"))
    assert await failure(here) == "Registry look-up: the key is unknown"
    here.lookup = Looked(Registries(refusal="the switch is off: turn it on"))
    assert await failure(here) == "Registry look-up: the switch is off: turn it on"


async def test_a_switch_that_is_off_means_that_every_node_is_alone(here: World) -> None:
    here.lookup = Looked(Registries(may_share=False))
    await run(here)
    assert yaml.safe_load(here.get(AGENT_MAP)["data"]["nodes.yaml"]) == {}


def token(**claims: object) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


SUBJECT = f"system:serviceaccount:{NAMESPACE}:{NAME}-job-sa"
ISSUER = "https://oidc-ack-c1.oss-cn-hangzhou.aliyuncs.com/c1"


def with_rrsa(here: World, folder: Path, **claims: object) -> Installation:
    here.rrsa_token = folder / "rrsa"
    told = {"iss": ISSUER, "aud": ["sts.aliyuncs.com"], "sub": SUBJECT, **claims}
    here.rrsa_token.write_text(token(**told))
    rrsa = Rrsa(role_arn="acs:ram::1:role/a", oidc_provider_arn="acs:ram::1:oidc-provider/b")
    return here.installed(method="rrsa", rrsa=rrsa)


async def test_rrsa_with_its_token_is_fine(here: World, tmp_path: Path) -> None:
    await run(here, with_rrsa(here, tmp_path))
    annotations = here.get(AGENT_MAP)["metadata"]["annotations"]
    assert annotations == {"shoal.io/token-issuer": ISSUER}


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [
        ({"iss": "https://kubernetes.default.svc"}, "RRSA is not enabled on this cluster"),
        ({"aud": "https://kubernetes.default.svc"}, "the trust policy wants"),
        ({"sub": "system:serviceaccount:a:b"}, "the trust policy wants"),
    ],
)
async def test_a_token_that_the_cloud_would_refuse_is_refused_first(
    here: World, tmp_path: Path, claims: dict[str, object], sentence: str
) -> None:
    text = await failure(here, with_rrsa(here, tmp_path, **claims))
    assert text.startswith("Prerequisite RRSA: ")
    assert sentence in text


async def test_rrsa_in_another_namespace_names_the_subject(here: World, tmp_path: Path) -> None:
    installation = with_rrsa(here, tmp_path)
    here.installed(namespace="other")
    text = await failure(here)
    assert SUBJECT in text
    assert installation.namespace == NAMESPACE


async def test_rrsa_without_its_token_says_to_install_again(here: World, tmp_path: Path) -> None:
    installation = with_rrsa(here, tmp_path)
    here.rrsa_token.write_text("no token")
    assert "holds what is no token" in await failure(here, installation)
    here.rrsa_token.unlink()
    assert "install it again" in await failure(here, installation)


async def test_rrsa_that_was_enabled_after_the_install_says_to_reinstall(
    here: World, tmp_path: Path
) -> None:
    account = here.access.account_dir / "token"
    internal = token(iss="https://kubernetes.default.svc", sub="x")
    here.server.tokens = {internal}
    account.write_text(internal)
    await run(here)  # installed before
    text = await failure(here, with_rrsa(here, tmp_path))
    assert "RRSA was enabled on the cluster after this was installed" in text
    assert "uninstall this release and install it again" in text


async def test_with_a_webhook_its_certificate_is_made_and_trusted(here: World) -> None:
    hooks = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
    service = {"service": {"name": f"{NAME}-webhook", "namespace": NAMESPACE}}
    two = [{"name": name, "clientConfig": dict(service)} for name in "ab"]
    here.server.put(hooks, {"webhooks": two})
    await run(here, here.installed(webhook=True))
    secret = here.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-webhook-tls")
    assert set(secret["data"]) == {"tls.crt", "tls.key", "ca.crt"}
    bundles = [hook["clientConfig"]["caBundle"] for hook in here.get(hooks)["webhooks"]]
    assert bundles == [secret["data"]["ca.crt"]] * 2
    settings = yaml.safe_load(here.get(AGENT_MAP)["data"]["agent.yaml"])
    assert settings["registries"][0]["aliases"] == ["registry.distributed.example.com:65001"]
    version = here.server.objects.version
    await run(here)
    assert here.server.objects.version == version
