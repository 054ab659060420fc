"""For how many bytes a connection wakes the agent."""

from shoal.adapters.peers.waking import WAKE_BYTES, WAKE_LEAST_BYTES, Waking

MIB = 1024 * 1024


def test_every_byte_shows_until_a_block_has_come() -> None:
    assert Waking().bytes(MIB) == 1


def test_a_fast_connection_wakes_for_many_bytes_but_never_for_more_than_will_come() -> None:
    waking = Waking()
    waking.took(MIB, 0.0)
    assert waking.bytes(MIB) == WAKE_BYTES
    assert waking.bytes(1000) == 1000
    assert waking.bytes(0) == waking.bytes(-5) == 1


def test_a_slower_one_wakes_for_what_comes_in_a_tenth_of_a_second() -> None:
    waking = Waking()
    waking.took(MIB, 1.0)
    assert waking.bytes(MIB) == MIB // 10


def test_every_byte_of_a_slow_one_shows_so_that_it_does_not_look_silent() -> None:
    waking = Waking()
    waking.took(MIB, 0.0)
    waking.took(WAKE_LEAST_BYTES * 9, 1.0)
    assert waking.bytes(MIB) == 1
