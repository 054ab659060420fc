"""A pod of the chart as a process: its arguments, its variables, and what it has mounted where."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from chart.rendering import NAMESPACE, Manifest
from setup.installed import Installed
from shoal.testing.bed.processes import run

TIMEOUT_S = 150.0
# In a mount namespace of its own, where it makes folders that the machine does not have: pairs of
# path and what it is a link to, up to `--`, and then the command.
_MOUNTS = """
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work overlay /etc
while [ "$1" != -- ]; do mkdir -p "${1%/*}"; ln -s "$2" "$1"; shift 2; done
shift
exec "$@"
"""


def run_pod(
    cluster: Installed, spec: Manifest, volumes: Mapping[str, Path]
) -> subprocess.CompletedProcess[str]:
    """Run the first container of a pod to its end, as root and on the machine's network.

    Args:
        cluster: whose API server it asks.
        spec: the pod's.
        volumes: what stands for its volumes, by name; others are not mounted.

    Raises:
        BedError: it has no end in time.
    """
    container = spec["containers"][0]
    links = [
        word
        for mount in container["volumeMounts"]
        if mount["name"] in volumes
        for word in (mount["mountPath"], str(volumes[mount["name"]]))
    ]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    host, _, port = cluster.server.url.rpartition("/")[2].partition(":")
    kubernetes = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    shoal = [sys.executable, "-m", "shoal", *container["args"]]
    return run(
        ["unshare", "--mount", "--", "/bin/sh", "-ec", _MOUNTS, "pod", *links, "--", *shoal],
        timeout_s=TIMEOUT_S,
        check=False,
        env={**given, **kubernetes, "SHOAL_SETUP_NAMESPACE": NAMESPACE},
    )
