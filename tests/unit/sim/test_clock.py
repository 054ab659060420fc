"""Virtual time."""

import gc

from shoal.sim.clock import Clock


def test_actions_happen_in_order_of_time_and_equal_times_in_order_of_queueing() -> None:
    clock, seen = Clock(), []
    clock.at(2.0, lambda a, b: seen.append((a, b, clock.now_s)), "late", 1)
    clock.at(1.0, lambda a, b: seen.append((a, b, clock.now_s)), "first", 2)
    clock.at(1.0, lambda a, b: seen.append((a, b, clock.now_s)), "second", 3)
    clock.run(until_s=10.0)
    assert seen == [("first", 2, 1.0), ("second", 3, 1.0), ("late", 1, 2.0)]
    assert clock.events == 3


def test_time_stands_still_at_its_end_and_goes_on_from_there() -> None:
    clock, seen = Clock(), []
    clock.at(5.0, lambda a, b: seen.append(a), "x")
    clock.run(until_s=3.0)
    assert (clock.now_s, seen) == (3.0, [])
    clock.run(until_s=6.0)
    assert (clock.now_s, seen) == (5.0, ["x"])


def test_what_is_due_in_the_past_happens_now() -> None:
    clock, seen = Clock(), []
    clock.at(2.0, lambda a, b: clock.at(1.0, lambda c, d: seen.append(clock.now_s)))
    clock.run(until_s=3.0)
    assert seen == [2.0]


def test_stop_ends_the_run_and_leaves_the_collector_as_it_was() -> None:
    clock, seen = Clock(), []
    clock.at(1.0, lambda a, b: clock.stop())
    clock.at(2.0, lambda a, b: seen.append(a))
    clock.run(until_s=3.0)
    assert not seen
    assert gc.isenabled()
