"""What the chart tells, read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from shoal.core.errors import SettingsError
from shoal.setup.cluster.installation import read_installation

TOLD: dict[str, Any] = {
    "version": 1,
    "chart": {"name": "c", "version": "0.4.0", "release": "p2p", "revision": 3},
    "method": "rrsa",
    "instances": ["cri-a", "cri-b"],
    "region": "cn-hangzhou",
    "vpcId": "vpc-1",
    "rrsa": {
        "roleARN": "acs:ram::1:role/a",
        "oidcProviderARN": "acs:ram::1:oidc-provider/b",
        "assumeRoleARN": "",
        "expireDuration": 3600,
    },
    "nodePool": "np1",
    "allNodes": False,
    "webhook": True,
    "ports": {"front": 65001, "peer": 65002, "exporter": 65003},
    "nodeAccess": {"enable": True, "realmHosts": ["auth.example.com"]},
    "revokedCertificates": ["1F", "0a", "1f"],
    "agent": {"registries": []},
}
HERE = {"SHOAL_SETUP_NAMESPACE": "aliyun-acr-acceleration"}


def test_the_chart_s_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "setup.yaml").write_text(yaml.safe_dump(TOLD))
    told = HERE | {"SHOAL_SETUP_CONFIG": str(tmp_path / "setup.yaml")}
    installation = read_installation(environment=told)
    assert installation.namespace == "aliyun-acr-acceleration"
    assert installation.instances == ("cri-a", "cri-b")
    assert (installation.method, installation.rrsa.expire_s) == ("rrsa", 3600)
    assert (installation.webhook, installation.revision) == (True, 3)
    assert (installation.node_access, installation.realm_hosts) == (True, ("auth.example.com",))
    assert installation.revoked == (10, 31)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "do not belong together"),
        ({"method": "magic"}, "magic"),
        ({"rrsa": None}, "lacks what this image expects"),
        ({"ports": {}}, "front"),
        ({"revokedCertificates": ["no"]}, "lacks what this image expects"),
    ],
)
def test_another_chart_s_file_is_refused(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "setup.yaml").write_text(yaml.safe_dump({**TOLD, **change}))
    with pytest.raises(SettingsError, match=sentence):
        read_installation(tmp_path / "setup.yaml", environment=HERE)


def test_what_is_no_file_and_no_pod_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read_installation(tmp_path / "none", environment=HERE)
    (tmp_path / "a").write_text("{")
    with pytest.raises(SettingsError, match="no YAML"):
        read_installation(tmp_path / "a", environment=HERE)
    with pytest.raises(SettingsError, match="SHOAL_SETUP_NAMESPACE"):
        read_installation(tmp_path / "a", environment={})
