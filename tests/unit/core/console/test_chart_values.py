"""The Parameters panel: what stands in the way, and what it makes of a good choice."""

from dataclasses import replace

import pytest
import yaml

from shoal.core.console.chart_values import (
    Finding,
    InstanceFacts,
    Method,
    Parameters,
    Severity,
    Surroundings,
    findings,
    helm_command,
    values_yaml,
)
from shoal.core.console.models import (
    Cluster,
    Edition,
    Endpoint,
    EndpointKind,
    Instance,
    InstanceStatus,
    LinkStatus,
    NodePool,
    PoolKind,
    Role,
    VpcLink,
)

INSTANCE = Instance(
    "cri-1", "1", "team", "cn-hangzhou", Edition.STANDARD, InstanceStatus.RUNNING,
    "http://r", True, 1, 1, 1, 1,
)  # fmt: skip
ENDPOINT = Endpoint("cri-1", EndpointKind.VPC, True, True, ("r.example.com",), ())
LINK = VpcLink("cri-1", "vpc-1", "vsw-1", "10.0.0.5", LinkStatus.RUNNING, True)
FACTS = InstanceFacts(INSTANCE, [ENDPOINT], [LINK])
CLUSTER = Cluster(
    "c1", "1", "factory", "cn-hangzhou", "vpc-1", True, "1.26.3", True, "https://i", 1
)
POOL = NodePool("np1", "c1", "line-1", PoolKind.EDGE, True, True, 12)
ROLE = Role("3", "1", "edge", "", "{}", 3600, 1)
ARN, PROVIDER = "acs:ram::1:role/edge", "acs:ram::1:oidc-provider/x"
AROUND = Surroundings(CLUSTER, [POOL], [FACTS], {ARN: ROLE}, [PROVIDER], {"LTAI": "1"})
CHOSEN = Parameters(Method.WORKER_ROLE, "p2p", "shoal", "", "", "", 65001)
RRSA = replace(CHOSEN, method=Method.RRSA, role_arn=ARN, provider_arn=PROVIDER)


def _fields(found: tuple[Finding, ...], severity: Severity = Severity.ERROR) -> list[str]:
    return [finding.field for finding in found if finding.severity is severity]


def _with(**facts: object) -> Surroundings:
    return replace(AROUND, instances=[replace(FACTS, **facts)])  # type: ignore[arg-type] # a test's


def test_a_good_choice_has_nothing_in_its_way() -> None:
    key = replace(CHOSEN, method=Method.ACCESS_KEY, access_key="LTAI")
    for chosen in (CHOSEN, RRSA, key, replace(CHOSEN, pool_id="np1")):
        assert findings(chosen, AROUND) == ()


@pytest.mark.parametrize(
    ("around", "field", "told"),
    [
        (replace(AROUND, cluster=replace(CLUSTER, version="1.26.2")), "cluster", "1.26.3"),
        (replace(AROUND, instances=[]), "instances", "at least one"),
        (_with(instance=replace(INSTANCE, edition=Edition.BASIC)), "instances", "Standard or"),
        (_with(instance=replace(INSTANCE, p2p_enabled=False)), "instances", "is off"),
        (
            _with(instance=replace(INSTANCE, status=InstanceStatus.STOPPED)),
            "instances",
            "not RUNNING",
        ),
        (_with(instance=replace(INSTANCE, region="eu-central-1")), "region", "eu-central-1"),
        (_with(links=[]), "vpc_id", "not in the VPC ACL"),
        (_with(links=[replace(LINK, status=LinkStatus.CREATING)]), "vpc_id", "CREATING"),
        (_with(endpoints=[replace(ENDPOINT, enabled=False)]), "instances", "endpoint is off"),
    ],
)
def test_each_forgotten_step_is_an_error_at_its_field(
    around: Surroundings, field: str, told: str
) -> None:
    found = findings(CHOSEN, around)
    assert _fields(found) == [field]
    assert told in found[0].message


