"""ID tokens: a JWT's signature against its issuer's keys, then its claims.

Only asymmetric algorithms are known: with HS256 a public key would do as a secret, and `none`
needs no key at all.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

from shoal.control.api.faults import Fault

MAX_TOKEN_CHARS = 20_000  # Source: the cloud's bound for OIDCToken
_RSA: Mapping[str, Callable[[], hashes.HashAlgorithm]] = {
    "RS256": hashes.SHA256,
    "RS384": hashes.SHA384,
    "RS512": hashes.SHA512,
}
_P256_BYTES = 32


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says; its signature is right."""

    subject: str
    issuer: str
    audiences: tuple[str, ...]
    issued_at_s: int
    expires_at_s: int


def verify(token: str, *, jwks: str, now_s: int) -> Claims:
    """Return the claims of a token.

    Args:
        token: The JWT.
        jwks: The issuer's JWK set.
        now_s: The time, in seconds of Unix time.

    Raises:
        Fault: With one of the cloud's codes for OIDC tokens.
    """
    head, claims, signed, signature = _parts(token)
    _check_signature(head, signed, signature, jwks)
    audience = claims.get("aud")
    audiences = tuple(audience) if isinstance(audience, list) else (audience,)
    expires, issued = claims.get("exp"), claims.get("iat", 0)
    not_before = claims.get("nbf", 0)
    if not all(
        isinstance(one, str) for one in (*audiences, claims.get("iss"), claims.get("sub"))
    ) or not (_is_number(expires) and _is_number(issued) and _is_number(not_before)):
        raise _invalid("a claim is missing or of the wrong kind")
    if expires <= now_s:
        raise _fault("Expired", "This JsonWebToken is expired.")
    if not_before > now_s:
        raise _invalid("it is not valid yet")
    return Claims(claims["sub"], claims["iss"], audiences, int(issued), int(expires))


def issuer_of(token: str) -> str:
    """Return the issuer that a token names, before anything is known to be true."""
    issuer = _parts(token)[1].get("iss")
    if not isinstance(issuer, str):
        raise _invalid("it names no issuer")
    return issuer


def key_id_of(token: str) -> str:
    """Return the key that a token says it is signed with, or "" if it does not say."""
    key_id = _parts(token)[0].get("kid")
    return key_id if isinstance(key_id, str) else ""


def _parts(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes, bytes]:
    if len(token) > MAX_TOKEN_CHARS:
        raise _invalid(f"longer than {MAX_TOKEN_CHARS} characters")
    pieces = token.split(".")
    if len(pieces) != 3:
        raise _invalid("it does not have three parts")
    try:
        head, claims = (json.loads(_decoded(piece)) for piece in pieces[:2])
        signature = _decoded(pieces[2])
        signed = ".".join(pieces[:2]).encode("ascii")
    except (ValueError, RecursionError):
        raise _invalid("it cannot be decoded") from None
    if not isinstance(head, dict) or not isinstance(claims, dict):
        raise _invalid("its parts are not objects")
    return head, claims, signed, signature


def _check_signature(head: Mapping[str, Any], signed: bytes, signature: bytes, jwks: str) -> None:
    algorithm = head.get("alg")
    if algorithm not in {*_RSA, "ES256"}:
        raise _invalid("its algorithm is not RS256, RS384, RS512 or ES256")
    for key in _keys(jwks):
        if key.get("kid") != head.get("kid") or key.get("use", "sig") != "sig":
            continue
        if key.get("alg", algorithm) != algorithm:
            continue
        try:
            _verify_with(key, algorithm, signed, signature)
        except (InvalidSignature, ValueError, KeyError, TypeError):
            continue
        return
    raise _fault("InvalidSignature", "The signature of this JsonWebToken is invalid.")


def _verify_with(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> None:
    if algorithm in _RSA and key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(_number(key["e"]), _number(key["n"])).public_key()
        public.verify(signature, signed, padding.PKCS1v15(), _RSA[algorithm]())
    elif algorithm == "ES256" and key["kty"] == "EC" and key["crv"] == "P-256":
        if len(signature) != 2 * _P256_BYTES:
            raise InvalidSignature
        r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
        encoded = utils.encode_dss_signature(int.from_bytes(r), int.from_bytes(s))
        numbers = ec.EllipticCurvePublicNumbers(
            _number(key["x"]), _number(key["y"]), ec.SECP256R1()
        )
        numbers.public_key().verify(encoded, signed, ec.ECDSA(hashes.SHA256()))
    else:
        raise InvalidSignature


def _keys(jwks: str) -> list[Mapping[str, Any]]:
    try:
        keys = json.loads(jwks)["keys"]
        return [key for key in keys if isinstance(key, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _fault("InvalidSignature", "The issuer's keys are not a JWK set.") from None


def _decoded(piece: str) -> bytes:
    return base64.b64decode(piece + "=" * (-len(piece) % 4), altchars=b"-_", validate=True)


def _number(text: str) -> int:
    return int.from_bytes(_decoded(text))


def _is_number(value: object) -> TypeGuard[float]:
    # Neither NaN nor infinity is in the range, which JSON as Python reads it may hold.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _invalid(why: str) -> Fault:
    return _fault("Invalid", f"This JsonWebToken is invalid: {why}.")


def _fault(code: str, message: str) -> Fault:
    return Fault(401, f"AuthenticationFail.OIDCToken.{code}", message)
