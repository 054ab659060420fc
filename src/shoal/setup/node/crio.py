"""CRI-O on a node: a file in registries.conf.d."""

from collections.abc import Sequence
from pathlib import Path

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.crio_registries import CrioRegistries, Mirrored
from shoal.adapters.runtime.host_service import HostService
from shoal.core.errors import ShoalError
from shoal.setup.node.told import ServedName

# There is no file that would tell, and its processes are not seen from here.
_WHEN_READ = (
    "CRI-O reads its folder at its start, on `systemctl reload crio`, and by itself with "
    "auto_reload_registries: until then it goes to the registries"
)
_NO_PATH = "a mirror's path cannot name it, since it has a port"
_ALIAS = "give it an alias without a port: registries[].aliases"


class CrioNode:
    """The folder of a node's containers/image."""

    def __init__(self, folder: Path, *, service: HostService | None = None) -> None:
        """Look after `folder`.

        Args:
            folder: usually /etc/containers.
            service: what may be told to read it again; None: nothing may.
        """
        self._registries = CrioRegistries(folder)
        self._service = service
        self._has_read = False

    def apply(
        self,
        names: Sequence[ServedName],
        *,
        front_url: str,
        release: tuple[int, int] | None,
    ) -> list[Finding]:
        """Have `names` asked of the agent first; see `Runtime.apply`."""
        front = front_url.partition("://")[2]
        found = []
        mirrored = []
        for served in names:
            if served.path is None:
                found.append(Finding(str(served.name), False, _NO_PATH, _ALIAS))
                continue
            mirror = f"{front}/{served.path}" if served.path else front
            mirrored.append(
                Mirrored(served.name.text, served.registry, mirror, insecure=served.plain_http)
            )
        try:
            written = self._registries.install(mirrored)
        except ShoalError as exc:
            return [*found, Finding("registries.conf.d", False, str(exc))]
        found += [Finding(prefix, False, reason) for prefix, reason in written.refused]
        refused = {prefix for prefix, _ in written.refused}
        found += [
            Finding(it.prefix, True, f"{written.path} has {it.mirror} as its first mirror")
            for it in mirrored
            if it.prefix not in refused
        ]
        return [*found, self._read_again(changed=written.changed)]

    def _read_again(self, *, changed: bool) -> Finding:
        if self._service is None:
            return Finding("registries.conf.d", True, _WHEN_READ)
        if changed or not self._has_read:  # whoever wrote it may have died before this
            try:
                self._service.reload()
            except ShoalError as exc:
                return Finding("reload", False, str(exc), "on the node: systemctl reload crio")
            self._has_read = True
        return Finding("registries.conf.d", True, "CRI-O was told to read it")

    def remove(self) -> list[Finding]:
        """Take the file away; see `Runtime.remove`."""
        try:
            done = self._registries.remove()
        except ShoalError as exc:
            return [Finding("registries.conf.d", False, str(exc))]
        return [Finding("registries.conf.d", True, done)] if done else []
