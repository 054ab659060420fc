"""Which registry a request means, and what it asks of it.

In this order: `?ns=<host>` (containerd's mirrors), a Host header that is a configured alias, a
first path component that is a configured host, the one default registry. What is said twice must
agree. A name that is not configured is a 404 before anybody is asked anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from shoal.agent.front.answers import Cause, Code, Refusal
from shoal.agent.settings import RegistrySettings
from shoal.core.errors import BadInput
from shoal.core.oci.routes import CatalogRoute, PingRoute, Route, parse_route
from shoal.core.reference import DOCKER_HUB, canonical_registry

# `ns`, and `n` and `last` or `artifactType`, are all that the API has.
_MAX_QUERY_FIELDS = 16


@dataclass(frozen=True, slots=True)
class ServedRegistry:
    """A registry as the front knows it: its names, and what may be concluded from its answers."""

    name: str
    names: frozenset[str] = frozenset()
    is_default: bool = False
    serve_stale_tags: bool = True
    node_credentials: Path | None = None
    """In node mode, the file with this node's own credential."""
    listing_is_access: bool = True
    """Whether a manifest that the registry serves proves access to what it lists. False for a
    registry that lets people push manifests whose content it has not checked they may read."""

    @classmethod
    def of(cls, settings: RegistrySettings) -> "ServedRegistry":
        """Return the registry that these settings describe."""
        return cls(
            name=canonical_registry(settings.name),
            names=settings.names,
            is_default=settings.default,
            serve_stale_tags=settings.serve_stale_tags,
            node_credentials=settings.credentials_file if settings.access == "node" else None,
            listing_is_access=settings.checks_pushed_manifests,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What a request asks of which registry.

    `prefix` is what the client has before the registry's own paths, `/v2/<prefix>/...`, if the path
    named the registry; `by_ns` tells that `ns` did.
    """

    registry: ServedRegistry
    route: Route
    query: tuple[tuple[str, str], ...] = ()
    prefix: str = ""
    by_ns: bool = False

    @property
    def repository(self) -> str:
        """The repository asked for; empty for the ping and the catalogue."""
        return "" if isinstance(self.route, PingRoute | CatalogRoute) else self.route.repository


class Registries:
    """The configured registries, by every name that means one of them."""

    def __init__(self, served: Iterable[ServedRegistry]) -> None:
        self._by_name: dict[str, ServedRegistry] = {}
        self._default: ServedRegistry | None = None
        for registry in served:
            for name in (registry.name, *registry.names):
                self._by_name[name.lower()] = registry
            if registry.is_default:
                self._default = registry

    @property
    def names(self) -> frozenset[str]:
        """Every name that means a configured registry, in lower case."""
        return frozenset(self._by_name)

    def target(self, raw_path: str, *, query: str, alias: str | None) -> Target | None:
        """Return what a request means; None for a ping that names no registry.

        Args:
            raw_path: the path as on the wire.
            query: what follows the `?`, as on the wire.
            alias: the configured name that the Host header is, if it is one.

        Raises:
            Refusal: malformed, contradictory, or a registry that is not configured.
        """
        fields = _query_fields(query)
        try:
            route = parse_route(raw_path, hosts=self.names)
        except BadInput as error:
            # A host that is not configured may make the path malformed: `host:5000/repository`.
            self._check_first_component(raw_path, named=_ns(fields) is not None or bool(alias))
            code = Code.DIGEST_INVALID if "digest" in str(error) else Code.NAME_INVALID
            raise Refusal(str(error), cause=Cause.BAD_REQUEST, status=400, code=code) from error
        if route is None or isinstance(route, CatalogRoute):
            raise Refusal("no path of the pull API", cause=Cause.NOT_FOUND, code=Code.UNSUPPORTED)
        ns = _ns(fields)
        host = None if isinstance(route, PingRoute) else route.host
        said = [self._named(name) for name in (ns, alias, host) if name is not None]
        if any(registry is not said[0] for registry in said):
            raise Refusal(
                "ns, the Host header and the path name different registries",
                cause=Cause.BAD_REQUEST,
                status=400,
                code=Code.NAME_INVALID,
            )
        if not said:
            if self._default is None and isinstance(route, PingRoute):
                return None
            self._check_first_component(raw_path, named=False)
            if self._default is None:
                raise Refusal(
                    "the request names no registry (ns, Host or path) and there is no default",
                    cause=Cause.UNKNOWN_REGISTRY,
                    code=Code.NAME_UNKNOWN,
                )
            said.append(self._default)
        passed = tuple((k, v) for k, v in fields if k in ("n", "last", "artifactType"))
        return Target(said[0], _full_name(route, said[0]), passed, host or "", ns is not None)

    def _named(self, name: str) -> ServedRegistry:
        try:
            canonical = canonical_registry(name)
        except BadInput as error:
            raise Refusal(
                str(error), cause=Cause.BAD_REQUEST, status=400, code=Code.NAME_INVALID
            ) from error
        registry = self._by_name.get(canonical) or self._by_name.get(name.lower())
        if registry is None:
            raise Refusal(
                f"registry {canonical} is not configured here",
                cause=Cause.UNKNOWN_REGISTRY,
                code=Code.NAME_UNKNOWN,
            )
        return registry

    def _check_first_component(self, raw_path: str, *, named: bool) -> None:
        """Refuse a path that names a registry which is not configured.

        As in references, a first component with a dot or colon, or `localhost`, is a host: it must
        not become a repository of the default registry, which would then be told of it.
        """
        parts = unquote(raw_path).split("/")
        if named or len(parts) < 6 or parts[1] != "v2":
            return
        first = parts[2]
        if first == "localhost" or set(first) & set(".:["):
            self._named(first)


def _ns(fields: list[tuple[str, str]]) -> str | None:
    values = {value for name, value in fields if name == "ns"}
    if len(values) > 1:
        raise Refusal(
            "several ns in one request",
            cause=Cause.BAD_REQUEST,
            status=400,
            code=Code.NAME_INVALID,
        )
    return next(iter(values), None)


def _query_fields(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as error:
        raise Refusal(
            "the query has too many fields",
            cause=Cause.BAD_REQUEST,
            status=400,
            code=Code.UNSUPPORTED,
        ) from error


def _full_name(route: Route, registry: ServedRegistry) -> Route:
    """Return `route` with Docker Hub's `library/`, which clients leave out of such paths."""
    if isinstance(route, PingRoute | CatalogRoute) or registry.name != DOCKER_HUB:
        return route
    if route.host is None or "/" in route.repository:
        return route
    return replace(route, repository=f"library/{route.repository}")
