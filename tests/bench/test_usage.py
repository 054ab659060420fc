"""What the kernel says of processors and links, as the test bed reads it.

Here and not beside the bed's own tests, since no part of it needs a bed or root.
"""

import os

import pytest

from shoal.testing.bed.processes import process_tree
from shoal.testing.bed.usage import (
    Costs,
    CpuTime,
    LinkBytes,
    MachineTime,
    lost_share,
    parse_cpu_time,
    parse_link,
    parse_machine_time,
)

DEVICES = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0
  eth0:     200       2    0    0    0     0          0         0   987654       3    0    0    0
"""


def test_a_command_with_blanks_and_parentheses_does_not_shift_the_times() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    fields = ["S", *(str(number) for number in range(4, 14)), str(3 * ticks), str(5 * ticks), "0"]
    assert parse_cpu_time(f"7 (a) b (c) {' '.join(fields)}") == CpuTime(3.0, 5.0)


def test_times_are_subtracted_one_by_one() -> None:
    assert CpuTime(3.0, 5.0) - CpuTime(1.0, 2.0) == CpuTime(2.0, 3.0)
    assert CpuTime(2.0, 3.0).total_s == 5.0


def test_the_time_of_this_very_process_is_read() -> None:
    assert CpuTime.of(os.getpid()).total_s > 0


def test_the_machine_is_idle_also_while_it_waits_for_a_disk_and_not_while_another_has_it() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    numbers = [10, 1, 9, 50, 20, 2, 3, 5, 4, 0]  # guest time is in user already
    first = "cpu  " + " ".join(str(number * ticks) for number in numbers)
    time = parse_machine_time(f"{first}\ncpu0 1 2 3\n")
    assert time == MachineTime(idle_s=70.0, softirq_s=3.0, steal_s=5.0, total_s=100.0)
    assert time.busy_s == 25.0
    assert time.idle_share == 0.7
    assert (time - time).idle_share == 0.0


def test_what_nobody_was_charged_is_the_rest_and_never_below_nothing() -> None:
    machine = MachineTime(idle_s=70.0, softirq_s=3.0, steal_s=5.0, total_s=100.0)
    costs = Costs({"n1": 4.0, "n2": 6.0}, 5.0, 1.0, 2.0, machine)
    assert costs.agents_s == 10.0
    assert costs.rest_s == 7.0
    assert Costs({"n1": 40.0}, 0.0, 0.0, 0.0, machine).rest_s == 0.0


def test_what_a_link_sent_is_told_from_what_it_received() -> None:
    assert parse_link(DEVICES, device="eth0") == LinkBytes(received=200, sent=987654)
    assert parse_link(DEVICES, device="eth1") == LinkBytes(0, 0)


def test_what_was_sent_and_arrived_nowhere_was_lost() -> None:
    links = {"n1": LinkBytes(10, 90), "n2": LinkBytes(80, 10)}
    assert lost_share(links) == pytest.approx(0.1)
    assert lost_share({"n1": LinkBytes(10, 5)}) == 0.0  # counted a moment apart
    assert lost_share({}) == 0.0


def test_a_tree_of_processes_has_its_root_even_where_that_is_gone() -> None:
    assert process_tree(os.getpid())[0] == os.getpid()
    assert process_tree(2**30) == [2**30]
