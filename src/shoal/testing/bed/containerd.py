"""One real containerd: its own root, state, socket, mounts and registry configuration."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from shoal.testing.bed.cri import ImageService
from shoal.testing.bed.processes import BedError, Service, in_namespace, run

START_TIMEOUT_S = 60.0
PULL_TIMEOUT_S = 120.0

# Version 2 of the file is what containerd 1.6 writes and 1.x and 2.x read. Snapshotters that the
# bed does not use are off: each of them probes the machine at start.
_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{folder}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs_d}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{folder}/cni"
    conf_dir = "{folder}/cni"
"""


class Containerd:
    """A node's container runtime, in the node's network namespace and a mount namespace of its own.

    The mount namespace makes its overlay mounts vanish with it, and gives it a /run of its own,
    where it keeps the sockets and pipes that no configuration can place elsewhere.
    """

    def __init__(self, *, namespace: str, folder: Path, cgroup: str) -> None:
        self.folder = folder
        self.certs_d = folder / "certs.d"
        self.config = folder / "config.toml"
        self._cgroup = cgroup
        self._cri: ImageService | None = None
        script = 'mount -t tmpfs -o mode=755 tmpfs /run && exec containerd --config "$0"'
        self.service = Service(
            f"containerd of {namespace}",
            in_namespace(
                namespace, ["unshare", "--mount", "--", "/bin/sh", "-c", script, str(self.config)]
            ),
            log=folder / "containerd.log",
        )

    @property
    def socket(self) -> Path:
        """Where containerd answers, also the CRI."""
        return self.folder / "containerd.sock"

    @property
    def cri(self) -> ImageService:
        """A client of its CRI image service; one connection, made on first use."""
        if self._cri is None:
            self._cri = ImageService(self.socket)
        return self._cri

    def start(self, *, wait: bool = True) -> None:
        """Write the configuration and start; with `wait` return once it answers."""
        self.certs_d.mkdir(parents=True, exist_ok=True)
        (self.folder / "cni").mkdir(exist_ok=True)
        self.config.write_text(_CONFIG.format(folder=self.folder, certs_d=self.certs_d))
        self.service.start()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return once the CRI answers.

        Raises:
            BedError: it ended, or did not answer in time.
        """
        self.service.wait_until(self.socket.exists, timeout_s=START_TIMEOUT_S)
        self.cri.wait_ready(timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """End containerd; its content stays."""
        self._disconnect()
        self.service.stop()
        self.socket.unlink(missing_ok=True)

    def kill(self) -> None:
        """End containerd at once; what its containers were does not matter any more."""
        self._disconnect()
        self.service.kill()

    def _disconnect(self) -> None:
        if self._cri is not None:
            self._cri.close()
            self._cri = None

    def wipe(self) -> None:
        """Restart with nothing in it, as on a new node; certs.d stays."""
        self.stop()
        for name in ("root", "state"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.start()

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs `argv` where containerd runs (network and mounts)."""
        return ["nsenter", f"--target={self.service.pid}", "--net", "--mount", "--", *argv]

    def ctr_command(self, arguments: Sequence[str], *, namespace: str = "k8s.io") -> list[str]:
        """Return the command line of `ctr ARGUMENTS` on this containerd."""
        return self.inside(["ctr", "--address", str(self.socket), "-n", namespace, *arguments])

    def ctr(
        self,
        *arguments: str,
        namespace: str = "k8s.io",
        timeout_s: float = PULL_TIMEOUT_S,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `ctr` to its end; see `processes.run`."""
        return run(
            self.ctr_command(arguments, namespace=namespace), timeout_s=timeout_s, check=check
        )

    def fetch_command(self, reference: str, *, user: str | None = None) -> list[str]:
        """Return the command that fetches an image's content, through certs.d, without unpacking.

        Args:
            reference: the image.
            user: `name:password`, or None for anonymous.
        """
        login = ["--user", user] if user else []
        return self.ctr_command(
            # Without --debug ctr draws progress, for which it asks containerd ten times a second.
            ["--debug", "content", "fetch", "--hosts-dir", str(self.certs_d), *login, reference]
        )

    def fetch(
        self, reference: str, *, user: str | None = None, timeout_s: float = PULL_TIMEOUT_S
    ) -> None:
        """Fetch an image's content, not unpacking it.

        Raises:
            BedError: the fetch failed; the message holds what ctr said.
        """
        run(self.fetch_command(reference, user=user), timeout_s=timeout_s)

    def has_content(self, digest: str) -> bool:
        """Whether the content store holds the blob `digest` whole."""
        algorithm, _, hexadecimal = digest.partition(":")
        store = self.folder / "root/io.containerd.content.v1.content/blobs"
        return (store / algorithm / hexadecimal).is_file()

    def run_container(
        self, reference: str, command: Sequence[str], *, name: str, timeout_s: float = 60.0
    ) -> str:
        """Run `command` in a container of an image that is here, with runc; return what it wrote.

        Raises:
            BedError: the image is not here, or the command failed.
        """
        done = self.ctr(
            "run",
            "--rm",
            f"--cgroup=/{self._cgroup}/{name}",
            reference,
            name,
            *command,
            timeout_s=timeout_s,
        )
        return done.stdout

    def write_hosts(self, registry: str, text: str) -> Path:
        """Write `certs.d/<registry>/hosts.toml`; return its path."""
        if "/" in registry:
            raise BedError(f"not a registry name: {registry!r}")
        path = self.certs_d / registry / "hosts.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path
