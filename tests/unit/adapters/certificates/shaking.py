"""A TLS handshake in memory: what each end makes of the other."""

import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended at one end: an error, or the connection's version and the other's certificate.

    A client's error may be what its first read brought.
    """

    error: ssl.SSLError | None = None
    version: str | None = None
    shown: bytes | None = None


def shake(
    client: ssl.SSLContext, server: ssl.SSLContext, *, host: str = "10.0.0.2"
) -> tuple[Ended, Ended]:
    """Let `client` call `server`, as `host`; return how it ended for each."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    errors: list[ssl.SSLError | None] = [None, None]
    for _ in range(3):
        for number, end in enumerate(ends):
            if errors[number] is None:
                errors[number] = _step(end)
    return _ended(ends[0], errors[0]), _ended(ends[1], errors[1])


def _step(end: ssl.SSLObject) -> ssl.SSLError | None:
    try:
        end.do_handshake()
        end.read(1)
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        return error
    return None


def _ended(end: ssl.SSLObject, error: ssl.SSLError | None) -> Ended:
    if error is not None:
        return Ended(error=error)
    return Ended(version=end.version(), shown=end.getpeercert(binary_form=True))
