"""Whole nodes, from store to sockets, joined as the agent joins them; only the front is missing."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client import CollectorRegistry

from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.adapters.store.base import Store
from shoal.adapters.store.memory import MemoryStore
from shoal.adapters.telemetry.metrics import Metrics
from shoal.agent.holdings import Holdings
from shoal.agent.limits import Limits
from shoal.agent.node import Node
from shoal.agent.ports import BlobReader, Origin, OriginGrant
from shoal.agent.settings import LimitsSettings
from shoal.agent.transfers import TransferManager
from shoal.agent.workers import Workers
from shoal.core.blob import BlobSpec
from shoal.core.endpoint import Endpoint
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT, Policy
from unit.agent.driving import GRANT

PULL_TIMEOUT_S = 60.0


@dataclass(slots=True)
class Member:
    """One node."""

    folder: Path
    origin: Origin
    store: Store
    host: str
    policy: Policy
    most: int
    credentials: PeerCredentials | None = None
    workers: Workers = field(init=False)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    limits: Limits = field(init=False)
    holdings: Holdings = field(init=False)
    transfers: TransferManager = field(init=False)
    node: Node = field(init=False)
    me: PeerId = field(init=False)

    def __post_init__(self) -> None:
        self.workers = Workers(2)
        metrics = Metrics(self.registry)
        self.limits = Limits()
        self.holdings = Holdings(self.store, self.folder / f"{self.host}.jsonl")
        self.transfers = TransferManager(
            store=self.store,
            holdings=self.holdings,
            workers=self.workers,
            metrics=metrics,
            most=self.most,
        )
        listener = socket.create_server((self.host, 0), backlog=64)
        listener.setblocking(False)
        self.me = PeerId(str(Endpoint(self.host, listener.getsockname()[1])))
        self.node = Node(
            me=self.me,
            origin=self.origin,
            holdings=self.holdings,
            workers=self.workers,
            metrics=metrics,
            on_give_up=self.transfers.gave_up,
            policy=self.policy,
            limits=self.limits,
            seed=1,
            credentials=self.credentials,
        )
        self.transfers.attach(self.node)
        self.node.start([listener])

    async def stop(self) -> None:
        """Stop as the agent does: the transfers, the node, and what they stand on."""
        await self.transfers.stop()
        await self.node.stop()
        self.limits.stop()
        self.holdings.close()
        self.workers.stop()
        await asyncio.sleep(0)  # what the threads had to tell
        self.store.close()

    def limit(self, **settings: object) -> None:
        """Have other limits from now on."""
        self.limits.apply(LimitsSettings.model_validate(settings))
        self.node.limits_changed()

    def count(self, name: str, **labels: str) -> float:
        """Return what a metric shows."""
        return self.registry.get_sample_value(name, labels) or 0.0

    async def open(self, spec: BlobSpec, grant: OriginGrant = GRANT) -> BlobReader:
        """Open a blob as the front does."""
        async with asyncio.timeout(PULL_TIMEOUT_S):
            return await self.transfers.open(spec, grant)

    async def pull(self, spec: BlobSpec, grant: OriginGrant = GRANT) -> bytes:
        """Return a blob as a client of this node gets it."""
        reader = await self.transfers.open(spec, grant, from_start=True)
        try:
            return await read_all(reader)
        finally:
            reader.close()


async def read_all(reader: BlobReader) -> bytes:
    """Return a blob as the front sends it."""
    data = bytearray()
    async with asyncio.timeout(PULL_TIMEOUT_S):
        while len(data) < reader.spec.length_bytes:
            end = await reader.readable(len(data))
            data += os.pread(reader.fd, end - len(data), len(data))
    return bytes(data)


@asynccontextmanager
async def site(
    *hosts: str,
    origin: Origin,
    policy: Policy = DEFAULT,
    make_store: Callable[[], Store] = MemoryStore,
    most: int = 128,
    others: Sequence[PeerId] = (),
    credentials: Callable[[str], PeerCredentials | None] = lambda _: None,
) -> AsyncIterator[list[Member]]:
    """Start a node at each host, all members of one site.

    Args:
        hosts: addresses of loopback.
        origin: the registry of all.
        policy: of their swarms.
        make_store: called for each.
        most: blobs that may arrive at once.
        others: members that are not nodes of ours.
        credentials: called for the certificate of the node at each host; without, there are none.
    """
    with TemporaryDirectory() as folder:
        members: list[Member] = []
        try:
            members.extend(
                Member(Path(folder), origin, make_store(), host, policy, most, credentials(host))
                for host in hosts
            )
            everybody = frozenset([member.me for member in members] + list(others))
            for member in members:
                member.node.tell(on.MembersChanged(everybody))
            yield members
        finally:
            for member in members:
                await member.stop()
                assert member.node.transfers == {}
