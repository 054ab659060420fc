"""A front between a real registry on loopback and transfers in memory."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDictProxy
from yarl import URL

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import RegistryConfig
from shoal.agent.front.answers import Cause
from shoal.agent.front.limits import FrontLimits
from shoal.agent.front.memory import Memory
from shoal.agent.front.server import Front
from shoal.agent.front.target import ServedRegistry
from shoal.agent.settings import FrontSettings
from shoal.core.digest import Digest
from shoal.core.oci.manifests import parse_manifest
from shoal.testing.fake_transfers import FakeTransfers
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth

# For tests that wait for a bound. The others have the agent's own bounds, which a busy machine
# does not reach.
HASTY = FrontLimits(
    progress_s=0.8, request_s=0.5, stall_s=0.5, ask_s=0.6, list_s=0.6, swarm_manifest_s=0.1
)
# Below the agent's own bounds, and long for who waits for one of the above on a busy machine.
SOON_S = 6.0


def basic(user: str, password: str) -> dict[str, str]:
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


ALICE = basic("alice", "secret-of-alice")
BOB = basic("bob", "secret-of-bob")
WRONG = basic("alice", "guessed")


@dataclass(slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


@dataclass(slots=True)
class CountedMetrics:
    """The front's metrics, as lists."""

    answers: list[tuple[str, int]] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)
    sent_bytes: int = 0
    open_connections: int = 0

    def answered(self, route: str, *, status: int, seconds: float) -> None:
        """Note an answer."""
        assert seconds >= 0
        self.answers.append((route, status))

    def sent(self, route: str, *, size_bytes: int) -> None:
        """Note bytes of content."""
        assert route == "blob"
        self.sent_bytes += size_bytes

    def refused(self, cause: Cause) -> None:
        """Note a refusal."""
        self.causes.append(cause)

    def connections(self, count: int) -> None:
        """Note how many connections there are."""
        self.open_connections = count


@dataclass(slots=True)
class World:
    """One front with everything around it."""

    registry: EmbeddedRegistry
    transfers: FakeTransfers
    front: Front
    session: aiohttp.ClientSession
    metrics: CountedMetrics

    @property
    def base(self) -> str:
        """Where the front answers."""
        return f"http://127.0.0.1:{self.front.port}"

    @property
    def ns(self) -> str:
        """The registry's name as containerd writes it into a query."""
        return self.registry.address.replace(":", "%3A")

    def url(self, path: str, *, ns: str | None = None) -> str:
        """Return the URL of `path` with `ns`."""
        joint = "&" if "?" in path else "?"
        return f"{self.base}{path}{joint}ns={ns or self.ns}"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        ns: str | None = None,
    ) -> Answer:
        """Ask as containerd's mirror does, with `ns`."""
        return await self.ask_url(method, self.url(path, ns=ns), headers=headers)

    async def ask_url(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask for exactly this URL."""
        async with self.session.request(
            method,
            URL(url, encoded=True),
            headers=headers,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, *, headers: dict[str, str] | None = None) -> Answer:
        """GET `path` with `ns`."""
        return await self.ask("GET", path, headers=headers)

    async def head(self, path: str, *, headers: dict[str, str] | None = None) -> Answer:
        """HEAD `path` with `ns`."""
        return await self.ask("HEAD", path, headers=headers)

    async def raw(self, text: bytes, *, timeout_s: float = 30.0) -> bytes:
        """Send bytes on a fresh connection; return everything until the front closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.front.port)
        try:
            writer.write(text)
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(timeout_s):
                    return await reader.read()
            return b""
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def requests(self) -> int:
        """How many requests the registry has had."""
        return self.registry.counters.requests.total()

    def add_image(
        self, repository: str = "team/app", tag: str = "v1", *, layers: tuple[bytes, ...] = ()
    ) -> "Image":
        """Put an image into registry and transfers."""
        blobs = list(layers or (b"layer one " * 1000, b"layer two " * 3000))
        digest = self.registry.content.add_image(repository, tag, list(blobs))
        found = self.registry.content.manifest(repository, digest)
        assert found is not None
        body = found[1].body
        manifest = parse_manifest(body, found[1].media_type)
        assert manifest.config is not None
        self.transfers.add(digest, body)
        digests = []
        for listed, data in zip(manifest.referenced(), (b"{}", *blobs), strict=True):
            self.transfers.add(listed.digest, data)
            digests.append(listed.digest)
        return Image(repository, tag, digest, body, digests[0], digests[1:], blobs)


@dataclass(slots=True)
class Image:
    """An image that the registry has."""

    repository: str
    tag: str
    digest: Digest
    body: bytes
    config: Digest
    layers: list[Digest]
    blobs: list[bytes]

    @property
    def by_tag(self) -> str:
        """Path of the manifest by its tag."""
        return f"/v2/{self.repository}/manifests/{self.tag}"

    @property
    def by_digest(self) -> str:
        """Path of the manifest by its digest."""
        return f"/v2/{self.repository}/manifests/{self.digest}"

    def blob(self, index: int = 0, *, repository: str | None = None) -> str:
        """Path of a layer."""
        return f"/v2/{repository or self.repository}/blobs/{self.layers[index]}"


async def until(holds: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    """Wait until `holds()`, which something on a socket will bring about."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(
    *,
    auth: RegistryAuth | None = None,
    settings: FrontSettings | None = None,
    limits: FrontLimits | None = None,
    memory: Memory | None = None,
    aliases: tuple[str, ...] = (),
    is_default: bool = False,
    serve_stale_tags: bool = True,
    listing_is_access: bool = True,
    node_credentials: Path | None = None,
    with_sources: bool = True,
) -> AsyncIterator[World]:
    """Start a front before a registry."""
    async with EmbeddedRegistry(auth=auth) as registry:
        config = RegistryConfig(
            name=registry.address, url=registry.url, plain_http=True, aliases=aliases
        )
        known = ServedRegistry(
            registry.address,
            frozenset(aliases),
            is_default=is_default,
            serve_stale_tags=serve_stale_tags,
            listing_is_access=listing_is_access,
            node_credentials=node_credentials,
        )
        metrics = CountedMetrics()
        with FakeTransfers() as transfers:
            async with OriginClient([config]) as client, aiohttp.ClientSession() as session:
                front = Front(
                    settings or FrontSettings(port=0),
                    [known],
                    client,
                    transfers,
                    memory=memory if memory is not None else Memory(),
                    credential_key=bytes(32),
                    sources=transfers.sources if with_sources else None,
                    metrics=metrics,
                    limits=limits,
                )
                await front.start()
                try:
                    yield World(registry, transfers, front, session, metrics)
                finally:
                    await session.close()
                    await front.stop(drain_timeout_s=0.2)
                    assert transfers.open_readers == 0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with running() as made:
        yield made


@pytest.fixture
async def hasty() -> AsyncIterator[World]:
    async with running(limits=HASTY) as made:
        yield made


def accounts() -> RegistryAuth:
    """Alice may read team/app, Bob only bob/app."""
    return RegistryAuth(
        mode=AuthMode.BASIC,
        accounts={
            "alice": Account("secret-of-alice", repositories=("team/app",)),
            "bob": Account("secret-of-bob", repositories=("bob/app",)),
        },
    )


@pytest.fixture
async def private() -> AsyncIterator[World]:
    async with running(auth=accounts()) as made:
        yield made


@pytest.fixture
def memory_blobs() -> Iterator[FakeTransfers]:
    with FakeTransfers() as transfers:
        yield transfers
