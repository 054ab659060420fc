"""Private keys: what is taken, and that none is shown."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.keys import (
    PrivateKey,
    key_pem,
    make_key,
    read_key,
    sign,
    usable,
    verifies,
)


@pytest.mark.parametrize("key", [make_key(), ec.generate_private_key(ec.SECP256R1())])
def test_a_key_of_either_kind_is_read_back_and_signs(key: PrivateKey) -> None:
    again = read_key(key_pem(key), name="tls.key")
    signature = sign(again, b"piece")
    assert verifies(key.public_key(), signature, b"piece")
    assert not verifies(key.public_key(), signature, b"another")
    assert usable(key.public_key()) is not None


def test_keys_of_other_kinds_are_refused() -> None:
    for key in (
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - refused whatever its length
        ec.generate_private_key(ec.SECP384R1()),
    ):
        with pytest.raises(CertificateError, match=r"tls\.key: expected an Ed25519 or P-256 key"):
            read_key(key_pem(key), name="tls.key")  # type: ignore[arg-type]
        assert usable(key.public_key()) is None


def test_an_encrypted_key_is_refused_with_what_to_do() -> None:
    pem = make_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(CertificateError, match="store it unencrypted"):
        read_key(pem, name="tls.key")


def test_what_is_no_key_is_refused_without_being_told() -> None:
    text = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    with pytest.raises(CertificateError) as caught:
        read_key(text, name="tls.key")
    assert str(caught.value) == "tls.key: expected a private key in PEM"
    assert caught.value.__cause__ is None
