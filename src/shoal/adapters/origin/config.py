"""What the registry client is told: which registries there are, and how long to wait for them."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shoal.core.errors import BadInput, SettingsError
from shoal.core.reference import DOCKER_HUB, DOCKER_HUB_ALIASES, DOCKER_HUB_HOST, canonical_registry


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """One registry that may be asked; a name that is not configured is never asked.

    Every field is checked on construction: a SettingsError names the registry and the key.
    There is deliberately no way to skip the check of a certificate: give `ca_file` instead.
    """

    name: str
    """As references spell it: `registry.example.com:5000`; any alias of Docker Hub is
    `docker.io`."""

    url: str = ""
    """Where it answers, with an optional path before `/v2/`. Empty: `https://` and the name;
    `https://registry-1.docker.io` for Docker Hub."""

    plain_http: bool = False
    """Allow `url` (and redirects and realms) to be `http://`: anybody on the way can then read
    credentials."""

    ca_file: Path | None = None
    """PEM file of the authority that signed its certificate; trusted besides the system's, for
    this registry, its storage and its token realm only."""

    aliases: tuple[str, ...] = ()
    """Further `host[:port]` names that mean this registry, such as a VPC endpoint's."""

    redirect_hosts: tuple[str, ...] = ()
    """`host` or `host:port` of storage and token realms that may be on loopback, link-local or
    metadata addresses; all others there are refused."""

    realm_hosts: tuple[str, ...] = ()
    """`host`, `host:port` or `*.domain` of token realms that may be shown this node's own
    credential, besides the registry's own host."""

    allow_private_redirects: bool = False
    """Allow redirects and realms to any loopback, link-local or metadata address."""

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "name", canonical_registry(self.name))
            aliases = tuple(canonical_registry(alias) for alias in self.aliases)
        except BadInput as exc:
            raise SettingsError(f"registry {self.name!r}: name or aliases: {exc}") from exc
        if self.name == DOCKER_HUB:
            aliases = tuple(a for a in aliases if a not in DOCKER_HUB_ALIASES)
        object.__setattr__(self, "aliases", aliases)
        host = DOCKER_HUB_HOST if self.name == DOCKER_HUB else self.name
        object.__setattr__(self, "url", (self.url or f"https://{host}").rstrip("/"))
        self._check_url()

    def _check_url(self) -> None:
        # What comes before an @ may be a password.
        scheme, _, rest = self.url.rpartition("://")
        shown = f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]
        where = f"registry {self.name!r}: url {shown[:160]!r}"
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise SettingsError(f"{where} is not a URL") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise SettingsError(f"{where} must be http://host[:port] or https://host[:port]")
        if parts.username is not None or parts.query or parts.fragment:
            raise SettingsError(f"{where} must not hold credentials, a query or a fragment")
        if parts.scheme == "http" and not self.plain_http:
            raise SettingsError(
                f"{where} is not encrypted: use https://, or set plain_http if that is meant"
            )
        if parts.scheme == "http" and self.ca_file is not None:
            raise SettingsError(f"{where} is plain HTTP, so ca_file has no effect: remove one")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a registry is waited for: every wait of the client. Tests make them shorter."""

    connect_s: float = 3.0
    """Name, TCP and TLS together. A SYN is repeated after 1 s; a third means nobody is there."""

    headers_s: float = 6.0
    """From the first request to the headers of the last answer, redirects included. A second try
    may be on its way before a client has waited for `FrontLimits.progress_s`."""

    no_progress_s: float = 6.0
    """Waiting for `min_progress_bytes` of a body; for the same reason."""

    min_progress_bytes: int = 4096
    """Less than this in `no_progress_s` is a drip, not progress: 5.5 kbit/s, far below any link's
    share."""

    whole_s: float = 60.0
    """A whole small body: a manifest of the largest size takes 34 s on 1 Mbit/s."""