def test_a_cluster_that_is_not_at_the_edge_may_be_older_but_not_for_rrsa() -> None:
    cluster = replace(CLUSTER, edge=False, version="1.20.0")
    assert findings(CHOSEN, replace(AROUND, cluster=cluster)) == ()
    assert _fields(findings(RRSA, replace(AROUND, cluster=cluster))) == ["cluster"]


def test_other_regions_take_region_and_vpc() -> None:
    around = _with(
        instance=replace(INSTANCE, region="eu-central-1"), links=[replace(LINK, vpc_id="vpc-2")]
    )
    assert _fields(findings(CHOSEN, around)) == ["region", "vpc_id"]
    chosen = replace(CHOSEN, region="eu-central-1", vpc_id="vpc-2")
    assert findings(chosen, around) == ()


def test_a_pool_has_to_be_cloud_or_dedicated_and_connected() -> None:
    chosen = replace(CHOSEN, pool_id="np1")
    for pool in (replace(POOL, dedicated=False), replace(POOL, interconnected=False)):
        assert _fields(findings(chosen, replace(AROUND, pools=[pool]))) == ["pool_id"]
    cloud = replace(POOL, kind=PoolKind.CLOUD, dedicated=False)
    assert findings(chosen, replace(AROUND, pools=[cloud])) == ()
    assert _fields(findings(chosen, replace(AROUND, pools=[]))) == ["pool_id"]


def test_pools_whose_nodes_cannot_reach_each_other_are_a_warning() -> None:
    found = findings(CHOSEN, replace(AROUND, pools=[replace(POOL, interconnected=False)]))
    assert _fields(found) == []
    assert _fields(found, Severity.WARNING) == ["pool_id"]


def test_rrsa_takes_the_switch_a_role_and_a_provider() -> None:
    off = replace(AROUND, cluster=replace(CLUSTER, rrsa_enabled=False))
    assert _fields(findings(RRSA, off)) == ["cluster"]
    empty = replace(RRSA, role_arn="", provider_arn="")
    assert _fields(findings(empty, AROUND)) == ["role_arn", "provider_arn"]
    unknown = replace(AROUND, roles={}, provider_arns=[])
    assert _fields(findings(RRSA, unknown), Severity.WARNING) == ["role_arn", "provider_arn"]


def test_the_session_may_not_outlast_what_the_role_allows() -> None:
    chosen = replace(RRSA, assume_role_arn=ARN, expire_s=3601)
    assert _fields(findings(chosen, AROUND)) == ["expire_s"]
    assert findings(replace(chosen, expire_s=3600), AROUND) == ()


def test_an_access_key_is_named() -> None:
    assert _fields(findings(replace(CHOSEN, method=Method.ACCESS_KEY), AROUND)) == ["access_key"]


def test_values_are_yaml_with_the_charts_keys() -> None:
    rrsa = yaml.safe_load(
        values_yaml(RRSA, ["cri-1", "cri-2"], cluster=CLUSTER, console_url="https://console")
    )
    assert rrsa == {
        "registryInstances": "cri-1,cri-2",
        "rrsa": {
            "enable": True,
            "rrsaRoleARN": ARN,
            "rrsaOIDCProviderRoleARN": PROVIDER,
            "assumeRoleARN": "",
            "expireDuration": 3600,
        },
        "region": "cn-hangzhou",
        "vpcId": "vpc-1",
        "edgeNodePool": {"id": ""},
        "p2p": {"port": 65001},
        "cloud": {"endpoint": "https://console", "clusterId": "c1"},
    }
    key = replace(CHOSEN, method=Method.ACCESS_KEY, access_key="LTAI")
    values = values_yaml(key, ["cri-1"], cluster=CLUSTER, console_url="https://console")
    assert yaml.safe_load(values)["accessKey"] == "LTAI"


def test_a_secret_comes_from_a_file() -> None:
    key = replace(CHOSEN, method=Method.ACCESS_KEY, access_key="LTAI")
    assert "--set-file accessKeySecret" in helm_command(key)
    assert "secret" not in helm_command(CHOSEN).lower()
