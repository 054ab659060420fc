"""Request paths of the distribution API's pull half, as dataclasses.

Paths are taken as they are on the wire, percent-encoded and without the query. They are decoded
once; a separator that was encoded is refused instead of decoded, and everything that is left must
match the specification's grammar, so no `..`, empty component, control character or second
encoding gets past this file.
"""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.reference import check_repository, check_tag

# Host (255), name (255), the longest route word and a sha512 digest, every character of it encoded,
# fit; aiohttp's and nginx's limits on a request line are 8 KiB.
MAX_PATH_CHARACTERS = 4096

_ENCODED_SEPARATORS = ("%2f", "%5c", "%00")


@dataclass(frozen=True, slots=True)
class PingRoute:
    """`/v2/`: does this speak the API, and with which credentials?"""

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return "/v2/"


@dataclass(frozen=True, slots=True)
class CatalogRoute:
    """`/v2/_catalog`: the repositories of a registry."""

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return "/v2/_catalog"


@dataclass(frozen=True, slots=True)
class ManifestRoute:
    """`/v2/<repository>/manifests/<tag or digest>`.

    `host` is the configured registry that the path began with, or None (see `parse_route`).
    """

    repository: str
    reference: str | Digest
    host: str | None = None

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return f"/v2/{self.repository}/manifests/{self.reference}"


@dataclass(frozen=True, slots=True)
class BlobRoute:
    """`/v2/<repository>/blobs/<digest>`; `host` as in `ManifestRoute`."""

    repository: str
    digest: Digest
    host: str | None = None

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return f"/v2/{self.repository}/blobs/{self.digest}"


@dataclass(frozen=True, slots=True)
class TagsRoute:
    """`/v2/<repository>/tags/list`; `host` as in `ManifestRoute`."""

    repository: str
    host: str | None = None

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return f"/v2/{self.repository}/tags/list"


@dataclass(frozen=True, slots=True)
class ReferrersRoute:
    """`/v2/<repository>/referrers/<digest>`; `host` as in `ManifestRoute`."""

    repository: str
    digest: Digest
    host: str | None = None

    @property
    def path(self) -> str:
        """The path to ask a registry for."""
        return f"/v2/{self.repository}/referrers/{self.digest}"


RepositoryRoute = ManifestRoute | BlobRoute | TagsRoute | ReferrersRoute
Route = PingRoute | CatalogRoute | RepositoryRoute


def parse_route(raw_path: str, *, hosts: Collection[str] = ()) -> Route | None:
    """Return the route that a request's path means, or None if it is no path of the pull API.

    Args:
        raw_path: the path as on the wire: percent-encoded, without `?` and query.
        hosts: registries that may be the path's first component, as in
            `docker pull 127.0.0.1:65001/registry.example.com/team/app`. One of these always means
            the registry, even where a repository of that name exists on the default registry.

    Raises:
        BadInput: the path is of the pull API but its name, tag or digest is malformed, or it holds
            an encoded slash, backslash or NUL, or it is over-long.
    """
    if len(raw_path) > MAX_PATH_CHARACTERS:
        raise BadInput(
            f"request path of {len(raw_path)} characters; at most {MAX_PATH_CHARACTERS} are allowed"
        )
    if any(encoded in raw_path.lower() for encoded in _ENCODED_SEPARATORS):
        raise BadInput(f"request path holds an encoded separator: {raw_path[:160]!r}")
    try:
        path = unquote(raw_path, errors="strict")
    except UnicodeDecodeError as exc:
        raise BadInput(f"request path is not UTF-8: {raw_path[:160]!r}") from exc
    if path in ("/v2", "/v2/"):
        return PingRoute()
    if path == "/v2/_catalog":
        return CatalogRoute()
    # From the right, because a repository may itself be called `manifests` or `blobs`.
    prefix, *words = path.rsplit("/", 2)
    if not path.startswith("/v2/") or len(words) != 2 or not prefix.startswith("/v2/"):
        return None
    name = prefix.removeprefix("/v2/")
    match words:
        case ["manifests", target]:
            repository, host = _split_host(name, hosts)
            # Only a digest may hold a colon, so this tells one from a tag.
            reference = Digest.parse(target) if ":" in target else check_tag(target)
            return ManifestRoute(repository, reference, host)
        case ["blobs", target] if target:  # an upload ends in `blobs/uploads/`
            repository, host = _split_host(name, hosts)
            return BlobRoute(repository, Digest.parse(target), host)
        case ["tags", "list"]:
            repository, host = _split_host(name, hosts)
            return TagsRoute(repository, host)
        case ["referrers", target]:
            repository, host = _split_host(name, hosts)
            return ReferrersRoute(repository, Digest.parse(target), host)
        case _:
            return None


def _split_host(name: str, hosts: Collection[str]) -> tuple[str, str | None]:
    first, slash, rest = name.partition("/")
    if slash and first in hosts:
        return check_repository(rest), first
    return check_repository(name), None
