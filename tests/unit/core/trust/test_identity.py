"""Who a certificate says its holder is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.peer import PeerId
from shoal.core.trust.identity import (
    Identity,
    Reason,
    Refused,
    Role,
    claims_of,
    cluster_name,
    node_name,
    node_uri,
    role_uri,
)


def _identity(*, node: str | None = "n1", roles: frozenset[str] = frozenset()) -> Identity:
    addresses = frozenset({"10.0.0.7", "fd00::7"})
    return Identity("edge-1", node, addresses, roles, not_after_s=1e9, serial=7, name="n1")


def test_the_names_of_a_node_and_its_role_are_read_as_they_are_written() -> None:
    claims = claims_of([node_uri("edge-1", "node-7.lan"), role_uri("edge-1", Role.OPERATOR)])
    assert (claims.cluster, claims.node) == ("edge-1", "node-7.lan")
    assert claims.roles == {"operator"}


def test_names_of_other_schemes_are_passed_over() -> None:
    assert claims_of(["spiffe://other/x", node_uri("edge-1", "n1")]).node == "n1"


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["https://edge-1/node/n1"],
        ["shoal://edge-1/node/"],
        ["shoal://edge-1/pod/x"],
        ["shoal:///node/n1"],
        ["shoal://Edge/node/n1"],
        ["shoal://edge-1/node/a%2Fb"],
        ["shoal://edge-1/role/operator/more"],
        ["shoal://edge-1/node/n1", "shoal://edge-2/role/operator"],
        ["shoal://edge-1/node/n1", "shoal://edge-1/node/n2"],
    ],
)
def test_names_that_are_malformed_or_contradict_each_other_are_refused(uris: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        claims_of(uris)
    assert caught.value.reason is Reason.MALFORMED


@given(st.lists(st.text(max_size=60).map(lambda text: f"shoal://{text}"), max_size=3))
def test_any_name_is_read_or_refused(uris: list[str]) -> None:
    try:
        claims = claims_of(uris)
    except Refused:
        return
    assert cluster_name(claims.cluster)


@pytest.mark.parametrize("peer", ["10.0.0.7:65002", "[fd00::7]:1"])
def test_a_member_is_known_by_each_of_its_addresses(peer: str) -> None:
    _identity().require_member(PeerId(peer))


def test_another_members_name_is_refused_with_what_the_certificate_is_for() -> None:
    with pytest.raises(Refused, match=r"n1 of edge-1 is for 10\.0\.0\.7, fd00::7 address") as told:
        _identity().require_member(PeerId("10.0.0.8:65002"))
    assert told.value.reason is Reason.NOT_THE_MEMBER


def test_an_operator_is_no_member() -> None:
    with pytest.raises(Refused, match="is no node's"):
        _identity(node=None).require_member(PeerId("10.0.0.7:65002"))


def test_a_role_is_had_or_refused_with_how_to_get_it() -> None:
    _identity(roles=frozenset({"operator"})).require_role(Role.OPERATOR)
    with pytest.raises(Refused, match="shoal certs issue --role operator") as told:
        _identity().require_role(Role.OPERATOR)
    assert told.value.reason is Reason.NO_ROLE


@pytest.mark.parametrize("name", ["", "Edge", "a b", "-a", "a" * 64, "a/b", "ä"])
def test_what_cannot_name_a_cluster_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="a cluster's name"):
        cluster_name(name)


@pytest.mark.parametrize("name", ["", "a b", ".a", "a" * 254, "a/b"])
def test_what_cannot_name_a_node_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="expected a name"):
        node_name(name)
