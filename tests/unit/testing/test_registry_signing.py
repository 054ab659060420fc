"""Signed URLs of the embedded registry's storage."""

from urllib.parse import parse_qsl

from shoal.core.digest import Digest
from shoal.testing.registry_signing import UrlSigner

DIGEST = Digest("sha256", "0" * 64)


def test_a_signature_is_good_for_one_method_and_blob() -> None:
    signer = UrlSigner(lifetime_s=60)
    query = dict(parse_qsl(signer.query("GET", DIGEST)))
    assert signer.allows("GET", DIGEST, query)
    assert not signer.allows("HEAD", DIGEST, query)
    assert not signer.allows("GET", Digest("sha256", "1" * 64), query)
    assert not signer.allows("GET", DIGEST, query | {"X-Amz-Expires": "99999"})
    assert not signer.allows("GET", DIGEST, query | {"X-Amz-Expires": "x"})
    assert not signer.allows("GET", DIGEST, {})


def test_a_signature_ends_with_its_lifetime_and_its_key() -> None:
    expired = UrlSigner(lifetime_s=0)
    assert not expired.allows("GET", DIGEST, dict(parse_qsl(expired.query("GET", DIGEST))))
    signer = UrlSigner(lifetime_s=60)
    query = dict(parse_qsl(signer.query("GET", DIGEST)))
    signer.revoke()
    assert not signer.allows("GET", DIGEST, query)
