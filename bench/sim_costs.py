"""What a message and a handshake cost the agent, in seconds of processor, as measured here."""

import asyncio
import functools
import socket
import ssl
import tempfile
import time
from pathlib import Path

from shoal.adapters.peers.link import Link
from shoal.adapters.peers.stream import PlainStream
from shoal.core.wire.messages import Block, Have, Message
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.swarm_script import blob

MESSAGES = 20_000
BATCH = 20  # sent at once, as on a busy link: a wake-up takes in what has come
HANDSHAKES = 50


class _Counts:
    """Takes messages and does nothing about them."""

    def __init__(self) -> None:
        self.count = 0
        self.all = asyncio.Event()

    def message_arrived(self, link: Link, message: Message) -> None:
        """`Handler`: count it."""
        self.count += 1
        if self.count == MESSAGES:
            self.all.set()

    def block_begins(self, link: Link, block: Block) -> memoryview | None:
        """`Handler`: there are no blocks here."""
        raise AssertionError(block)

    def block_arrived(self, link: Link, block: Block) -> None:
        """`Handler`: there are no blocks here."""

    def link_lost(self, link: Link, reason: str) -> None:
        """`Handler`: the end."""


@functools.cache
def message_s() -> float:
    """Return what one message costs its sender and its receiver together, kernel included."""
    return asyncio.run(_messages())


async def _messages() -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    counts = _Counts()
    sender = Link(PlainStream(here), counts, initiator=True, remote_host="a")
    receiver = Link(PlainStream(there), counts, initiator=False, remote_host="b")
    message = Have(blob().tag, (1, 2))
    begun = time.process_time()
    for number in range(MESSAGES):
        sender.send(message)
        if number % BATCH == 0:
            await asyncio.sleep(0)
    await counts.all.wait()
    spent = time.process_time() - begun
    sender.close("done")
    receiver.close("done")
    return spent / MESSAGES


@functools.cache
def handshake_s() -> float:
    """Return what a mutual TLS 1.3 handshake costs one of its two ends, in memory."""
    with tempfile.TemporaryDirectory() as folder:
        server_side = PrivateAuthority(Path(folder)).server_context("localhost")
        client_side = ssl.create_default_context()
        client_side.check_hostname = False
        client_side.verify_mode = ssl.CERT_NONE
        begun = time.process_time()
        for _ in range(HANDSHAKES):
            _shake(client_side, server_side)
        return (time.process_time() - begun) / HANDSHAKES / 2


def _shake(client_side: ssl.SSLContext, server_side: ssl.SSLContext) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client_side.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server_side.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
