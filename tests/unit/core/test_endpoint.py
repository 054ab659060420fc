"""Endpoints: one spelling for each place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.endpoint import Endpoint, normal_host
from shoal.core.errors import BadInput


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("10.0.0.7:65002", "10.0.0.7:65002"),
        ("[::1]:65002", "[::1]:65002"),
        ("[FD00:0:0::0007]:1", "[fd00::7]:1"),
        ("[::ffff:10.0.0.7]:65002", "10.0.0.7:65002"),
        ("Node-7.Example.com.:65002", "node-7.example.com:65002"),
        ("peers_1:80", "peers_1:80"),
    ],
)
def test_equal_places_have_one_spelling(text: str, normal: str) -> None:
    assert str(Endpoint.parse(text)) == normal


@pytest.mark.parametrize(
    ("text", "normal"),
    [("10.0.0.7", "10.0.0.7:9"), ("[::1]", "[::1]:9"), ("node", "node:9"), ("node:1", "node:1")],
)
def test_a_port_that_is_left_out_is_the_default(text: str, normal: str) -> None:
    assert str(Endpoint.parse(text, default_port=9)) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":65002",
        "node",
        "node:",
        "node:0",
        "node:65536",
        "node:x",
        "node:1:2",
        "::1:65002",
        "[::1]",
        "[::1",
        "[::1]65002",
        "[node]:1",
        "[10.0.0.1]:1",
        "10.0.0.300:1",
        "no de:1",
        "node/7:1",
        "user@node:1",
        "-node:1",
        "node:٣",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="expected host:port"):
        Endpoint.parse(text)


def test_an_address_is_told_from_a_name() -> None:
    assert Endpoint.parse("[::1]:1").is_address
    assert Endpoint.parse("10.0.0.1:1").is_address
    assert not Endpoint.parse("node:1").is_address


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_endpoint_reads_back_as_itself(address: object, port: int) -> None:
    endpoint = Endpoint(normal_host(str(address)), port)
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text(alphabet="[]:.0123456789abfx-", max_size=24))
def test_any_text_is_an_endpoint_in_its_one_spelling_or_bad_input(text: str) -> None:
    try:
        endpoint = Endpoint.parse(text, default_port=7)
    except BadInput:
        return
    assert Endpoint.parse(str(endpoint)) == endpoint
