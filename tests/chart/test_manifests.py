"""What the chart renders: valid for every release of Kubernetes, and as careful as we say."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import referencing
import typer
import yaml
from jsonschema import Draft7Validator

from chart.rendering import (
    CHART,
    EVERYTHING,
    METHODS,
    NAME,
    NAMESPACE,
    RRSA,
    Helm,
    Manifest,
    farewell,
    one,
    pod_specs,
)
from shoal.agent.settings import AgentSettings
from shoal.agent.settings_keys import all_keys
from shoal.cli.setup import setup_app
from shoal.setup.node.told import runtime_place
from shoal.testing.chart_tools import ChartTools, KubernetesSchemas

Rendered = Mapping[str, list[Manifest]]
# Not Kubernetes' own: the Prometheus operator defines it.
FOREIGN = {"ServiceMonitor"}
SHAPES = {"none", "access-key, everything", "rrsa, everything"}


def _containers(spec: Manifest) -> Iterator[Manifest]:
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def _registry(schemas: KubernetesSchemas, release: str) -> referencing.Registry[Any]:
    definitions = referencing.Resource.from_contents(
        {"$schema": "http://json-schema.org/draft-07/schema#", **schemas.definitions(release)}
    )
    registry: referencing.Registry[Any] = referencing.Registry().with_resource(
        "/api/_definitions.json", definitions
    )
    return registry


@pytest.mark.parametrize("minor", range(26, 38))
def test_every_object_fits_the_schema_of_every_release_from_1_26(
    minor: int, rendered: Rendered, schemas: KubernetesSchemas
) -> None:
    release = f"1.{minor}"
    registry = _registry(schemas, release)
    # Most objects are the same for every method: each is looked at once. With every option there
    # is all that a method has without, and the worker's role adds nothing to any object.
    distinct = {
        json.dumps(manifest, sort_keys=True): manifest
        for name, manifests in rendered.items()
        for manifest in [*manifests, *farewell(manifests)]
        if manifest["kind"] not in FOREIGN and name in SHAPES
    }
    for manifest in distinct.values():
        validator = Draft7Validator(dict(schemas.schema(release, manifest)), registry=registry)
        problems = [
            f"{manifest['kind']} {manifest['metadata']['name']} {error.json_path}: {error.message}"
            for error in validator.iter_errors(manifest)
        ]
        assert problems == []


def test_no_release_that_there_are_schemas_for_is_left_out(schemas: KubernetesSchemas) -> None:
    assert schemas.releases[-1] == "1.37"


def test_a_wrong_field_would_be_seen(schemas: KubernetesSchemas, rendered: Rendered) -> None:
    daemonset = json.loads(json.dumps(one(rendered["worker-role"], "DaemonSet", NAME)))
    daemonset["spec"]["template"]["spec"]["hostNetworking"] = True
    registry = _registry(schemas, "1.26")
    validator = Draft7Validator(dict(schemas.schema("1.26", daemonset)), registry=registry)
    assert not validator.is_valid(daemonset)


def test_helm_lint_has_nothing_to_say(helm: Helm) -> None:
    for values in METHODS.values():
        done = helm.run("lint --strict", str(CHART), "-n", NAMESPACE, values=values)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("option", [*EVERYTHING])
def test_every_option_renders_by_itself(helm: Helm, option: str) -> None:
    assert helm.render({**METHODS["worker-role"], option: EVERYTHING[option]})


def test_a_secret_is_in_secret_objects_alone(rendered: Rendered) -> None:
    for name in ("access-key", "access-key, everything"):
        for manifest in rendered[name]:
            text = yaml.safe_dump(manifest)
            hidden = base64.b64encode(b"SENTINEL-SECRET").decode()
            assert "SENTINEL" not in text
            assert (hidden in text) == (manifest["kind"] == "Secret")
        secret = one(rendered[name], "Secret", f"{NAME}-access-key")
        # The newline at a file's end is no part of it.
        assert base64.b64decode(secret["data"]["accessKeySecret"]) == b"SENTINEL-SECRET"


def test_without_an_access_key_there_is_no_secret(rendered: Rendered) -> None:
    kinds = {m["kind"] for name, all_ in rendered.items() if "access" not in name for m in all_}
    assert "Secret" not in kinds


def test_only_the_set_up_job_and_the_controller_see_the_access_key(rendered: Rendered) -> None:
    who = {
        name
        for name, spec in pod_specs(rendered["access-key, everything"]).items()
        if f"{NAME}-access-key" in json.dumps(spec)
    }
    assert who == {f"Job {NAME}-setup-1", f"Deployment {NAME}-controller"}


def test_with_rrsa_they_have_a_token_for_the_cloud_and_no_key(rendered: Rendered) -> None:
    specs = pod_specs(rendered["rrsa"])
    for name, spec in specs.items():
        cloud = name in {f"Job {NAME}-setup-1", f"Deployment {NAME}-controller"}
        assert ("sts.aliyuncs.com" in json.dumps(spec)) == cloud
    environment = {
        e["name"]: e.get("value") for e in specs[f"Job {NAME}-setup-1"]["containers"][0]["env"]
    }
    assert environment["ALIBABA_CLOUD_ROLE_ARN"] == RRSA["rrsa"]["rrsaRoleARN"]
    assert environment["ALIBABA_CLOUD_OIDC_TOKEN_FILE"].startswith(
        "/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/"
    )


def test_the_accounts_are_those_of_the_documented_trust_policy(rendered: Rendered) -> None:
    specs = pod_specs(rendered["rrsa"])
    assert specs[f"DaemonSet {NAME}"]["serviceAccountName"] == "ack-acr-acceleration-p2p-sa"
    for name in (f"Job {NAME}-setup-1", f"Deployment {NAME}-controller"):
        assert specs[name]["serviceAccountName"] == "ack-acr-acceleration-p2p-job-sa"


def test_every_container_is_confined(rendered: Rendered) -> None:
    for name, manifests in rendered.items():
        specs = [*pod_specs(manifests).values(), *pod_specs(farewell(manifests)).values()]
        for container in (c for spec in specs for c in _containers(spec)):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert {"requests", "limits"} <= container["resources"].keys()
            if context.get("privileged"):
                assert (container["name"], "everything" in name) == ("installer", True)
                continue
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"]["drop"] == ["ALL"]
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}
            is_root = container["name"] in {"prepare", "installer", "farewell"}
            assert context["runAsUser"] == (0 if is_root else 65532)
            assert ("add" in context["capabilities"]) == is_root


def test_only_the_installer_and_the_farewell_write_the_runtimes_folder(rendered: Rendered) -> None:
    for manifests in rendered.values():
        for spec in [*pod_specs(manifests).values(), *pod_specs(farewell(manifests)).values()]:
            writers = {
                container["name"]
                for container in _containers(spec)
                for mount in container["volumeMounts"]
                if mount["name"] == "runtime" and not mount.get("readOnly")
            }
            assert writers <= {"installer", "farewell"}


def test_every_mount_has_its_volume_and_every_volume_its_mount(rendered: Rendered) -> None:
    for manifests in rendered.values():
        for spec in [*pod_specs(manifests).values(), *pod_specs(farewell(manifests)).values()]:
            mounted = {m["name"] for c in _containers(spec) for m in c["volumeMounts"]}
            assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_no_pod_gets_an_api_token_that_it_does_not_mount(rendered: Rendered) -> None:
    for manifests in rendered.values():
        for spec in [*pod_specs(manifests).values(), *pod_specs(farewell(manifests)).values()]:
            assert spec["automountServiceAccountToken"] is False
            for container in _containers(spec):
                has_token = any(mount["name"] == "api" for mount in container["volumeMounts"])
                assert has_token == (container["name"] not in {"prepare", "installer", "test"})


def test_no_rule_is_for_everything_and_agents_have_no_right_in_the_cluster(
    rendered: Rendered,
) -> None:
    for manifests in rendered.values():
        for role in (m for m in manifests if m["kind"] in {"Role", "ClusterRole"}):
            for rule in role["rules"]:
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
                if {"secrets"} & set(rule["resources"]) and role["kind"] == "Role":
                    assert "resourceNames" in rule or rule["verbs"] == ["create"]
        bound = {m["metadata"]["name"] for m in manifests if m["kind"] == "ClusterRoleBinding"}
        assert f"{NAME}-sa" not in bound


def test_the_farewells_pods_get_no_right_that_the_uninstaller_lacks(rendered: Rendered) -> None:
    # Kubernetes refuses a Role that says more than its maker may do.
    manifests = rendered["worker-role"]
    own = one(manifests, "Role", f"{NAME}-uninstall-sa")["rules"]
    for rule in one(farewell(manifests), "Role", f"{NAME}-farewell")["rules"]:
        assert any(
            set(rule["resources"]) <= set(mine["resources"])
            and set(rule["verbs"]) <= set(mine["verbs"])
            and (
                "resourceNames" not in mine
                or set(rule["resourceNames"]) <= set(mine["resourceNames"])
            )
            for mine in own
        )


def test_nodes_are_updated_one_at_a_time_and_drain_first(rendered: Rendered) -> None:
    daemonset = one(rendered["worker-role"], "DaemonSet", NAME)
    assert daemonset["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}
    spec = daemonset["spec"]["template"]["spec"]
    agent = spec["containers"][0]
    assert agent["lifecycle"]["preStop"]
    settings = yaml.safe_load(_setup(rendered["worker-role"]))["agent"]
    assert settings["drain_timeout_s"] < spec["terminationGracePeriodSeconds"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert agent[probe]["httpGet"]["host"] == "127.0.0.1"
        assert agent[probe]["httpGet"]["port"] == 65001


def _setup(manifests: list[Manifest]) -> str:
    return str(one(manifests, "ConfigMap", f"{NAME}-setup")["data"]["setup.yaml"])


def test_the_agents_settings_are_ones_that_the_agent_takes(helm: Helm) -> None:
    values = {
        "registries": [{"name": "registry.example.com", "plain_http": True}],
        "agentSettings": {"log": {"level": "debug"}, "swarm": {"linger_s": 5}},
        "p2p": {"port": 1, "v2": {"p2pPort": 2, "throttleLimitMB": 64, "exporter": {"port": 3}}},
        "runtime": {"contentDir": "/var/lib/containerd/content"},
        "store": {"path": "/data/shoal"},
    }
    setup = yaml.safe_load(_setup(helm.render(values)))
    settings = AgentSettings.model_validate(setup["agent"])
    assert (settings.front.port, settings.peer.port, settings.exporter.port) == (1, 2, 3)
    assert settings.limits.upload_bytes_per_s == 64_000_000
    assert settings.store.quota_bytes == 20 * 1024**3
    assert settings.swarm.max_transfers == 128
    assert settings.swarm.linger_s == 5
    assert settings.registries[0].plain_http
    assert settings.log.level == "debug"
    assert str(settings.store.path) == "/data/shoal"
    assert setup["method"] == "none"


def test_the_agents_variables_are_settings_and_the_others_what_the_commands_read(
    rendered: Rendered,
) -> None:
    manifests = rendered["rrsa, everything"]
    spec = pod_specs(manifests)[f"DaemonSet {NAME}"]
    known = {key.variable for key in all_keys().values()}
    for container in (c for spec in pod_specs(manifests).values() for c in _containers(spec)):
        given = {it["name"] for it in container["env"] if it["name"].startswith("SHOAL_")}
        if container["name"] == "agent":
            assert given <= known
            assert {"SHOAL_PEER__ADDRESS", "SHOAL_MEMBERSHIP__NODE"} <= given
        else:
            others = {name for name in given if not name.startswith("SHOAL_SETUP_")}
            asks_the_cloud = container["name"] in ("setup", "controller")
            names = ("ENDPOINT", "CLUSTER", "METADATA", "CA_FILE") if asks_the_cloud else ()
            assert others == {f"SHOAL_CLOUD_{name}" for name in names}
    (installer,) = (c for c in spec["containers"] if c["name"] == "installer")
    environment = {it["name"]: it.get("value", "x") for it in installer["env"]}
    place = runtime_place(environment)
    assert place.may_restart
    # At the node's own path, since paths of files are written into files there.
    (mount,) = (m for m in installer["volumeMounts"] if m["name"] == "runtime")
    (volume,) = (v for v in spec["volumes"] if v["name"] == "runtime")
    assert mount["mountPath"] == volume["hostPath"]["path"] == str(place.folder)


def test_every_container_runs_a_command_that_there_is(rendered: Rendered) -> None:
    known = set(typer.main.get_group(setup_app).commands)
    manifests = rendered["rrsa, everything"]
    specs = [*pod_specs(manifests).values(), *pod_specs(farewell(manifests)).values()]
    ran = {tuple(c["args"][:2]) for spec in specs for c in _containers(spec)}
    assert {words[1] for words in ran if words[0] == "setup"} == known
    assert {words[0] for words in ran} == {"setup", "agent"}


def test_no_throttle_means_no_limit(helm: Helm) -> None:
    setup = yaml.safe_load(
        _setup(helm.render({**METHODS["none"], "p2p": {"v2": {"throttleLimitMB": 0}}}))
    )
    assert AgentSettings.model_validate(setup["agent"]).limits.upload_bytes_per_s is None


def test_instances_are_separated_by_commas_with_or_without_spaces(helm: Helm) -> None:
    setup = yaml.safe_load(_setup(helm.render({"acrInstances": "cri-a, cri-b,cri-a"})))
    assert setup["instances"] == ["cri-a", "cri-b"]


def test_a_changed_setting_replaces_pods_and_a_changed_key_only_the_controller(helm: Helm) -> None:
    def annotations(values: Mapping[str, Any]) -> list[str]:
        manifests = helm.render(values)
        found = (
            one(manifests, "DaemonSet", NAME),
            one(manifests, "Deployment", f"{NAME}-controller"),
        )
        return [m["spec"]["template"]["metadata"]["annotations"]["shoal/setup"] for m in found]

    first = annotations(METHODS["access-key"])
    other_key = annotations({**METHODS["access-key"], "accessKeySecret": "other"})
    other_port = annotations({**METHODS["access-key"], "p2p": {"port": 65011}})
    assert first[0] == other_key[0]
    assert first[1] != other_key[1]
    assert first[0] != other_port[0]


def _node_labels(manifests: list[Manifest]) -> list[dict[str, str]]:
    affinity = one(manifests, "DaemonSet", NAME)["spec"]["template"]["spec"]["affinity"]
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return [
        {e["key"]: e["values"][0] for e in term["matchExpressions"] if "linux" not in e["values"]}
        for term in terms["nodeSelectorTerms"]
    ]


def test_a_pool_means_its_nodes_and_none_means_all_edge_nodes(helm: Helm) -> None:
    method = METHODS["worker-role"]
    assert _node_labels(helm.render(method)) == [
        {"alibabacloud.com/is-edge-worker": "true"},
        {"openyurt.io/is-edge-worker": "true"},
    ]
    assert _node_labels(helm.render({**method, "edgeNodePool": {"id": "np1"}})) == [
        {"alibabacloud.com/nodepool-id": "np1"},
        {"apps.openyurt.io/nodepool": "np1"},
    ]
    assert _node_labels(helm.render({**method, "edgeNodePool": {"allNodes": True}})) == [{}]


def test_the_runtimes_folder_follows_its_type(helm: Helm) -> None:
    for kind, expected in (
        ("containerd", "/etc/containerd"),
        ("k3s", "/var/lib/rancher/k3s/agent/etc/containerd"),
        ("crio", "/etc/containers"),
    ):
        manifests = helm.render({**METHODS["none"], "runtime": {"type": kind}})
        for spec in (
            pod_specs(manifests)[f"DaemonSet {NAME}"],
            pod_specs(farewell(manifests))[f"DaemonSet {NAME}-farewell"],
        ):
            (volume,) = (v for v in spec["volumes"] if v["name"] == "runtime")
            assert volume["hostPath"]["path"] == expected


def test_the_runtime_is_restarted_only_on_request(rendered: Rendered) -> None:
    plain = pod_specs(rendered["none"])[f"DaemonSet {NAME}"]
    assert "hostPID" not in plain
    assert not any(c["securityContext"].get("privileged") for c in _containers(plain))


def test_a_dead_webhook_stops_no_pod_and_every_labelled_pod_meets_exactly_one(
    rendered: Rendered,
) -> None:
    assert not any(m["kind"].startswith("Mutating") for m in rendered["worker-role"])
    (hook,) = (m for m in rendered["rrsa, everything"] if m["kind"].startswith("Mutating"))
    by_pod, by_namespace = hook["webhooks"]
    assert {w["failurePolicy"] for w in hook["webhooks"]} == {"Ignore"}
    assert by_pod["objectSelector"]["matchLabels"] == {
        "k8s.aliyun.com/image-accelerate-mode": "p2p"
    }
    assert by_namespace["namespaceSelector"]["matchLabels"] == {
        "k8s.aliyun.com/image-accelerate-mode": "p2p"
    }
    assert by_namespace["objectSelector"]["matchExpressions"][0]["operator"] == "DoesNotExist"


def test_the_dashboard_names_only_metrics_that_exist(rendered: Rendered) -> None:
    board = json.loads(
        one(rendered["rrsa, everything"], "ConfigMap", f"{NAME}-dashboard")["data"]["shoal.json"]
    )
    queries = [t["expr"] for panel in board["panels"] for t in panel["targets"]]
    queries += [v["query"] for v in board["templating"]["list"]]
    named = {n for q in queries for n in re.findall(r"\b(?:shoal|process)_[a-z_]+", q)}
    exist = set(_metric_names())
    assert named - exist == set()
    assert len(named) > 15


def _metric_names() -> Iterator[str]:
    text = (CHART.parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, kind in re.findall(r"^\| `(\w+)` \| (\w+)", text, re.MULTILINE):
        yield name
        if kind == "histogram":
            yield from (f"{name}_{part}" for part in ("bucket", "sum", "count"))


def test_kubectl_reads_what_helm_wrote(rendered: Rendered, tools: ChartTools) -> None:
    text = yaml.safe_dump_all(rendered["rrsa, everything"])
    done = subprocess.run(
        [tools.kubectl, "label", "--local", "-f", "-", "a=b", "-o", "name"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(rendered["rrsa, everything"])


def test_the_nodes_own_access_is_seen_by_the_agent_alone(rendered: Rendered, helm: Helm) -> None:
    spec = pod_specs(rendered["worker-role"])[f"DaemonSet {NAME}"]
    assert "securityContext" not in spec
    manifests = helm.render({**METHODS["worker-role"], "nodeAccess": {"secret": "pull"}})
    for name, spec in pod_specs(manifests).items():
        mounting = [
            container["name"]
            for container in _containers(spec)
            if any(mount["name"] == "node-access" for mount in container["volumeMounts"])
        ]
        assert mounting == (["agent"] if name.startswith("DaemonSet") else [])
    spec = pod_specs(manifests)[f"DaemonSet {NAME}"]
    (volume,) = (one for one in spec["volumes"] if one["name"] == "node-access")
    # A Secret that is not there keeps no agent from starting.
    assert volume["secret"] | {"items": []} == {
        "secretName": "pull",
        "optional": True,
        "defaultMode": 0o400,
        "items": [],
    }
    (agent,) = (one for one in spec["containers"] if one["name"] == "agent")
    assert spec["securityContext"]["fsGroup"] == agent["securityContext"]["runAsGroup"]
    assert agent["securityContext"]["runAsUser"] != 0
