"""The ConfigMap that all agents read: settings, whom they trust and whom not, and nodes' sites.

Everything here is a function of what was found, so that the Job and every replica of the
controller write the same text, and writing it again changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import yaml

from shoal.adapters.certificates.authority import Authority
from shoal.core.errors import BadInput, SettingsError
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.lookup import Registries, with_names
from shoal.setup.cluster.objects import AUTHORITIES, CERTIFICATE, KEY, PEERS, made
from shoal.setup.cluster.pools import Sites
from shoal.setup.cluster.rewritten_names import rewritten_name
from shoal.setup.names import AGENT_SETTINGS

SETTINGS, SITES, REVOKED = "agent.yaml", "nodes.yaml", "revoked.crl"
FOLDER = "/etc/shoal/agent"
IDENTITY_FOLDER = "/var/lib/shoal/identity"
# Where the chart mounts the Secret of nodeAccess.secret.
NODE_CREDENTIALS = "/etc/shoal/node-access/config.json"
_RELOAD_S = 5
# libyaml's writes ten thousand nodes in a few hundredths of a second, Python's in a second.
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# Source: Kubernetes documentation, "ConfigMap": at most 1 MiB; some of it for the rest.
_MOST_BYTES = 1000 * 1024


def agent_data(
    installation: Installation, registries: Registries, sites: Sites, *, authority: Authority
) -> dict[str, str]:
    """Return the `data` of the agents' ConfigMap.

    Args:
        installation: what the chart says.
        registries: what was looked up.
        sites: of all nodes.
        authority: whose certificates the agents trust as peers'.

    Raises:
        SettingsError: there is nothing to serve, or more than a ConfigMap holds.
    """
    served = with_names(installation.agent.get("registries") or (), registries.names)
    if not served:
        raise SettingsError("no registry was found and none is listed under registries")
    if installation.node_access:
        served = [_with_node_access(one, installation.realm_hosts) for one in served]
    if installation.webhook:
        served = _with_rewritten(served, installation.front_port)
    tls = {
        "certificate": f"{IDENTITY_FOLDER}/{CERTIFICATE}",
        "key": f"{IDENTITY_FOLDER}/{KEY}",
        "ca": f"{FOLDER}/{AUTHORITIES}",
        "revoked": f"{FOLDER}/{REVOKED}",
    }
    settings = {
        # Where this file is mounted nobody sends SIGHUP, and the kubelet changes it.
        "reload_interval_s": _RELOAD_S,
        **installation.agent,
        "registries": served,
        "peer": {**(installation.agent.get("peer") or {}), "tls": tls},
        "membership": {
            "sites_file": f"{FOLDER}/{SITES}",
            "kubernetes": {
                "namespace": installation.namespace,
                "service": PEERS,
                "sites_config_map": AGENT_SETTINGS,
            },
        },
    }
    # A console's switch that is off means that nothing is shared, which is: every node alone.
    by_node = dict(sorted(sites.by_node.items())) if registries.may_share else {}
    data = {
        SETTINGS: _yaml(settings),
        SITES: _yaml(by_node),
        AUTHORITIES: authority.certificate.pem.decode(),
        REVOKED: _revoked(authority, installation.revoked),
    }
    size_bytes = sum(len(text.encode()) for text in data.values())
    if size_bytes > _MOST_BYTES:
        raise SettingsError(
            f"the agents' settings have {size_bytes} bytes for {len(by_node)} nodes, and a "
            f"ConfigMap takes {_MOST_BYTES}: limit the installation by edgeNodePool.id"
        )
    return data


def config_map(installation: Installation, data: Mapping[str, str]) -> dict[str, Any]:
    """Return the ConfigMap as it is created."""
    return made("ConfigMap", AGENT_SETTINGS, installation.namespace) | {"data": dict(data)}


def path_of(installation: Installation) -> str:
    """Return where the ConfigMap is."""
    return f"/api/v1/namespaces/{installation.namespace}/configmaps/{AGENT_SETTINGS}"


def _revoked(authority: Authority, serials: Sequence[int]) -> str:
    """Return the list of revoked certificates, empty or not: so it needs no other settings.

    It is dated by the authority's beginning, since it must be the same whoever writes it and when;
    its number grows with its length.
    """
    since = authority.certificate.not_before
    now = since + timedelta(seconds=len(serials))
    return authority.revocation_list(dict.fromkeys(serials, since), now=now).pem.decode()


def _with_node_access(registry: dict[str, Any], realm_hosts: Sequence[str]) -> dict[str, Any]:
    """Return a registry that agents ask by the nodes' own credential, unless it says otherwise."""
    if registry.get("access", "node") != "node":
        return registry
    added = {"access": "node", "credentials_file": NODE_CREDENTIALS}
    return {**added, **({"realm_hosts": list(realm_hosts)} if realm_hosts else {}), **registry}


def _with_rewritten(registries: Sequence[dict[str, Any]], port: int) -> list[dict[str, Any]]:
    taken = {name for one in registries for name in (one["name"], *(one.get("aliases") or ()))}
    result = []
    for registry in registries:
        aliases = list(registry.get("aliases") or ())
        for name in (registry["name"], *aliases):
            try:
                other = rewritten_name(name, port)
            except BadInput:
                continue  # an address, or a name without a dot: it stays as it is
            if other not in taken:
                taken.add(other)
                aliases.append(other)
        result.append({**registry, "aliases": aliases} if aliases else dict(registry))
    return result


def _yaml(value: object) -> str:
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=True, allow_unicode=True))
