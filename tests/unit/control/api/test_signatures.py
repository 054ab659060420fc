"""Signatures against the cloud's published example; the SDKs check the rest in test_registry."""

import pytest

from shoal.control.api.signatures import canonical_query, parse_authorization, rpc_signature, same


def test_the_older_signature_is_that_of_the_documentation() -> None:
    # Source: the cloud's description of RPC signatures, DescribeRegions with its test key.
    parameters = {
        "Timestamp": "2016-02-23T12:46:24Z",
        "Format": "XML",
        "AccessKeyId": "testid",
        "Action": "DescribeRegions",
        "SignatureMethod": "HMAC-SHA1",
        "SignatureNonce": "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf",
        "Version": "2014-05-26",
        "SignatureVersion": "1.0",
        "Signature": "is not signed",
    }
    assert rpc_signature("GET", parameters, "testsecret") == "OLeaidS1JvxuMvnyHOwuJ+uX5qY="


def test_parameters_are_encoded_as_rfc_3986_says() -> None:
    assert canonical_query({"b": "a b*~/", "a": "ü"}) == "a=%C3%BC&b=a%20b%2A~%2F"


@pytest.mark.parametrize(
    "text",
    ["", "Basic x", "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=zz", "\udce4"],
)
def test_a_header_of_another_kind_is_none(text: str) -> None:
    assert parse_authorization(text) is None


def test_signatures_are_compared_whole() -> None:
    assert same("a", "a")
    assert not same("a", "ab")
    assert not same("a", "ü")
