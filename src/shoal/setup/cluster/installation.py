"""What the chart tells the cluster's commands: setup.yaml, and which pod this is.

The chart's schema has checked the values; what is checked here is that the file is the chart's.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shoal.core.errors import SettingsError

SETUP_FILE = Path("/etc/shoal/setup/setup.yaml")
_VERSION = 1
_MAX_BYTES = 1024**2

METHODS = ("none", "worker-role", "access-key", "rrsa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rrsa:
    """How RRSA authenticates."""

    role_arn: str = ""
    oidc_provider_arn: str = ""
    assume_role_arn: str = ""
    expire_s: int = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One release of the chart in a cluster."""

    namespace: str
    """Where it is installed."""

    method: str
    """How the cloud is asked, one of METHODS; `none`: it is not."""

    instances: tuple[str, ...] = ()
    """IDs of Container Registry instances."""

    region: str = ""
    vpc_id: str = ""
    rrsa: Rrsa = field(default_factory=Rrsa)

    node_pool: str = ""
    """ID of the one pool that has agents; empty: all edge pools, or all nodes."""

    all_nodes: bool = False
    """Whether every Linux node has an agent."""

    webhook: bool = False
    """Whether images of labelled pods are rewritten."""

    front_port: int = 65001
    """Port of the agents on their nodes' loopback address."""

    node_access: bool = False
    """Whether agents ask registries by the nodes' own credential, a Secret of theirs."""

    realm_hosts: tuple[str, ...] = ()
    """Hosts of token servers that may be shown it, beside the registries themselves."""

    revoked: tuple[int, ...] = ()
    """Serial numbers of nodes' certificates that peers take no more."""

    revision: int = 1
    """How often the release was installed or upgraded."""

    agent: Mapping[str, Any] = field(default_factory=dict)
    """The agent's settings, complete but for what is looked up."""


def read_installation(
    path: Path | None = None, *, environment: Mapping[str, str] = os.environ
) -> Installation:
    """Return what the chart says.

    Args:
        path: the file; None: the one that SHOAL_SETUP_CONFIG names, or SETUP_FILE.
        environment: variables of this pod.

    Raises:
        SettingsError: the file cannot be read or is not the chart's, or the namespace is unknown.
    """
    path = path or Path(environment.get("SHOAL_SETUP_CONFIG") or SETUP_FILE)
    namespace = environment.get("SHOAL_SETUP_NAMESPACE", "")
    if not namespace:
        raise SettingsError(
            "SHOAL_SETUP_NAMESPACE is not set: this command is for the chart's pods"
        )
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        told = yaml.safe_load(content) if len(content) <= _MAX_BYTES else None
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise SettingsError(f"{path} is no YAML: {exc}") from exc
    if not isinstance(told, dict) or told.get("version") != _VERSION:
        raise SettingsError(
            f"{path} is not of version {_VERSION}: chart and image do not belong together, "
            "install the image of the chart's appVersion"
        )
    try:
        return _installation(namespace, told)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise SettingsError(f"{path} lacks what this image expects of it: {exc!r}") from exc


def _installation(namespace: str, told: Mapping[str, Any]) -> Installation:
    rrsa = told["rrsa"]
    if told["method"] not in METHODS:
        raise ValueError(f"method {told['method']!r}")
    return Installation(
        namespace=namespace,
        method=told["method"],
        instances=tuple(str(one) for one in told["instances"]),
        region=str(told["region"]),
        vpc_id=str(told["vpcId"]),
        rrsa=Rrsa(
            role_arn=str(rrsa["roleARN"]),
            oidc_provider_arn=str(rrsa["oidcProviderARN"]),
            assume_role_arn=str(rrsa["assumeRoleARN"]),
            expire_s=int(rrsa["expireDuration"]),
        ),
        node_pool=str(told["nodePool"]),
        all_nodes=bool(told["allNodes"]),
        webhook=bool(told["webhook"]),
        front_port=int(told["ports"]["front"]),
        node_access=bool(told["nodeAccess"]["enable"]),
        realm_hosts=tuple(str(one) for one in told["nodeAccess"]["realmHosts"]),
        revoked=tuple(sorted({int(str(one), 16) for one in told["revokedCertificates"]})),
        revision=int(told["chart"]["revision"]),
        agent=dict(told["agent"]),
    )
