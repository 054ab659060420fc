"""Registries: which one a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.front.answers import Refusal
from shoal.agent.front.target import Registries, ServedRegistry, Target
from shoal.agent.settings import RegistrySettings
from shoal.core.oci.routes import ManifestRoute, PingRoute

HUB = ServedRegistry("docker.io", frozenset({"registry-1.docker.io", "index.docker.io"}))
ONE = ServedRegistry("one.example:5000", frozenset({"one-vpc.example"}))
TWO = ServedRegistry("two.example", is_default=True)
WITH_DEFAULT = Registries([HUB, ONE, TWO])
WITHOUT = Registries([HUB, ONE])
PATH = "/v2/team/app/manifests/v1"


def target(
    path: str = PATH, query: str = "", alias: str | None = None, of: Registries = WITHOUT
) -> Target:
    found = of.target(path, query=query, alias=alias)
    assert found is not None
    return found


def refusal(
    path: str = PATH, query: str = "", alias: str | None = None, of: Registries = WITHOUT
) -> Refusal:
    with pytest.raises(Refusal) as caught:
        of.target(path, query=query, alias=alias)
    return caught.value


def test_ns_names_the_registry_percent_encoded_or_not() -> None:
    assert target(query="ns=one.example%3A5000").registry is ONE
    assert target(query="ns=one.example:5000").registry is ONE
    assert target(query="ns=ONE.example:5000").registry is ONE


def test_docker_hub_has_three_names() -> None:
    for name in ("docker.io", "registry-1.docker.io", "index.docker.io"):
        assert target(query=f"ns={name}").registry is HUB


def test_an_alias_in_the_host_header_names_the_registry() -> None:
    assert target(alias="one-vpc.example").registry is ONE


def test_the_first_path_component_names_the_registry_and_is_taken_off() -> None:
    found = target("/v2/one.example:5000/team/app/manifests/v1")
    assert (found.registry, found.route.path, found.prefix) == (ONE, PATH, "one.example:5000")
    encoded = target("/v2/one.example%3A5000/team/app/manifests/v1")
    assert (encoded.registry, encoded.route.path) == (ONE, PATH)


def test_a_short_name_of_docker_hub_by_path_gets_its_library() -> None:
    found = target("/v2/docker.io/nginx/manifests/latest")
    assert found.repository == "library/nginx"
    by_ns = target("/v2/nginx/manifests/latest", query="ns=docker.io")
    assert by_ns.repository == "nginx"  # containerd has written out what it means


def test_the_default_is_taken_when_nothing_names_one() -> None:
    assert target(of=WITH_DEFAULT).registry is TWO
    assert refusal().status == 404


@pytest.mark.parametrize("name", ["unknown.example", "127.0.0.1:5000", "localhost", "[::1]:5000"])
def test_a_registry_that_is_not_configured_is_a_404(name: str) -> None:
    assert refusal(query=f"ns={name}").status == 404
    path = f"/v2/{name}/team/app/manifests/v1"
    assert refusal(path).status == 404
    # Nor is the default told of it.
    assert refusal(path, of=WITH_DEFAULT).status == 404


@pytest.mark.parametrize("name", ["", "a/b", "a b", "%00", "http://one.example", "a" * 300])
def test_an_ns_that_is_no_host_is_a_400(name: str) -> None:
    assert refusal(query=f"ns={name}").status == 400


def test_what_disagrees_is_a_400_and_what_agrees_is_not() -> None:
    by_path = "/v2/one.example:5000/team/app/manifests/v1"
    assert refusal(by_path, query="ns=docker.io").status == 400
    assert refusal(by_path, alias="index.docker.io").status == 400
    assert refusal(query="ns=docker.io", alias="one-vpc.example").status == 400
    assert refusal(query="ns=docker.io&ns=one.example:5000").status == 400
    found = target(by_path, query="ns=one.example:5000", alias="one-vpc.example")
    assert (found.registry, found.route) == (ONE, ManifestRoute("team/app", "v1", found.prefix))


def test_a_ping_without_a_name_is_the_fronts_own_unless_there_is_a_default() -> None:
    assert WITHOUT.target("/v2/", query="", alias=None) is None
    assert target("/v2/", of=WITH_DEFAULT) == Target(TWO, PingRoute())
    assert target("/v2/", query="ns=docker.io").registry is HUB


def test_only_what_the_api_knows_is_passed_on_of_a_query() -> None:
    found = target("/v2/a/tags/list", query="ns=docker.io&n=5&last=x&token=secret")
    assert found.query == (("n", "5"), ("last", "x"))


def test_a_query_of_many_fields_is_refused() -> None:
    assert refusal(query="&".join(f"a{i}=1" for i in range(100))).status == 400


def test_a_registry_is_known_by_what_its_settings_say() -> None:
    served = ServedRegistry.of(RegistrySettings(name="docker.io", default=True))
    assert served.name == "docker.io"
    assert served.names >= {"registry-1.docker.io"}
    assert served.is_default


@given(path=st.text(max_size=60), query=st.text(max_size=60))
def test_any_text_is_a_target_of_a_configured_registry_or_a_refusal(path: str, query: str) -> None:
    status, found = 0, None
    try:
        found = WITH_DEFAULT.target(f"/v2/{path}", query=query, alias=None)
    except Refusal as refused:
        status = refused.status
    assert status in (400, 404) or (found is not None and found.registry in (HUB, ONE, TWO))
