"""The client of a node."""

import pytest

from shoal.sim.client import Client, Layer
from shoal.testing.swarm_script import blob


def test_a_reader_gets_further_only_by_the_piece_that_it_waits_for() -> None:
    layer = Layer(blob(pieces=4))
    assert not layer.store(1, now_s=1.0, hash_bytes_per_s=None)
    assert layer.store(0, now_s=2.0, hash_bytes_per_s=None)
    assert layer.reach == 2
    assert not layer.whole


def test_hashing_goes_on_in_order_and_ends_after_the_last_piece_came() -> None:
    layer = Layer(blob(pieces=4))
    rate = layer.spec.piece_bytes  # a second a piece
    for piece in (1, 2, 3):
        layer.store(piece, now_s=float(piece), hash_bytes_per_s=rate)
    assert layer.store(0, now_s=10.0, hash_bytes_per_s=rate)
    assert (layer.whole, layer.arrived_s) == (True, 10.0)
    assert layer.hashed_s == pytest.approx(14.0)


def test_a_client_reads_so_many_layers_at_a_time_in_order() -> None:
    client = Client([Layer(blob(name=str(number))) for number in range(4)], at_once=2)
    assert client.opens() == client.layers[:2]
    assert client.opens() == []
    client.layers[1].done_s = 3.0
    assert client.opens() == [client.layers[2]]
    assert not client.done


def test_layers_that_are_there_are_not_read() -> None:
    client = Client([Layer(blob(name=str(number))) for number in range(2)], at_once=3)
    client.layers[0].hold_all()
    assert client.opens() == [client.layers[1]]
    client.layers[1].store(0, now_s=7.0, hash_bytes_per_s=None)
    assert client.arrived_s == 0.0
    for piece in range(1, 4):
        client.layers[1].store(piece, now_s=8.0, hash_bytes_per_s=None)
    client.layers[1].done_s = 8.5
    assert (client.done, client.arrived_s) == (True, 8.0)
