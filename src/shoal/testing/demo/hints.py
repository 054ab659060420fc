"""How to pull from a demo that is left running."""

import textwrap
from pathlib import Path

from shoal.core.reference import Reference
from shoal.testing.demo.addresses import Addresses
from shoal.testing.image_layout import BuiltImage


def write_hosts_toml(folder: Path, reference: Reference, addresses: Addresses) -> Path:
    """Write what sends a containerd to node 1's agent; return the folder for `--hosts-dir`."""
    path = folder / "certs.d" / reference.registry / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.write_text(hosts_toml(addresses))
    return folder / "certs.d"


def hosts_toml(addresses: Addresses) -> str:
    """Return the file: the agent first, and after it the registry itself."""
    return (
        f'server = "http://{addresses.registry}"\n'
        "\n"
        f'[host."http://{addresses.nodes[0].front}"]\n'
        '  capabilities = ["pull", "resolve"]\n'
    )


def hints(
    reference: Reference, image: BuiltImage, addresses: Addresses, *, hosts_folder: Path
) -> str:
    """Return commands that pull from the demo's nodes."""
    front = addresses.nodes[0].front
    layer = max(image.layers, key=lambda layer: layer.size_bytes)
    toml = textwrap.indent(hosts_toml(addresses), "    ")
    name = f"{reference.registry}/{reference.repository}:{reference.tag}"
    query = f"?ns={reference.registry}"
    url = f"http://{front}/v2/{reference.repository}"
    return f"""\
It is all running. {_others(addresses)}

docker:
    docker pull {front}/{name}

containerd; {reference.registry}/hosts.toml is in the folder below, and crictl and kubelets need it
in the one that containerd's config_path names:
{toml}
    sudo ctr images pull --hosts-dir {hosts_folder} {name}

skopeo:
    skopeo copy --src-tls-verify=false docker://{front}/{name} oci:/tmp/demo:latest

curl:
    curl -H 'Accept: {image.manifest_type}' \\
        '{url}/manifests/{reference.tag}{query}'
    curl '{url}/blobs/{layer.digest}{query}' | sha256sum

Metrics and the debug page: http://{addresses.nodes[0].exporter}/
"""


def _others(addresses: Addresses) -> str:
    if len(addresses.nodes) == 1:
        return f"The agent is at {addresses.nodes[0].front}:"
    first, last = addresses.nodes[0].front, addresses.nodes[-1].front
    return f"Node 1 is at {first}, the last at {last}:"
