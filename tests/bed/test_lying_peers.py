"""Members of the site that lie: whatever one sends, pulls succeed, with the right bytes, soon."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from bed.watching import SLOW, CriPull, Fetch, Slow, peer_id, spec_of, until
from shoal.core.membership.placement import ranked
from shoal.core.peer import PeerId
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import Service
from shoal.testing.image_layout import BuiltImage
from shoal.testing.lying_peer import Lie

# What an agent says of a peer with which it ends the connection.
REASONS = {
    Lie.WRONG_HASH: "keeps sending pieces that fail their check",
    Lie.CUT: "the peer closed the connection",
    Lie.WRONG_OFFSET: "does not continue piece",
    Lie.OVERLONG: "does not continue piece",
    Lie.HUGE_BLOCK: "block of 1073741824 bytes is outside",
    Lie.HUGE_FRAME: "frame of 1073741824 bytes is over",
    Lie.GARBAGE: "broke the protocol",
}
LAYER_BYTES = 2_000_000  # eight pieces
MOST_S = 30.0


class Liars:
    """Peers on the bed's last node, each with an address of its own and a blob to lie about."""

    def __init__(self, bed: Bed, lies: Sequence[Lie]) -> None:
        self._node = bed.nodes[-1]
        self._hosts = {lie: f"10.77.2.{number}" for number, lie in enumerate(lies, 1)}
        self.honest = bed.nodes[:-1]
        self._registry = bed.registry
        self._log = bed.folder / "liars.log"
        self._config = bed.folder / "liars.json"
        self._service = Service(
            "the liars",
            self._node.command(
                [sys.executable, "-m", "shoal.testing.lying_peer", str(self._config)]
            ),
            log=self._log,
        )
        for host in self._hosts.values():
            self._node.run("ip", "addr", "add", f"{host}/16", "dev", "eth0")

    def name(self, lie: Lie) -> PeerId:
        """What the peer with this lie is called."""
        return PeerId(f"{self._hosts[lie]}:{PEER_PORT}")

    @property
    def members(self) -> list[PeerId]:
        """The site: honest nodes and liars."""
        return [*map(peer_id, self.honest), *map(self.name, self._hosts)]

    def tracker(self, image: BuiltImage) -> PeerId:
        """Who tracks the one layer of an image."""
        return ranked(spec_of(self._registry, image.layers[0]).tag, self.members)[0]

    def tracked_by(self, lie: Lie) -> Callable[[BuiltImage], bool]:
        """Return a test whether the peer with this lie tracks an image's one layer."""
        return lambda image: self.tracker(image) == self.name(lie)

    def start(self, blobs: Mapping[Lie, Pushed]) -> None:
        """Let them lie, each about one image's layer, and wait until all have announced it."""
        honest = [str(peer_id(node)) for node in self.honest]
        peers = [
            {
                "me": self.name(lie),
                "members": [*honest, self.name(lie)],
                "registry": self._registry.address(),
                "digest": pushed.image.layers[0].digest,
                "blob": str(pushed.image.blob(pushed.image.layers[0].digest)),
                "lie": lie,
            }
            for lie, pushed in blobs.items()
        ]
        self._config.write_text(json.dumps(peers))
        self._log.unlink(missing_ok=True)
        self._service.start()
        self._service.wait_until(
            lambda: all(self.heard("announced", lie) for lie in blobs), timeout_s=60
        )

    def heard(self, what: str, lie: Lie) -> int:
        """How often a liar did or was asked something."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        said = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return Counter((entry["what"], entry["lie"]) for entry in said)[what, lie.value]

    def stop(self) -> None:
        """End them, and take their addresses away."""
        self._service.kill()
        for host in self._hosts.values():
            self._node.run("ip", "addr", "del", f"{host}/16", "dev", "eth0", check=False)


@pytest.fixture
def liars(bed: Bed) -> Iterator[Callable[[Sequence[Lie]], Liars]]:
    """Call it with lies to have a site of three agents and a liar for each lie."""
    made: list[Liars] = []

    def make(lies: Sequence[Lie]) -> Liars:
        made.append(Liars(bed, lies))
        members = [str(member) for member in made[-1].members]
        bed.start_agents({"membership": {"static": members}}, nodes=made[-1].honest)
        return made[-1]

    yield make
    for liars in made:
        liars.stop()


def pull_all(liars: Liars, blobs: Mapping[Lie, Pushed]) -> dict[Lie, Node]:
    """Pull every image on some honest node at the same time; return which node pulled which."""
    nodes = {lie: liars.honest[number % len(liars.honest)] for number, lie in enumerate(blobs)}
    pulls = [Fetch(nodes[lie], pushed) for lie, pushed in blobs.items()]
    for lie, pull in zip(blobs, pulls, strict=True):
        assert pull.seconds() < MOST_S, lie
    return nodes


def test_a_peer_that_sends_what_it_should_not_is_found_out_and_done_without(
    bed: Bed, fresh_image: FreshImages, liars: Callable[[Sequence[Lie]], Liars]
) -> None:
    lies: list[Lie] = [
        lie for lie in Lie if lie not in (Lie.NONE, Lie.ABSURD_TRACKING, *Lie.of_whole_pieces())
    ]
    site = liars(lies)
    honest = [peer_id(node) for node in site.honest]
    blobs = {
        lie: fresh_image(
            layer_bytes=(LAYER_BYTES,), fits=lambda image: site.tracker(image) in honest
        )
        for lie in lies
    }
    began_s = time.monotonic()
    site.start(blobs)
    nodes = pull_all(site, blobs)
    for lie, node in nodes.items():
        assert site.heard("lied", lie), f"nobody asked the peer with the lie {lie}"
        if (reason := REASONS.get(lie)) is not None:
            log = node.agent.service.log.read_text()
            lines = [line for line in log.splitlines() if site.name(lie) in line]
            assert any(reason in line for line in lines), (lie, lines)
        # Each time after a longer pause, by each of three nodes; on a busy machine for minutes.
        lost_most = 20 + (time.monotonic() - began_s) / 4
        assert site.heard("lost", lie) < lost_most, f"the peer with the lie {lie} is dialed on"
    for node in site.honest:
        assert node.agent.metrics()["shoal_process_anonymous_bytes"] < 200e6


def test_a_tracker_that_leads_nowhere_costs_seconds(
    bed: Bed, fresh_image: FreshImages, liars: Callable[[Sequence[Lie]], Liars]
) -> None:
    # It says that there is nothing to lease, since it has all pieces; and then, asked for one:
    lies = [Lie.SILENCE, Lie.STALL, Lie.WRONG_HASH, Lie.CUT, Lie.HUGE_FRAME, Lie.ABSURD_TRACKING]
    site = liars(lies)
    blobs = {
        lie: fresh_image(layer_bytes=(LAYER_BYTES,), fits=site.tracked_by(lie)) for lie in lies
    }
    site.start(blobs)
    pull_all(site, blobs)


def test_wrong_bytes_with_the_hash_that_they_have_cost_one_attempt_and_their_sender_its_place(
    bed: Bed,
    fresh_image: FreshImages,
    liars: Callable[[Sequence[Lie]], Liars],
    slow: Slow,
) -> None:
    site = liars([Lie.WRONG_BYTES])
    node = site.honest[0]
    pushed = fresh_image(
        layer_bytes=(8 << 20,), fits=lambda image: site.tracker(image) == peer_id(site.honest[1])
    )
    site.start({Lie.WRONG_BYTES: pushed})
    slow(bed.nodes[-1].name, SLOW)  # so that bytes reach the client before all are here
    first = CriPull(node, pushed)
    # Only the whole blob's digest tells. containerd has by then all but the end, gets the end from
    # the agent with a Range, and finds that the digest is another one.
    assert "unexpected commit digest" in first.failed()
    log = node.agent.service.log
    liar = site.name(Lie.WRONG_BYTES)
    for event in ("blob_rejected", f'peer_sent_wrong_bytes", "peer": "{liar}'):
        assert until(lambda event=event: event in log.read_text()), event  # type: ignore[misc]
    # What containerd has kept goes with the next round of its garbage collector; an attempt before
    # that would take it up, and fail as the first did. kubelet waits ten seconds.
    assert until(lambda: first.received_bytes == 0)
    asked = site.heard("asked", Lie.WRONG_BYTES)
    assert CriPull(node, pushed).seconds() < MOST_S
    assert site.heard("asked", Lie.WRONG_BYTES) == asked
    assert pushed.copies < 1.01


def test_nodes_that_passed_on_a_liars_bytes_do_not_ban_each_other(
    bed: Bed,
    fresh_image: FreshImages,
    liars: Callable[[Sequence[Lie]], Liars],
    slow: Callable[[str, str], None],
) -> None:
    site = liars([Lie.WRONG_BYTES])
    pushed = fresh_image(
        layer_bytes=(12 << 20,), fits=lambda image: site.tracker(image) == peer_id(site.honest[1])
    )
    site.start({Lie.WRONG_BYTES: pushed})
    slow(bed.nodes[-1].name, "50mbit")  # so that the others pass on what each has of it
    for pull in [Fetch(node, pushed) for node in site.honest]:
        pull.failed()
    assert until(
        lambda: all(Fetch(node, pushed).failed() == "" for node in site.honest), timeout_s=60
    )
    for node in site.honest:
        log = node.agent.service.log.read_text().splitlines()
        named = [line for line in log if "peer_sent_wrong_bytes" in line]
        assert all(site.name(Lie.WRONG_BYTES) in line for line in named), named
    assert pushed.copies < 2.1


@pytest.mark.parametrize("lie", [Lie.WRONG_OFFSET, Lie.CUT])
def test_a_tracker_that_breaks_the_protocol_is_not_dialed_again_and_again(
    bed: Bed, fresh_image: FreshImages, liars: Callable[[Sequence[Lie]], Liars], lie: Lie
) -> None:
    site = liars([lie])
    pushed = fresh_image(layer_bytes=(LAYER_BYTES,), fits=site.tracked_by(lie))
    site.start({lie: pushed})
    pull_all(site, {lie: pushed})
    assert site.heard("lost", lie) < 20
