"""Image references: `nginx`, `registry.example.com:5000/team/app:1.2@sha256:...`."""

import re
from dataclasses import dataclass

from shoal.core.digest import Digest
from shoal.core.errors import BadInput

DOCKER_HUB = "docker.io"

# Source: distribution/reference normalize.go, which Docker, containerd and skopeo share: one
# registry under three names. Requests go to the last one.
DOCKER_HUB_ALIASES = frozenset({DOCKER_HUB, "index.docker.io", "registry-1.docker.io"})
DOCKER_HUB_HOST = "registry-1.docker.io"

# Source: OCI distribution-spec v1.1, "Pulling manifests": the name's grammar, and the 255
# characters that many clients allow for host, slash and name together.
MAX_NAME_CHARACTERS = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)

# Source: distribution/reference regexp.go, domain-name, IPv6address and port. A zone (`%eth0`) is
# refused there as well.
_HOST = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
    r"(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"|\[[a-fA-F0-9:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)


def check_repository(name: str) -> str:
    """Return `name` if it is a repository name of the distribution specification.

    Raises:
        BadInput: it is too long, or not lower-case components joined by slashes.
    """
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadInput(
            f"repository name of {len(name)} characters; at most {MAX_NAME_CHARACTERS} are allowed"
        )
    if _NAME.fullmatch(name) is None:
        raise BadInput(
            f"not a repository name: {name!r}; expected lower-case letters, digits and single "
            "separators (. _ __ -) in components joined by /"
        )
    return name


def check_tag(tag: str) -> str:
    """Return `tag` if it is one.

    Raises:
        BadInput: it is not 1 to 128 letters, digits, `_`, `.` or `-`, beginning with neither of
            the last two.
    """
    if _TAG.fullmatch(tag) is None:
        raise BadInput(
            f"not a tag: {tag[:160]!r}; expected 1 to 128 letters, digits, _ . or -, the first "
            "not . or -"
        )
    return tag


def canonical_registry(host: str) -> str:
    """Return the one spelling of a registry's `host[:port]`: lower case, Docker Hub's aliases one.

    Raises:
        BadInput: not a host name, IPv4 or bracketed IPv6 address with an optional port.
    """
    match = _HOST.fullmatch(host) if len(host) <= MAX_NAME_CHARACTERS else None
    if match is None:
        raise BadInput(f"not a registry's host[:port]: {host[:160]!r}")
    if match["port"] is not None and not 0 < int(match["port"]) < 65536:
        raise BadInput(f"port {match['port']} of registry {host!r} is outside 1..65535")
    name = host.lower()
    return DOCKER_HUB if name in DOCKER_HUB_ALIASES else name


@dataclass(frozen=True, slots=True)
class Reference:
    """What a user calls an image, normalised: `nginx` is `docker.io/library/nginx:latest`.

    At least one of `tag` and `digest` is set; where both are, the digest decides.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Return the reference that `text` spells, as Docker and containerd read it.

        Raises:
            BadInput: the message says which part is wrong.
        """
        if not text or text != text.strip():
            raise BadInput(f"not an image reference: {text[:160]!r} is empty or has spaces around")
        if "://" in text:
            raise BadInput(
                f"image reference {text[:160]!r} has a scheme; leave out the part to ://"
            )
        rest, at, digest_text = text.partition("@")
        digest = Digest.parse(digest_text) if at else None
        host, slash, path = rest.partition("/")
        # Without one of these marks the first component is part of the name, as in `team/app`.
        if slash and (host == "localhost" or set(host) & set(".:[")):
            registry = canonical_registry(host)
        else:
            registry, path = DOCKER_HUB, rest
        name, colon, tag_text = path.partition(":")
        if colon:
            check_tag(tag_text)
        if not name:
            raise BadInput(f"image reference {text[:160]!r} names no repository")
        check_repository(name)
        if registry == DOCKER_HUB and "/" not in name:
            name = f"library/{name}"
        if len(registry) + 1 + len(name) > MAX_NAME_CHARACTERS:
            raise BadInput(
                f"registry and repository of {text[:160]!r} are longer than "
                f"{MAX_NAME_CHARACTERS} characters together"
            )
        tag = tag_text if colon else None if digest else "latest"
        return cls(registry, name, tag, digest)

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest if there is one, else the tag."""
        return str(self.digest) if self.digest is not None else str(self.tag)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"
