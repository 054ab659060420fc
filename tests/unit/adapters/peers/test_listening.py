"""Connections that peers begin are accepted, whatever keeps this node from it for a while."""

import errno
import socket

import pytest

from shoal.adapters.peers import listening
from unit.adapters.peers.members import connect, two_ends


async def test_a_peer_that_cannot_be_accepted_for_want_of_descriptors_is_accepted_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "ACCEPT_PAUSE_S", 0.05)
    refusals = [OSError(errno.EMFILE, "Too many open files")]
    accept = socket.socket.accept

    def fails_once(listener: socket.socket) -> tuple[socket.socket, object]:
        if refusals:
            raise refusals.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", fails_once)
    async with two_ends() as (one, other):
        await connect(one, other)
        assert not refusals
        assert other.connected == [one.me]
