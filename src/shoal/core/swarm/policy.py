"""The numbers that the swarm decides by, each with its source."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Constants of the swarm; the simulator varies them, the agent uses the defaults.

    Where a source is named as docs/design, the file holds the measurement.
    """

    neighbours: int = 16
    """Peers to exchange a blob's pieces with. 8 cost 1 %, 32 gain 2 % (docs/design/0001)."""

    neighbours_most: int = 32
    """Where a node refuses further neighbours of a blob: twice what it seeks for itself."""

    mesh_most: int = 17
    """In a site of so many members every node keeps a connection to every other: nothing has to be
    dialed when a rollout begins, and a member that comes back is noticed at once."""

    uploads_at_once: int = 4
    """Pieces sent at the same time: with few, a receiver whose link is full leaves the sender's
    idle; many make every piece late (docs/design/0006)."""

    requests_queued_most: int = 3
    """Requests that wait for an upload slot before the next is answered Busy. With the slots they
    are about as many as a node has out: more, and they gather at the few that have the rarest
    pieces while the links of others idle (docs/design/0006)."""

    requests_per_neighbour: int = 3
    """Requests outstanding at one neighbour: the one being sent, and what hides the round trip."""

    requests_least: int = 6
    """Requests outstanding at all neighbours while nothing is known of the link; with fewer, links
    idle at their receivers' end (docs/design/0006)."""

    requests_most: int = 32
    """The same at the fastest links; bounds the memory that receiving takes."""

    request_horizon_s: float = 0.15
    """How much of the link's measured rate to keep outstanding, beyond `requests_least` / 2."""

    window_bytes: int = 64 * 1024 * 1024
    """How far ahead of its reader a blob is fetched at least."""

    window_pieces: int = 128
    """The same in pieces. With 16 of a large blob's, neighbours soon have nothing for each other;
    without bound, hashing the blob in order takes long after the last piece (docs/design/0006)."""

    registry_fetches: int = 2
    """Requests to the registry at once on a node: the second hides the gap between two."""

    registry_stall_s: float = 1.5
    """A fetch without progress for so long no longer counts as one of them. It ends by itself: the
    registry client gives up after 6 s."""

    leases_at_once: int = 5
    """Leases of one blob that are out at once: enough to keep the registry's link full, few enough
    that the first pieces arrive soon and the nodes have something to give each other. 10 cost 8
    nodes at 100 Mbit/s 4 % (docs/design/0006)."""

    lease_bytes_most: int = 16 * 1024 * 1024
    """The longest run of adjacent pieces in one lease (and one Range request)."""

    lease_least_s: float = 0.1
    """Leases of a blob that are over sooner are made twice as long: where the registry is far or
    fast, its link would idle between short ones (docs/design/0006)."""

    heard_most: int = 192
    """Nodes that one tracker hears. In a site of more members a blob has deputies, each of which
    hears so many at most on average, and its tracker as many delegates: with neighbours of its own
    a node has some 230 handshakes for a blob (docs/design/0012)."""

    lease_patience_s: float = 3.0
    """A lease whose holder shows no progress for so long goes to another node. design: 3 s."""

    lease_renewal_s: float = 1.0
    """How often a holder tells its tracker that bytes arrive."""

    dial_patience_s: float = 0.5
    """A tracker that has not answered a dial for so long may be dead: the member that would track
    next is dialed too."""

    announce_interval_s: float = 5.0
    """How often a node that wants a blob tells its tracker what it has."""

    hold_announce_interval_s: float = 240.0
    """The same for a node that has the whole blob."""

    young_s: float = 30.0
    """How long after it joined its site a node may be unknown to others: they look up their members
    every 10 s, and a name server may give them an answer from before."""

    settling_s: float = 2.0
    """How long at most a node that joined waits to be connected to every member of a small site:
    until its first tick and for a dial to a dead member."""

    told_within_s: float = 0.2
    """Whoever has what this node tracks has told it so long after they were connected."""

    join_patience_s: float = 1.5
    """How long a node that joined waits for members that refuse it before it asks others, and as a
    tracker for what holders will tell it before it leases. Both together are half of what a client
    waits for its first byte at most."""

    refusal_s: float = 0.25
    """A member that refuses this node is dialed again after so long; twice as long each time."""

    refusal_most_s: float = 4.0
    """The longest between two such dials."""

    lone_announce_interval_s: float = 1.0
    """The same for a node that has no neighbour for the blob: it may have been too early."""

    lone_patience_s: float = 2.0
    """A tracker that has led a node without neighbours to nothing for so long is told so; after
    `stall_s` more the next is asked. Together a third of what clients wait for."""

    takeover_grace_s: float = 0.75
    """How long a tracker that takes over waits for others to announce before it leases."""

    have_interval_s: float = 0.025
    """How often at most a neighbour is told of new pieces: about a piece-time at 100 Mbit/s, so
    that knowledge stays fresh and a fast link does not drown in messages."""

    watch_interval_s: float = 0.1
    """How often stalls, leases and announcements are looked after."""

    stall_s: float = 1.0
    """A piece without progress for so long is asked for elsewhere too. design: "a second or so"."""

    hedge_s: float = 1.0
    """A piece that has not begun to arrive after so long may be asked for elsewhere when nothing
    else is left to ask for."""

    alone_after_s: float = 6.0
    """A blob without any progress for so long is fetched from the registry without a lease."""

    give_up_s: float = 9.0
    """A blob without any progress for so long fails its readers: within containerd's patience."""

    released_s: float = 30.0
    """How long a blob that nobody reads goes on being fetched."""

    suspect_s: float = 2.0
    """How long a peer whose connection broke is left alone; doubles with each failure in a row."""

    unreachable_s: float = 10.0
    """The same for a peer that could not be dialed. Several times what a dial to a dead node takes
    (2 s), or among several dead members the first would be tried again before the last."""

    suspect_most_s: float = 60.0
    """The longest that a peer is left alone."""

    banned_s: float = 60.0
    """How long a peer that sent wrong bytes, or signed for some, is left alone. Longer than its
    victims' next attempts take to come, no longer, because a registry may have lied to it."""

    banned_most_s: float = 600.0
    """The same for one that does so again and again: each time twice as long, up to this, until it
    has done nothing of the kind for as long."""


DEFAULT = Policy()
