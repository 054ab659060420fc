"""The error of this package, and what the library raises for bytes that it cannot read."""

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.x509 import (
    AttributeNotFound,
    DuplicateExtension,
    InvalidVersion,
    UnsupportedGeneralNameType,
)

from shoal.core.errors import BadInput

# Found by changing every byte of a certificate: the library parses parts of it when first asked. An
# InternalError is what it makes of a key whose length is another curve's.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    AttributeNotFound,
    DuplicateExtension,
    InternalError,
    InvalidVersion,
    UnsupportedGeneralNameType,
)


class CertificateError(BadInput):
    """A certificate, key, request or list cannot be used; the message says which and why."""

    exit_code = 1
