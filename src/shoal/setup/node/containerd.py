"""containerd on a node: hosts.toml for every registry of the agent, and for no other."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from shoal.adapters.mounts.state import FileState, state_of
from shoal.adapters.runtime.config_path import ConfigPath
from shoal.adapters.runtime.containerd_check import Finding, config_findings, registry_findings
from shoal.adapters.runtime.containerd_config import ContainerdConfig, read_config
from shoal.adapters.runtime.containerd_hosts import ContainerdHosts
from shoal.adapters.runtime.host_service import HostService
from shoal.adapters.runtime.hosts_toml import AgentEntry
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import ShoalError
from shoal.setup.node.told import ServedName

_RESTART = "restart containerd (running containers go on): systemctl restart containerd"


class ContainerdNode:
    """The folder of one containerd's configuration; k3s has the same files in one of its own."""

    def __init__(self, folder: Path, *, service: HostService | None = None) -> None:
        """Look after `folder`.

        Args:
            folder: holds config.toml and, usually, certs.d.
            service: what may be restarted, to have it read certs.d; None: nothing may.
        """
        self._folder = folder
        self._config_path = ConfigPath(folder / "config.toml")
        self._service = service
        self._restarted_for: FileState | None = None

    def apply(
        self,
        names: Sequence[ServedName],
        *,
        front_url: str,
        release: tuple[int, int] | None,
    ) -> list[Finding]:
        """Have `names` asked of the agent first; see `Runtime.apply`."""
        try:
            config = read_config(self._folder / "config.toml", release=release)
        except ShoalError as exc:
            # What cannot be read may still be what is in force: hosts.toml is written all the same.
            config = ContainerdConfig(self._folder / "config.toml", exists=True, version=2)
            found = [Finding("config.toml", False, str(exc), "mend that file")]
        else:
            found = []
        certs_d = self._certs_d(config)
        if not found and self._service is not None:
            found += self._made_to_read(config, certs_d, self._service)
            config = read_config(config.path, release=release)
        hosts = ContainerdHosts(certs_d, roots=config.config_path)
        if not found:
            found += self._config_findings(config, certs_d, release=release)
        for served in names:
            found += _installed(hosts, served, front_url=front_url)
        wanted = {served.name for served in names}
        return found + [
            finding
            for root in self._roots(config)
            for finding in _removed(ContainerdHosts(root), keep=wanted if root == certs_d else ())
        ]

    def remove(self) -> list[Finding]:
        """Leave no entry; see `Runtime.remove`."""
        try:
            config = read_config(self._folder / "config.toml")
        except ShoalError:
            # Shoal must be removable from a node whose containerd is broken, too.
            config = ContainerdConfig(self._folder / "config.toml", exists=True, version=2)
        found = [
            finding for root in self._roots(config) for finding in _removed(ContainerdHosts(root))
        ]
        # After the folders, which it may be what names. No restart: without them it says nothing.
        try:
            done = self._config_path.remove()
        except ShoalError as exc:
            return [*found, Finding("config.toml", False, str(exc))]
        return [*found, Finding("config.toml", True, done)] if done else found

    def _made_to_read(
        self, config: ContainerdConfig, certs_d: Path, service: HostService
    ) -> list[Finding]:
        """Set config_path where nothing does, and restart a containerd that is older than that."""
        try:
            if not config.config_path and not config.conflicts:
                self._config_path.install(config, certs_d)
            if config.path.exists() and (state := state_of(config.path)) != self._restarted_for:
                # Once for each version of the file: a clock that jumps must not do it for ever.
                self._restarted_for = state
                if service.is_older_than(config.path):
                    service.restart()
        except ShoalError as exc:
            return [Finding("restart", False, str(exc), f"on the node: {_RESTART}")]
        return []

    def _certs_d(self, config: ContainerdConfig) -> Path:
        """Return the first folder of `config_path` that is here, or else where it belongs."""
        return next(iter(self._roots(config)))

    def _roots(self, config: ContainerdConfig) -> list[Path]:
        usual = self._folder / "certs.d"
        here = [root for root in config.config_path if root.is_relative_to(self._folder)]
        return list(dict.fromkeys([*here, usual]))

    def _config_findings(
        self, config: ContainerdConfig, certs_d: Path, *, release: tuple[int, int] | None
    ) -> list[Finding]:
        if not config.config_path or certs_d in config.config_path or config.conflicts:
            return config_findings(config, certs_d, release=release)
        roots = ":".join(map(str, config.config_path))
        todo = (
            f"set the chart's runtime.dir to the folder above {config.config_path[0]}, or "
            f'config_path = "{certs_d}" in {config.set_in or config.path}; then {_RESTART}'
        )
        text = f"containerd reads {roots}, not {certs_d}"
        return [Finding("config_path", False, text, todo)]


def _installed(hosts: ContainerdHosts, served: ServedName, *, front_url: str) -> list[Finding]:
    """Install one registry by itself: one whose file is wrong must not keep others waiting."""
    subject = str(served.name)
    try:
        (outcome,) = hosts.install(
            [served.name],
            AgentEntry(front_url, served.headers),
            plain_http=served.plain_http,
            server=served.server,
        )
        found = registry_findings(hosts, [served.name], agent_url=front_url)
    except ShoalError as exc:
        return [Finding(subject, False, str(exc), "this registry is asked as before meanwhile")]
    if outcome.note:
        found.append(Finding(subject, True, f"{outcome.action}: {outcome.note}"))
    return found


def _removed(hosts: ContainerdHosts, *, keep: Iterable[RegistryName] = ()) -> list[Finding]:
    kept = set(keep)
    found = []
    try:
        names = [name for name in hosts.managed() if name not in kept]
    except ShoalError as exc:
        return [Finding("certs.d", False, str(exc))]
    for name in names:
        try:
            outcomes = hosts.remove([name])
        except ShoalError as exc:
            found.append(Finding(str(name), False, str(exc), "take Shoal's entry out by hand"))
            continue
        found += [
            Finding(str(name), True, f"{it.action} {it.path} {it.note}".rstrip()) for it in outcomes
        ]
    return found
