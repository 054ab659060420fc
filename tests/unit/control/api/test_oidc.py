"""ID tokens: what a forged, damaged or odd one is refused with."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from shoal.control.api.faults import Fault
from shoal.control.api.oidc import MAX_TOKEN_CHARS, issuer_of, verify
from unit.control.api.served_cloud import ISSUER, encoded, id_token, jwks

NOW_S = 1_800_000_000
INVALID = "AuthenticationFail.OIDCToken.Invalid"
FORGED = "AuthenticationFail.OIDCToken.InvalidSignature"


def _code(token: str, keys: str | None = None) -> str:
    with pytest.raises(Fault) as caught:
        verify(token, jwks=jwks() if keys is None else keys, now_s=NOW_S)
    assert caught.value.status == 401
    return caught.value.code


def test_the_claims_of_a_good_token_are_returned() -> None:
    claims = verify(id_token(NOW_S), jwks=jwks(), now_s=NOW_S)
    assert (claims.issuer, claims.audiences) == (ISSUER, ("sts.aliyuncs.com",))
    assert verify(id_token(NOW_S, aud="one"), jwks=jwks(), now_s=NOW_S).audiences == ("one",)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "PS256", None, ["RS256"]])
def test_algorithms_that_need_no_private_key_are_unknown(algorithm: object) -> None:
    if isinstance(algorithm, list):
        algorithm = str(algorithm)
    assert _code(id_token(NOW_S, head={"alg": algorithm})) == INVALID


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": "1"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"sub": 7},
        {"aud": 7},
        {"aud": [7]},
        {"nbf": NOW_S + 1},
    ],
)
def test_claims_of_the_wrong_kind_are_refused(claims: dict[str, Any]) -> None:
    assert _code(id_token(NOW_S, **claims)) == INVALID


def test_a_token_ends_at_its_time() -> None:
    assert _code(id_token(NOW_S, exp=NOW_S)) == "AuthenticationFail.OIDCToken.Expired"


def test_a_changed_claim_or_an_unknown_key_is_a_wrong_signature() -> None:
    head, _, signature = id_token(NOW_S).split(".")
    other = id_token(NOW_S, sub="other").split(".")[1]
    assert _code(f"{head}.{other}.{signature}") == FORGED
    assert _code(id_token(NOW_S, head={"kid": "k2"})) == FORGED


@pytest.mark.parametrize("keys", ["", "{", "[]", '{"keys": 7}', '{"keys": []}', '{"keys": [{}]}'])
def test_without_the_issuers_keys_no_signature_is_right(keys: str) -> None:
    assert _code(id_token(NOW_S), keys) == FORGED


def test_a_signature_by_an_elliptic_curve_is_known() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    key = {
        "kty": "EC",
        "crv": "P-256",
        "kid": "k1",
        "x": encoded(numbers.x.to_bytes(32)),
        "y": encoded(numbers.y.to_bytes(32)),
    }
    signed = id_token(NOW_S, head={"alg": "ES256"}).rsplit(".", 1)[0]
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32) + s.to_bytes(32)
    keys = json.dumps({"keys": [key]})
    assert verify(f"{signed}.{encoded(signature)}", jwks=keys, now_s=NOW_S).issuer == ISSUER
    assert _code(f"{signed}.{encoded(signature[:-1])}", keys) == FORGED
    assert _code(f"{signed}.{encoded(bytes(64))}", keys) == FORGED


def test_a_token_without_an_issuer_or_too_long_is_refused() -> None:
    for token in (id_token(NOW_S, iss=None), "a" * (MAX_TOKEN_CHARS + 1)):
        with pytest.raises(Fault):
            issuer_of(token)


@given(st.text(max_size=40) | st.lists(st.text(max_size=12), min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused_and_never_a_crash(token: str) -> None:
    with pytest.raises(Fault):
        verify(token, jwks=jwks(), now_s=NOW_S)
