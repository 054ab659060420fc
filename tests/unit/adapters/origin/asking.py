"""What the tests of the registry client share: a blob, a grant, and how to fetch with them."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds
from shoal.core.blob import BlobSpec
from shoal.testing.registry import EmbeddedRegistry

BLOB = os.urandom(300_000)
SHORT = Bounds(connect_s=1.0, headers_s=0.5, no_progress_s=0.3, whole_s=2.0)


@dataclass(frozen=True, slots=True)
class Right:
    """A grant, as the agent's own is."""

    repository: str = "team/app"
    authorization: str | None = field(default=None, repr=False)


def spec_of(registry: EmbeddedRegistry, data: bytes = BLOB, algorithm: str = "sha256") -> BlobSpec:
    digest = registry.add_blob(data, repository="team/app", algorithm=algorithm)
    return BlobSpec(registry.address, digest, len(data))


async def fetched(
    client: OriginClient, spec: BlobSpec, start: int, end: int, right: Right | None = None
) -> bytes:
    async with client.fetch(spec, right or Right(), start=start, end=end) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def drain(chunks: AsyncIterator[bytes], into: bytearray) -> None:
    """Add every chunk to `into`, so that what came before an error can be looked at."""
    async for chunk in chunks:
        into += chunk
