"""Why a TLS handshake failed, in an operator's words.

OpenSSL names what its verification found by a number, and what the other end said by an alert.
With TLS 1.3 the client's certificate is judged after the client's handshake is done, so that a
client hears of a refusal at its first read.
"""

import ssl

from shoal.core.trust.identity import Reason, Refused

# Source: openssl-verification-options(1), x509_vfy.h of OpenSSL 3: X509_V_ERR_...
_VERIFICATION = {
    2: (Reason.OTHER_CLUSTER, "was signed by an authority that this node does not trust"),
    3: (Reason.OTHER, "comes from an authority whose list of revoked certificates is missing"),
    9: (Reason.NOT_YET_VALID, "does not hold yet: one of the two clocks is wrong"),
    10: (Reason.EXPIRED, "has expired: give that node a new one"),
    18: (Reason.OTHER_CLUSTER, "is signed by itself, by no authority of this cluster"),
    19: (Reason.OTHER_CLUSTER, "was signed by another cluster's authority"),
    20: (Reason.OTHER_CLUSTER, "was signed by another cluster's authority, or by a dropped one"),
    21: (Reason.OTHER_CLUSTER, "was signed by another cluster's authority"),
    23: (Reason.REVOKED, "was revoked"),
    26: (Reason.MALFORMED, "is not made for this end of a connection"),
    47: (Reason.OTHER_CLUSTER, "names another cluster than its authority may"),
    62: (Reason.NOT_THE_MEMBER, "is not for the member that was called"),
    64: (Reason.NOT_THE_MEMBER, "is not for the address of the member that was called"),
}
_TOO_OLD = "speaks an older TLS than 1.3"
_NO_TLS = "does not speak TLS: it has peer.plaintext, or is no agent"
# Source: err names of OpenSSL 3 (sslerr.h), as `ssl.SSLError.reason` gives them.
_ERRORS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (Reason.NONE, "showed no certificate"),
    "WRONG_VERSION_NUMBER": (Reason.NO_TLS, _NO_TLS),
    "HTTP_REQUEST": (Reason.NO_TLS, _NO_TLS),
    "HTTPS_PROXY_REQUEST": (Reason.NO_TLS, _NO_TLS),
    "PACKET_LENGTH_TOO_LONG": (Reason.NO_TLS, _NO_TLS),
    "RECORD_LAYER_FAILURE": (Reason.NO_TLS, _NO_TLS),
    "UNSUPPORTED_PROTOCOL": (Reason.NO_TLS, _TOO_OLD),
    "VERSION_TOO_LOW": (Reason.NO_TLS, _TOO_OLD),
    "TLSV1_ALERT_PROTOCOL_VERSION": (Reason.NO_TLS, _TOO_OLD),
    "NO_APPLICATION_PROTOCOL": (Reason.NO_TLS, "speaks none of the protocols of Shoal's peers"),
}
# Alerts of RFC 8446 section 6.2: what the other end says of this node's certificate.
_ALERTS = {
    "UNKNOWN_CA": "the peer does not trust the authority of this node's certificate",
    "CERTIFICATE_EXPIRED": "the peer takes this node's certificate for expired",
    "CERTIFICATE_REVOKED": "this node's certificate was revoked, the peer says",
    "CERTIFICATE_REQUIRED": "the peer wants a certificate, and this node showed none",
    "BAD_CERTIFICATE": "the peer refused this node's certificate",
    "CERTIFICATE_UNKNOWN": "the peer refused this node's certificate",
    "UNSUPPORTED_CERTIFICATE": "this node's certificate is not made for this, the peer says",
    "ACCESS_DENIED": "the peer refused this node's certificate",
}


def refusal(error: BaseException) -> Refused:
    """Return what `error`, raised by a handshake or by the first read after it, means."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        reason, text = _VERIFICATION.get(
            error.verify_code, (Reason.OTHER, f"does not hold: {error.verify_message}")
        )
        return Refused(reason, f"its certificate {text}")
    if isinstance(error, ssl.SSLError):
        name = error.reason or ""
        if name in _ERRORS:
            return Refused(*_ERRORS[name])
        for alert, text in _ALERTS.items():
            if name.endswith(f"ALERT_{alert}"):
                return Refused(Reason.REFUSED_BY_PEER, text)
        return Refused(Reason.OTHER, f"the handshake failed: {name or error}"[:256])
    return Refused(Reason.OTHER, f"the handshake failed: {error}"[:256])
