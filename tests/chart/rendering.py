"""Runs helm over the chart and reads what comes out."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "charts" / "ack-acr-acceleration-p2p"
NAME = "ack-acr-acceleration-p2p"
NAMESPACE = "aliyun-acr-acceleration"
_TIMEOUT_S = 60

Manifest = dict[str, Any]
Values = Mapping[str, Any]

RRSA: Values = {
    "registryInstances": "cri-abc",
    "rrsa": {
        "enable": True,
        "rrsaRoleARN": "acs:ram::1:role/a",
        "rrsaOIDCProviderRoleARN": "acs:ram::1:oidc-provider/ack-rrsa-c",
    },
}
METHODS: Mapping[str, Values] = {
    "worker-role": {"acrInstances": "cri-abc,cri-def"},
    "access-key": {
        "acrInstances": "cri-abc",
        "accessKey": "SENTINEL-ID",
        "accessKeySecret": "SENTINEL-SECRET\n",
    },
    "rrsa": RRSA,
    "none": {"registries": [{"name": "registry.example.com"}]},
}
EVERYTHING: Values = {
    "webhook": {"enable": True},
    "networkPolicy": {"enable": True},
    "serviceMonitor": {"enable": True, "labels": {"release": "prometheus"}},
    "dashboard": {"enable": True},
    "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["mine"]},
    "edgeNodePool": {"id": "np1"},
    "runtime": {"restart": True, "contentDir": "/var/lib/containerd/content"},
    "nodeAccess": {"secret": "pull", "realmHosts": ["auth.example.com"]},
    "revokedCertificates": ["1f"],
    "nodeSelector": {"a": "b"},
    "controller": {"nodeSelector": {"c": "d"}},
    "cloud": {
        "endpoint": "https://console.example.com",
        "clusterId": "c1",
        "metadata": "http://192.0.2.1",
        "caConfigMap": "console-ca",
    },
}


@dataclass(frozen=True, slots=True)
class Helm:
    """The real helm on our chart."""

    program: Path
    home: Path
    chart: Path = field(default=CHART)

    def run(
        self, command: str, *arguments: str, values: Values
    ) -> subprocess.CompletedProcess[str]:
        """Run helm with values on standard input, where no file name depends on the test."""
        return subprocess.run(
            [self.program, *command.split(), *arguments, "--values", "-"],
            input=yaml.safe_dump(dict(values)),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
        )

    def render(
        self, values: Values, *, namespace: str = NAMESPACE, extra: Sequence[str] = ()
    ) -> list[Manifest]:
        """Return the objects that an installation would make."""
        done = self.run(
            "template p2p", str(self.chart), "--namespace", namespace, *extra, values=values
        )
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def refusal(self, values: Values, *, namespace: str = NAMESPACE) -> str:
        """Return what helm says to values that it must not take."""
        done = self.run("template p2p", str(self.chart), "--namespace", namespace, values=values)
        assert done.returncode != 0, "helm took it"
        return " ".join(done.stderr.split())


def one(manifests: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """Return the object of a kind and name."""
    (found,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def pod_specs(manifests: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return every pod's specification, by kind and name of what makes it."""
    found: dict[str, Manifest] = {}
    for manifest in manifests:
        spec = manifest.get("spec") or {}
        if manifest["kind"] != "Pod":
            spec = (spec.get("template") or {}).get("spec") if "template" in spec else None
        if spec:
            found[f"{manifest['kind']} {manifest['metadata']['name']}"] = spec
    return found


def farewell(manifests: Sequence[Manifest]) -> list[Manifest]:
    """Return what the uninstaller makes on nodes."""
    text = one(manifests, "ConfigMap", f"{NAME}-setup")["data"]["farewell.yaml"]
    return list(yaml.safe_load_all(text))
