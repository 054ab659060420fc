"""Routes: the pull API's paths, and everything that tries to look like one."""

from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.routes import (
    BlobRoute,
    CatalogRoute,
    ManifestRoute,
    PingRoute,
    ReferrersRoute,
    Route,
    TagsRoute,
    parse_route,
)

HEX = "0123456789abcdef" * 4
DIGEST = Digest("sha256", HEX)
SHA512 = Digest("sha512", HEX * 2)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/", PingRoute()),
        ("/v2", PingRoute()),
        ("/v2/_catalog", CatalogRoute()),
        ("/v2/library/nginx/manifests/1.25", ManifestRoute("library/nginx", "1.25")),
        (f"/v2/a/manifests/sha256:{HEX}", ManifestRoute("a", DIGEST)),
        (f"/v2/a/manifests/sha256%3A{HEX}", ManifestRoute("a", DIGEST)),
        (f"/v2/a/b/blobs/{SHA512}", BlobRoute("a/b", SHA512)),
        ("/v2/a/tags/list", TagsRoute("a")),
        (f"/v2/a/referrers/{DIGEST}", ReferrersRoute("a", DIGEST)),
        ("/v2/blobs/manifests/tags/list", TagsRoute("blobs/manifests")),
        (f"/v2/manifests/blobs/{DIGEST}", BlobRoute("manifests", DIGEST)),
        ("/v2/tags/manifests/list", ManifestRoute("tags", "list")),
    ],
)
def test_a_path_of_the_pull_api_is_read(path: str, route: Route) -> None:
    assert parse_route(path) == route
    assert parse_route(route.path) == route


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1/a/manifests/1",
        "/v2/a",
        "/v2/a/b/c",
        "/v2/a/blobs/uploads/",
        "/v2//",
        "/healthz",
        "v2/",
        "/v2/manifests/latest",
        "//v2/a/manifests/1",
    ],
)
def test_a_path_outside_the_pull_api_is_none(path: str) -> None:
    assert parse_route(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "/v2/../etc/manifests/1",
        "/v2/a/../manifests/1",
        "/v2/a/%2e%2e/manifests/1",
        "/v2/a%2fb/manifests/1",
        "/v2/a%2Fb/manifests/1",
        "/v2/a%5Cb/manifests/1",
        "/v2/a%00/manifests/1",
        "/v2/a%252fb/manifests/1",
        "/v2/a%ff/manifests/1",
        "/v2/a\\b/manifests/1",
        "/v2//a/manifests/1",
        "/v2/A/manifests/1",
        "/v2/a/manifests/",
        "/v2/a/manifests/..",
        "/v2/a/manifests/a b",
        "/v2/a/manifests/" + "t" * 129,
        "/v2/a/blobs/sha256:baddigeststring",
        "/v2/a/blobs/latest",
        f"/v2/a/blobs/md5:{HEX[:32]}",
        f"/v2/a/blobs/sha256:{HEX.upper()}",
        f"/v2/a/blobs/sha256:{HEX}%0a",
        f"/v2/a/referrers/{HEX}",
        f"/v2/{'a' * 256}/manifests/1",
        "/v2/" + "a/" * 5000 + "manifests/1",
        "/v2/127.0.0.1:5000/a/manifests/1",
    ],
)
def test_a_malformed_name_tag_or_digest_is_bad_input(path: str) -> None:
    with pytest.raises(BadInput):
        parse_route(path)


def test_a_configured_host_may_come_first() -> None:
    hosts = {"r.example.com:5000", "docker.io"}
    assert parse_route("/v2/r.example.com:5000/a/manifests/1", hosts=hosts) == ManifestRoute(
        "a", "1", "r.example.com:5000"
    )
    assert parse_route("/v2/docker.io/library/nginx/tags/list", hosts=hosts) == TagsRoute(
        "library/nginx", "docker.io"
    )
    # Alone it is a repository's name.
    assert parse_route("/v2/docker.io/manifests/1", hosts=hosts) == ManifestRoute("docker.io", "1")
    with pytest.raises(BadInput):
        parse_route("/v2/other.example.com:5000/a/manifests/1", hosts=hosts)


def test_a_host_is_left_out_of_the_path_to_the_registry() -> None:
    route = parse_route(f"/v2/r.io/a/blobs/{DIGEST}", hosts={"r.io"})
    assert route is not None
    assert route.path == f"/v2/a/blobs/{DIGEST}"


@settings(deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            ["v2", "a", "..", ".", "", "manifests", "blobs", "tags", "list", str(DIGEST)]
        )
        | st.text(max_size=5),
        max_size=8,
    ).map(lambda parts: "/" + "/".join(parts))
)
def test_what_is_read_is_always_safe_to_pass_on(path: str) -> None:
    for raw in (path, quote(path)):
        try:
            route = parse_route(raw)
        except BadInput:
            continue
        if route is not None:
            assert parse_route(route.path) == route
            assert ".." not in route.path.split("/")
            assert "%" not in route.path
            assert route.path.isascii()
            assert route.path.isprintable()
