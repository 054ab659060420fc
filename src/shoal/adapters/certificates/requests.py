"""Certificate signing requests: what a node that makes its own key sends, and what is read of it.

Rule: a request proves that its sender holds the key, and nothing else. Who the sender is, and which
names it may have, comes from whoever asks the authority to sign; a request that asks for more than
that is refused, since nobody asks by mistake.
"""

from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from shoal.adapters.certificates.errors import UNREADABLE, CertificateError
from shoal.adapters.certificates.keys import PrivateKey, PublicKey, hash_for, usable
from shoal.adapters.certificates.names import alternative_names, subject
from shoal.core.trust.identity import node_name

REQUEST_BYTES_MOST = 16 * 1024

# Extensions that change nothing: what a key is used for, the authority decides alone.
_HARMLESS = (x509.KeyUsage, x509.ExtendedKeyUsage, x509.SubjectKeyIdentifier)


def make_request(
    key: PrivateKey, *, cluster: str, node: str, addresses: Iterable[str] = ()
) -> bytes:
    """Return a request in PEM by the holder of `key`, for the node `node`.

    Raises:
        BadInput: a name that cannot be one.
    """
    names = alternative_names(cluster, node=node_name(node), addresses=addresses, roles=())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject(cluster, node))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hash_for(key))
    )
    return request.public_bytes(Encoding.PEM)


def read_request(pem: bytes, *, allowed: Iterable[x509.GeneralName]) -> PublicKey:
    """Return the key that the sender of a request has proved to hold.

    Args:
        pem: the request.
        allowed: the names that the certificate will have; the request may ask for some of them.

    Raises:
        CertificateError: it is no request, the proof is wrong, or it asks for anything else.
    """
    if len(pem) > REQUEST_BYTES_MOST:
        raise CertificateError(f"the request has {len(pem)} bytes, more than {REQUEST_BYTES_MOST}")
    try:
        request = x509.load_pem_x509_csr(pem)
        proved = request.is_signature_valid
        key = usable(request.public_key())
        asked = list(request.extensions)
    except UNREADABLE as error:
        raise CertificateError(f"expected a certificate request in PEM: {error}"[:256]) from error
    if key is None:
        raise CertificateError("the request is for a key that is neither Ed25519 nor P-256")
    if not proved:
        raise CertificateError("the request was not signed by the key that it is for")
    may_have = list(allowed)
    for extension in asked:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            _require_allowed(value, may_have)
        elif isinstance(value, x509.BasicConstraints):
            if value.ca:
                raise CertificateError("the request asks to become a certificate authority")
        elif not isinstance(value, _HARMLESS):
            raise CertificateError(
                f"the request asks for the extension {extension.oid.dotted_string}, which nodes "
                f"do not get"
            )
    return key


def _require_allowed(names: x509.SubjectAlternativeName, allowed: list[x509.GeneralName]) -> None:
    for name in names:
        if name not in allowed:
            shown = str(getattr(name, "value", name))[:160]
            raise CertificateError(f"the request asks for the name {shown!r}, which is not its own")
