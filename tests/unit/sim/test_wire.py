"""Bytes on the wire."""

import pytest

from shoal.core.blob import BlobTag
from shoal.core.peer import PeerId
from shoal.core.wire.codec import encode
from shoal.core.wire.messages import (
    Cancel,
    Have,
    Introduce,
    LeaseEnded,
    LeaseOutcome,
    Message,
    Request,
)
from shoal.sim.wire import HEADERS_BYTES, PIECE_FACTOR, goodput, message_bytes
from shoal.testing.swarm_script import blob

TAG = blob().tag


@pytest.mark.parametrize(
    "message",
    [
        Have(TAG, ()),
        Have(TAG, (1, 2, 3)),
        Request(TAG, 7),
        Cancel(BlobTag(TAG), 9),
        LeaseEnded(TAG, 1, 2, LeaseOutcome.DONE),
        Introduce(TAG, (PeerId("a"),)),
        Introduce(TAG, (PeerId("a"), PeerId("bcd"))),
    ],
)
def test_a_message_is_its_frame_in_a_segment_of_its_own(message: Message) -> None:
    for _ in range(2):  # also when its size was remembered
        assert message_bytes(message) == len(encode(message)) + HEADERS_BYTES


def test_a_hundred_megabits_carry_ninety_five_and_a_half_of_an_image() -> None:
    assert goodput(12.5e6) * 8 == pytest.approx(95.6e6, rel=0.001)
    assert 1.045 < PIECE_FACTOR < 1.05
