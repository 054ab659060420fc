"""The name by which containerd looks up a registry's folder, and the registry's own address."""

import ipaddress
import re
from dataclasses import dataclass

from shoal.core.errors import BadInput

# The folder that containerd reads for a registry that has none of its own.
DEFAULT = "_default"

# Names that pulls of Docker Hub's images may use. containerd knows the registry as docker.io and
# asks registry-1.docker.io (core/remotes/docker/config/hosts.go, ConfigureHosts).
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_SERVER = "registry-1.docker.io"

# A host name, an IPv4 address or an IPv6 address in brackets, and maybe a port. What does not
# match could name a folder outside certs.d.
_NAME = re.compile(
    r"(?P<host>[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
_MAX_NAME_CHARACTERS = 255  # a file name's bound


@dataclass(frozen=True, slots=True)
class RegistryName:
    """A registry as containerd names it: `host` or `host:port`, or `_default` for all others."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "RegistryName":
        """Return the registry that `text` names; `https://` and a trailing slash are forgiven.

        Raises:
            BadInput: not a host name or address with an optional port.
        """
        name = text.strip().lower().removeprefix("https://").removeprefix("http://").rstrip("/")
        if name == DEFAULT:
            return cls(DEFAULT)
        match = _NAME.fullmatch(name)
        if match is None or len(name) > _MAX_NAME_CHARACTERS or ".." in name:
            raise BadInput(
                f"not a registry: {text[:160]!r}; expected a host name such as docker.io or "
                "registry.example.com:5000"
            )
        if match["port"] is not None and not 0 < int(match["port"]) <= 65535:
            raise BadInput(f"not a registry: {text[:160]!r}; the port is outside 1..65535")
        return cls("docker.io" if name in _DOCKER_HUB else name)

    def folder_names(self) -> tuple[str, ...]:
        """Return the folders in which containerd looks, in its order, `_default` left out.

        Source: containerd core/remotes/docker/config/{hosts,config_unix}.go, hostPaths.
        """
        if self.text == DEFAULT:
            return (DEFAULT,)
        host, colon, port = self.text.rpartition(":")
        if colon and not self.text.endswith("]"):
            return (f"{host}_{port}_", self.text)
        return (self.text,)

    def server(self, *, plain_http: bool = False) -> str | None:
        """Return the registry's own URL for `server = `, or None to leave that to containerd.

        containerd talks plain HTTP to a loopback registry unless a file says otherwise; writing
        https:// there would break pulls that worked before.
        """
        if self.text == DEFAULT:
            return None
        if self.text == "docker.io":
            return f"https://{_DOCKER_HUB_SERVER}"
        if plain_http:
            return f"http://{self.text}"
        return None if self._is_loopback() else f"https://{self.text}"

    def _is_loopback(self) -> bool:
        host = self.text if self.text.endswith("]") else self.text.partition(":")[0]
        if self.text.startswith("["):
            host = self.text[1:].partition("]")[0]
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return self.text
