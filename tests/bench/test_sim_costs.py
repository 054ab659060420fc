"""What a message and a handshake cost."""

from bench.sim_costs import handshake_s, message_s


def test_a_message_costs_microseconds_and_a_handshake_less_than_a_tenth_of_a_second() -> None:
    assert 1e-7 < message_s() < 1e-3
    assert 1e-5 < handshake_s() < 0.1
