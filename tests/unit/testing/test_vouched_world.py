"""Sites with certificates in virtual time: who signs for wrong bytes is named, and done without."""

from collections.abc import Callable

import pytest

from shoal.core.blob import MIB, BlobSpec
from shoal.core.peer import PeerId
from shoal.testing.swarm_script import blob
from shoal.testing.vouched_world import VouchedWorld

RATE = 12.0e6  # bytes a second: 100 Mbit/s


def world(nodes: int, *, seed: int = 1) -> VouchedWorld:
    return VouchedWorld(nodes=nodes, rate_bytes_per_s=RATE, registry_bytes_per_s=RATE, seed=seed)


def image(name: str, size_bytes: int = 16 * MIB) -> BlobSpec:
    return blob(size_bytes=size_bytes, name=name)


def pull(it: VouchedWorld, spec: BlobSpec, *names: PeerId, most_s: float = 120.0) -> None:
    for name in names:
        it.want(name, spec)
    nodes = [it.nodes[name] for name in names]
    it.run(until_s=it.now_s + most_s, done=lambda: all(spec.tag in n.finished_s for n in nodes))
    assert all(spec.tag in node.finished_s for node in nodes), [n.gave_up for n in nodes]


def copies(it: VouchedWorld, spec: BlobSpec) -> float:
    return it.registry_bytes / spec.length_bytes


def judge(it: VouchedWorld, spec: BlobSpec, liar: PeerId, honest: list[PeerId]) -> None:
    """Every node that was lied to names the liar and nobody else, after one attempt."""
    for name in honest:
        attempts = it.nodes[name].rejections.get(spec.tag, 0)
        assert attempts <= 1, f"{name} failed {attempts} times"
        assert it.named[name] == ({liar} if attempts else set()), (name, it.named[name])


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_where_nobody_lies_a_rollout_costs_one_copy(nodes: int) -> None:
    it, spec = world(nodes), image("honest")
    pull(it, spec, *it.live)
    assert copies(it, spec) <= 1.05
    assert not any(it.named.values())


@pytest.mark.parametrize("nodes", [2, 3, 4, 8])
def test_a_holder_that_signs_for_other_bytes_is_named_by_all(nodes: int) -> None:
    for seed in range(4):
        it, spec = world(nodes, seed=seed), image(f"held {seed}")
        liar, *honest = it.live
        it.hold(liar, spec)
        it.lies[liar] = lambda _: True
        it.run(until_s=5)
        pull(it, spec, *honest)
        judge(it, spec, liar, honest)
        assert any(it.named.values())
        assert copies(it, spec) <= 1.2, seed


LIES: dict[str, Callable[[int], bool]] = {
    "everything": lambda _: True,
    "some": lambda piece: piece % 5 == 0,
    "one": lambda piece: piece == 7,
}


@pytest.mark.parametrize("what", LIES)
@pytest.mark.parametrize("nodes", [2, 3, 4, 8])
def test_a_node_that_signs_for_other_bytes_than_it_fetched_is_named_by_whom_it_misled(
    nodes: int, what: str
) -> None:
    for seed in range(4):
        it, spec = world(nodes, seed=seed), image(f"fetched {seed}")
        liar, *honest = it.live
        it.lies[liar] = LIES[what]
        it.want(liar, spec)
        pull(it, spec, *honest)
        judge(it, spec, liar, honest)
        assert copies(it, spec) <= 2.2, (seed, copies(it, spec))
        assert it.now_s <= 15.0, seed


def test_after_it_was_named_a_liar_misleads_nobody() -> None:
    it, first, second = world(4), image("first"), image("second")
    liar, *honest = it.live
    it.hold(liar, first)
    it.hold(liar, second)
    it.lies[liar] = lambda _: True
    it.run(until_s=5)
    pull(it, first, *honest)
    pull(it, second, *honest)
    assert all(second.tag not in it.nodes[name].rejections for name in honest)


def test_a_node_that_its_registry_lies_to_fails_that_pull_and_no_other_node_does() -> None:
    # It signs for what it was told, as an insider does; but it is misled itself.
    for seed in range(4):
        it, spec = world(4, seed=seed), image(f"misled {seed}")
        misled, *others = it.live
        it.lies[misled] = lambda _: True
        it.misled.add(misled)
        it.want(misled, spec)
        pull(it, spec, *others)
        judge(it, spec, misled, others)
        it.run(until_s=it.now_s + 60)
        assert it.nodes[misled].rejections.get(spec.tag, 0) <= 2, "it is not asked again and again"
