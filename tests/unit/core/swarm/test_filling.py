"""Which blobs are looked at after an event: those it concerns, and no others."""

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from shoal.core.blob import KIB, MIB, BlobTag
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.filling import Filling, Standing
from shoal.core.wire.messages import Busy, Have, Join, Request
from shoal.testing.swarm_script import Script, blob, said
from shoal.testing.swarm_world import World
from unit.core.swarm.scripts import B

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO, THREE = (blob(pieces=8, name=name) for name in ("one", "two", "three"))


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> "Iterator[Counter[BlobTag]]":
    """How often each blob was looked at."""
    counted: Counter[BlobTag] = Counter()
    look = Filling._look

    def counting(self: Filling, tag: BlobTag, standing: Standing, *, at_leases: bool) -> bool:
        counted[tag] += 1
        return look(self, tag, standing, at_leases=at_leases)

    monkeypatch.setattr(Filling, "_look", counting)
    yield counted
    counted.clear()


def wanting_three() -> Script:
    """A node that wants three blobs, none of which neighbour b has anything of."""
    script = Script("me", "a", "b")
    script.connect("a", "b")
    script.tell(on.BlobWanted(ONE), on.BlobWanted(TWO), on.BlobWanted(THREE))
    for spec in (ONE, TWO, THREE):
        script.hear("b", Join(spec, 0))
    return script


def requested(effects: list[do.Effect]) -> list[tuple[BlobTag, int]]:
    return [(m.tag, m.piece) for m in said(effects, to="b") if isinstance(m, Request)]


def test_news_of_one_blob_lets_no_other_be_looked_at(looks: Counter[BlobTag]) -> None:
    script = wanting_three()
    looks.clear()
    script.hear("b", Have(TWO.tag, (3,)))
    assert set(looks) == {TWO.tag}


def test_a_request_that_comes_free_goes_to_the_blob_that_was_opened_first(
    looks: Counter[BlobTag],
) -> None:
    script = wanting_three()
    script.hear("b", Have(THREE.tag, tuple(range(8))))
    script.hear("b", Have(TWO.tag, tuple(range(8))))
    most = script.swarm.policy.requests_per_neighbour
    assert script.swarm.filling.out == 2 * most
    looks.clear()
    first = next(iter(script.swarm.exchanges[THREE.tag].in_flight))
    effects = script.tell(on.PieceStored(THREE.tag, first, B))
    assert len(requested(effects)) == 1
    assert ONE.tag not in looks, "nobody has anything of it"


def test_a_neighbour_that_was_busy_is_asked_again_when_its_time_has_come() -> None:
    script = wanting_three()
    effects = script.hear("b", Have(ONE.tag, (0,)))
    assert requested(effects) == [(ONE.tag, 0)]
    assert not requested(script.hear("b", Busy(ONE.tag, 0)))
    script.now_s += 0.09
    assert not requested(script.hear("b", Have(TWO.tag, (99,))))
    script.now_s += 0.02
    effects = script.hear("b", Have(TWO.tag, (5,)))
    assert requested(effects) == [(ONE.tag, 0), (TWO.tag, 5)]


def _look_at_all(self: Filling) -> bool:
    self._look_at_all()
    return True


def rollout(monkeypatch: pytest.MonkeyPatch | None) -> tuple[str, float]:
    """Pull eight layers to six nodes; with `monkeypatch`, look at every blob at every event."""
    if monkeypatch is not None:
        monkeypatch.setattr(Filling, "_look_at_some", _look_at_all)
    it = World(
        nodes=6, rate_bytes_per_s=12.5e6, registry_bytes_per_s=12.5e6, check_every=17, seed=3
    )
    it.traced = True
    sizes = (6 * MIB, 3 * KIB, 700 * KIB, 1, 12 * MIB, 2 * KIB, 2 * MIB, 300 * KIB)
    specs = [blob(size_bytes=size, name=f"layer {size}") for size in sizes]
    for name in it.live:
        for spec in specs:
            it.want(name, spec)
    it.run(until_s=60.0, done=lambda: it.finished(*specs))
    return it.trace, it.now_s


def test_what_is_not_looked_at_would_have_done_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    few = rollout(None)
    assert few == rollout(monkeypatch)
    assert few[1] < 60.0
