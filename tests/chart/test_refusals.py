"""What the chart refuses, each by the sentence that says what to do."""

from typing import Any

import pytest

from chart.rendering import METHODS, RRSA, Helm

ACR = METHODS["worker-role"]
KEY = METHODS["access-key"]


def _rrsa(**changes: Any) -> dict[str, Any]:
    return {**RRSA, "rrsa": {**RRSA["rrsa"], **changes}}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "There is no registry to accelerate: set acrInstances"),
        ({**ACR, "registryInstances": "cri-a"}, "two spellings of one thing"),
        ({"registryInstances": "cri-a"}, "set rrsa.enable to true, or write acrInstances"),
        ({**_rrsa(), "registryInstances": "", **ACR}, "given as registryInstances: rename"),
        ({"acrInstances": "my-instance"}, '"my-instance" is no instance ID: take the ID'),
        ({"acrInstances": "cri-a,docker.io"}, '"docker.io" is no instance ID'),
        ({**ACR, "accessKey": "id"}, "add --set-file accessKeySecret=FILE"),
        ({**ACR, "accessKeySecret": "s"}, "set accessKey to the ID"),
        ({**METHODS["none"], "accessKey": "a", "accessKeySecret": "b"}, "set acrInstances, or"),
        ({**RRSA, "accessKey": "a", "accessKeySecret": "b"}, "are two methods: leave accessKey"),
        (_rrsa(rrsaRoleARN=""), "RRSA needs rrsa.rrsaRoleARN"),
        (_rrsa(rrsaOIDCProviderRoleARN=""), "enable RRSA on the cluster first"),
        ({**RRSA, "registryInstances": "", **METHODS["none"]}, "RRSA needs registryInstances"),
        (_rrsa(expireDuration=3599), "is 3599: give 3600 to 43200 seconds"),
        (_rrsa(expireDuration=43201), "at most the MaxSessionDuration of the role"),
        ({**RRSA, "image": {"tag": "v0.3.5"}}, "version 0.3.6 or later, and this image has v0.3.5"),
        ({**RRSA, "image": {"tag": "x", "agentVersion": "0.2.9"}}, "this image has 0.2.9"),
        ({**ACR, "p2p": {"port": 65002}}, "p2p.port and p2p.v2.p2pPort are both 65002"),
        ({**ACR, "p2p": {"v2": {"exporter": {"port": 65001}}}}, "p2p.v2.exporter.port are both"),
        (
            {**ACR, "serviceMonitor": {"enable": True}, "p2p": {"v2": {"exporter": {"enable": 0}}}},
            "exporter/enable",
        ),
        (
            {
                **ACR,
                "serviceMonitor": {"enable": True},
                "p2p": {"v2": {"exporter": {"enable": False}}},
            },
            "nothing to scrape: set p2p.v2.exporter.enable",
        ),
        ({**ACR, "agentSettings": {"front": {"port": 1}}}, "agentSettings.front is set by other"),
        ({**ACR, "edgeNodePool": {"id": "a", "allNodes": True}}, "give the pool, or all nodes"),
        ({**ACR, "nodeAccess": {"realmHosts": ["a"]}}, "set that to a Secret's name, or leave"),
        (
            {**ACR, "nodeAccess": {"secret": "a"}, "runtime": {"type": "crio"}},
            "CRI-O sends its mirrors none: leave nodeAccess.secret out",
        ),
        # What a schema can say by itself: a type, a range, a name that is not there.
        ({**ACR, "p2p": {"port": 70000}}, "port"),
        ({**ACR, "p2p": {"port": "65001"}}, "port"),
        ({**ACR, "p2p": {"prot": 65001}}, "prot"),
        ({**ACR, "vpcId": "default"}, "vpcId"),
        ({**ACR, "runtime": {"type": "docker"}}, "type"),
        ({**ACR, "image": {"digest": "sha256:12"}}, "digest"),
        ({**ACR, "store": {"path": "/"}}, "path"),
        ({**ACR, "revokedCertificates": ["node-1"]}, "revokedCertificates"),
        ({**ACR, "webhook": {"timeoutSeconds": 31}}, "timeoutSeconds"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(
    helm: Helm, values: dict[str, Any], says: str
) -> None:
    assert says in helm.refusal(values)


def test_another_namespace_works_but_for_rrsa_which_names_the_trust_policys_subject(
    helm: Helm,
) -> None:
    for method in ("worker-role", "access-key", "none"):
        manifests = helm.render(METHODS[method], namespace="elsewhere")
        assert {m["metadata"].get("namespace", "elsewhere") for m in manifests} == {"elsewhere"}
    message = helm.refusal(RRSA, namespace="elsewhere")
    assert "Install with --namespace aliyun-acr-acceleration" in message
    for account in ("ack-acr-acceleration-p2p-sa", "ack-acr-acceleration-p2p-job-sa"):
        assert f"system:serviceaccount:aliyun-acr-acceleration:{account}" in message


def test_versions_of_kubernetes_before_1_26_3_are_refused(helm: Helm) -> None:
    assert helm.render(ACR, extra=["--kube-version", "1.26.3-aliyun.1"])
    done = helm.run("template p2p", str(helm.chart), "--kube-version", "1.26.2", values=ACR)
    assert done.returncode != 0
    assert ">=1.26.3-0" in done.stderr


def test_no_refusal_repeats_a_secret(helm: Helm) -> None:
    assert "SENTINEL" not in helm.refusal({**KEY, "p2p": {"port": 65002}})
    assert "SENTINEL" not in helm.refusal({**KEY, "rrsa": {"expireDuration": 1}})
    assert "SENTINEL" not in helm.refusal({**KEY, "p2p": {"port": "x"}})


def test_rrsa_takes_the_documented_agent_and_a_tag_that_is_no_version(helm: Helm) -> None:
    assert helm.render({**RRSA, "image": {"tag": "v0.3.6-aliyun"}})
    assert helm.render({**RRSA, "image": {"tag": "main"}})
