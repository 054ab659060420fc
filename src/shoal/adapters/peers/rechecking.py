"""Connections that stand, held to credentials that are newer than they are."""

import asyncio
from collections.abc import Sequence
from typing import Final

from shoal.adapters.peers.handshake import Credentials
from shoal.adapters.peers.link import Link
from shoal.adapters.peers.tls_stream import TlsStream
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Refused

RECHECKED_AT_ONCE: Final = 16  # certificates, 3 ms of processor time


def recheck(links: Sequence[tuple[Link, PeerId | None]], credentials: Credentials) -> None:
    """Close those that would not be made any more: some now, the rest when others had a turn.

    Args:
        links: each with the peer that it belongs to, or was dialed as, if that is known.
        credentials: this node's, as they are when each is looked at.
    """
    for link, peer in links[:RECHECKED_AT_ONCE]:
        if not link.closed and isinstance(link.stream, TlsStream):
            try:
                credentials.accept(link.stream.certificate, peer=peer)
            except Refused as refused:
                link.refuse(refused)
    if rest := links[RECHECKED_AT_ONCE:]:
        asyncio.get_running_loop().call_soon(recheck, rest, credentials)
