"""The front's bounds. Not settings: none of them has needed to differ between nodes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrontLimits:
    """How much and how long; times in seconds."""

    connections: int = 1024
    """Client connections that are served. One containerd with 50 pulls of 3 layers each has 150;
    1,024 stays far below the usual limit of descriptors. More are accepted and answered 404, twice
    as many are dropped."""

    request_s: float = 10.0
    """A connection without a complete request for this long after it was made, or after the first
    byte of the next request, is dropped."""

    keep_alive_s: float = 75.0
    """An idle connection is closed after this. Go's client drops idle ones after 90 s
    (containerd: 30 s), so it is rarely us who close one that is about to be used."""

    lingering_s: float = 2.0
    """For how long the body of a refused upload is read, so that the answer gets through."""

    progress_s: float = 8.0
    """Without any byte arriving for this long, a client is answered 404, or cut if it was already
    being served: it then asks the registry."""

    progress_again_s: float = 2.0
    """The same for a blob that failed a client within `stalled_lately_s`: containerd asks us again
    after a cut, and should not wait twice before it asks the registry. Both together are 10 s, the
    longest that anything may hang."""

    stalled_lately_s: float = 30.0
    """For how long a stall is remembered."""

    stall_s: float = 60.0
    """A client that takes no byte for this long is dropped. It may be unpacking: containerd reads
    while it writes to a slow disk."""

    ask_s: float = 5.0
    """A registry has this long for a small answer. With `swarm_manifest_s` it stays within
    `progress_s`, so that even then a client is answered in time."""

    list_s: float = 30.0
    """A registry has this long for a list of tags or referrers, which may have megabytes."""

    swarm_manifest_s: float = 2.0
    """A manifest that does not come from store or peers within this is asked of the registry."""

    stretch_bytes: int = 64 * 1024 * 1024
    """Longest stretch that is sent before the client's reader is told how far it is."""
