"""Private keys: made, read, and used for signatures; never shown.

Ed25519 is what Shoal makes: keys and signatures of one length, and nothing to go wrong with random
numbers. ECDSA on P-256 is taken too, for authorities and keys that others made.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shoal.adapters.certificates.errors import UNREADABLE, CertificateError

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

# What files may hold at most: a bundle of a hundred authorities, a list of ten thousand revoked.
PEM_BYTES_MOST = 1024 * 1024


def make_key() -> Ed25519PrivateKey:
    """Return a new private key."""
    return Ed25519PrivateKey.generate()


def key_pem(key: PrivateKey) -> bytes:
    """Return `key` as PKCS #8 in PEM, unencrypted: for a file that only its owner reads."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def read_key(pem: bytes, *, name: str) -> PrivateKey:
    """Return the private key in `pem`.

    Args:
        pem: PEM, PKCS #8 or the older form of EC keys, not encrypted.
        name: what messages call it, a path most likely.

    Raises:
        CertificateError: it holds none that can be used. Nothing of the content is told.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError(
            f"{name}: the key is encrypted, and nobody is there to type its password: store it "
            f"unencrypted, readable by its owner only"
        ) from None
    except UNREADABLE:
        raise CertificateError(f"{name}: expected a private key in PEM") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    raise CertificateError(f"{name}: expected an Ed25519 or P-256 key")


def usable(key: object) -> PublicKey | None:
    """Return `key` if it is a public key of a kind that Shoal takes, else None."""
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    return None


def hash_for(key: PrivateKey) -> SHA256 | None:
    """Return what a certificate's signature by `key` hashes with; None where the key says."""
    return None if isinstance(key, Ed25519PrivateKey) else SHA256()


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the signature of `message`: 64 bytes by Ed25519, 72 at most by P-256."""
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ECDSA(SHA256()))


def verifies(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` is one of `message` by the holder of `key`."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            key.verify(signature, message, ECDSA(SHA256()))
    except InvalidSignature:
        return False
    return True
