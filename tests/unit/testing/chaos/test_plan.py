"""The plan of a chaos run: a pure function of its seed that keeps its own rules."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.testing.chaos.plan import KINDS, MENDED_S, Fault, FaultKind, Scope, plan

SEEDS = st.integers(0, 2**32 - 1)


def test_the_same_seed_gives_the_same_faults_and_another_gives_others() -> None:
    assert plan(7, seconds=60, nodes=4) == plan(7, seconds=60, nodes=4)
    assert plan(7, seconds=60, nodes=4) != plan(8, seconds=60, nodes=4)


@settings(max_examples=50)
@given(seed=SEEDS, nodes=st.integers(2, 8))
def test_all_is_mended_some_time_before_the_end(seed: int, nodes: int) -> None:
    faults = plan(seed, seconds=60, nodes=nodes)
    assert all(fault.until_s <= 60 - MENDED_S + 0.02 for fault in faults)
    assert all(fault.lasts_s >= 0 for fault in faults)
    assert list(faults) == sorted(faults, key=lambda fault: fault.at_s)


@settings(max_examples=50)
@given(seed=SEEDS, nodes=st.integers(2, 8))
def test_at_most_half_of_the_nodes_are_broken_at_once_and_each_by_one_fault(
    seed: int, nodes: int
) -> None:
    faults = plan(seed, seconds=120, nodes=nodes)
    of_nodes = [fault for fault in faults if KINDS[fault.kind].scope is Scope.NODE]
    for fault in of_nodes:
        others = [
            other.node
            for other in of_nodes
            if other is not fault and other.at_s <= fault.at_s < other.until_s - 0.02
        ]
        assert fault.node not in others
        assert len(set(others)) < max(1, nodes // 2)


@settings(max_examples=50)
@given(seed=SEEDS)
def test_one_thing_at_a_time_is_wrong_with_the_registry(seed: int) -> None:
    faults = [f for f in plan(seed, seconds=120, nodes=4) if KINDS[f.kind].scope is Scope.REGISTRY]
    assert all(after.at_s >= before.until_s - 0.02 for before, after in pairwise(faults))


def test_two_minutes_meet_every_kind() -> None:
    for seed in range(20):
        kinds = {fault.kind for fault in plan(seed, seconds=120, nodes=4, tls=True)}
        assert kinds == set(FaultKind), seed
        plain = {fault.kind for fault in plan(seed, seconds=120, nodes=4)}
        assert plain == set(FaultKind) - {FaultKind.ROTATE_CERTIFICATES}, seed


def test_a_plan_without_lies_is_the_same_without_them() -> None:
    with_lies = plan(3, seconds=600, nodes=4)
    without = plan(3, seconds=600, nodes=4, lies=False)
    assert without == tuple(fault for fault in with_lies if not fault.is_lie)
    assert len(without) < len(with_lies)


def test_every_kind_has_its_rule() -> None:
    assert KINDS.keys() == set(FaultKind)


def test_only_wrong_bytes_under_a_hash_of_their_own_are_a_lie_that_may_cost_an_attempt() -> None:
    def lies(kind: FaultKind, argument: str = "") -> bool:
        return Fault(0, kind, 1, None, argument).is_lie

    assert lies(FaultKind.LIAR, "wrong-bytes")
    assert lies(FaultKind.REGISTRY_LIES)
    assert not lies(FaultKind.LIAR, "wrong-hash")
    assert not lies(FaultKind.REGISTRY_TRUNCATES)


def test_a_fault_says_when_where_and_what() -> None:
    fault = Fault(1.5, FaultKind.SLOW_LINK, 2.0, 0, "5mbit")
    assert str(fault) == "   1.50 s to    3.50 s n1: the node's link is slow (5mbit)"
