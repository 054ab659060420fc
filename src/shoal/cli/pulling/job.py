"""One pull from beginning to end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shoal.adapters.layout.base import Image, ImageTarget
from shoal.adapters.origin.client import OriginClient
from shoal.adapters.origin.config import Bounds, RegistryConfig
from shoal.cli.pulling.blob_download import BlobDownload
from shoal.cli.pulling.failures import DataWrong, NotFound, Unavailable
from shoal.cli.pulling.place import FindCredentials, Place
from shoal.cli.pulling.platforms import fitness
from shoal.cli.pulling.resolve import resolve
from shoal.cli.pulling.sources import SourceLookup, Sources
from shoal.cli.pulling.watch import Watcher
from shoal.core.digest import Digest
from shoal.core.errors import OriginDenied, OriginError, OriginLied, ShoalError
from shoal.core.oci.manifests import Descriptor, Platform
from shoal.core.reference import Reference

# As many as containerd fetches of one image at once by default (max_concurrent_downloads).
CONCURRENT_BLOBS = 3
# The agent waits for peers and registry itself, 10 s at most; giving up on it sooner helps nobody.
_AGENT_BOUNDS = Bounds(headers_s=30.0, no_progress_s=30.0)
# An agent that was told to restart, or was killed, answers again within seconds.
AGENT_PATIENCE_S = 10.0
_MAX_CONFIG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to pull, and from whom."""

    reference: Reference
    agent_url: str
    find_credentials: FindCredentials
    platform: Platform
    platform_matters: bool = False
    """Refuse an image that says it is for another platform, even if the registry offers only it."""

    fallback: bool = False
    """Ask the registry itself where the agent fails."""

    plain_http: bool = False
    ca_file: Path | None = None
    """How to ask the registry itself, and its token realm."""


@dataclass(slots=True)
class PulledBlob:
    """What became of one blob."""

    descriptor: Descriptor
    word: str = ""
    sources: Sources | None = None


@dataclass(slots=True)
class PullResult:
    """What a pull has done."""

    image: Image
    place: str
    seconds: float = 0.0
    blobs: dict[Digest, PulledBlob] = field(default_factory=dict)


async def pull(request: PullRequest, target: ImageTarget, watcher: Watcher) -> PullResult:
    """Pull the image into `target`.

    Raises:
        NotFound: there is no such image, or none for this platform.
        DataWrong: bytes are not what their digest says.
        OriginDenied: the registry refuses these credentials.
        Unavailable: no agent answers, or it cannot get the bytes.
        StoreError, BadInput: the target's.
    """
    began_s = time.monotonic()
    async with _places(request) as places:
        image, used = await _resolve(request, places, watcher)
        result = PullResult(image, used.name, blobs={b.digest: PulledBlob(b) for b in image.blobs})
        # A place that could not say what the image is will hardly have its blobs.
        await _Blobs(request, places[places.index(used) :], target, watcher, result).run()
    result.seconds = time.monotonic() - began_s
    return result


@asynccontextmanager
async def _places(request: PullRequest) -> AsyncIterator[list[Place]]:
    reference = request.reference
    direct = RegistryConfig(
        name=reference.registry,
        url=f"http://{reference.registry}" if request.plain_http else "",
        plain_http=request.plain_http,
        ca_file=request.ca_file,
    )
    front = RegistryConfig(
        name=reference.registry,
        url=request.agent_url,
        plain_http=request.agent_url.startswith("http://"),
    )
    async with (
        OriginClient([direct]) as registry_client,
        OriginClient([front], bounds=_AGENT_BOUNDS) as agent_client,
    ):
        registry = Place(
            reference,
            client=registry_client,
            config=direct,
            find_credentials=request.find_credentials,
        )
        agent = Place(
            reference,
            client=agent_client,
            config=front,
            realms=registry,
            find_credentials=request.find_credentials,
            patience_s=0.0 if request.fallback else AGENT_PATIENCE_S,
        )
        yield [agent, registry] if request.fallback else [agent]


async def _resolve(
    request: PullRequest, places: list[Place], watcher: Watcher
) -> tuple[Image, Place]:
    for place in places:
        try:
            image = await resolve(
                place, request.reference, platform=request.platform, warn=watcher.warn
            )
        except (DataWrong, NotFound, OriginError) as exc:
            if place is places[-1]:
                raise _explained(exc, place, request) from exc
            watcher.warn(f"{exc}; asking {places[-1].name} instead")
        else:
            return image, place
    raise AssertionError("there is always a place to ask")


def _explained(exc: ShoalError, place: Place, request: PullRequest) -> ShoalError:
    """Return the error with the exit code that it means here, and what to do."""
    match exc:
        case NotFound() if place.is_agent and not request.fallback:
            return NotFound(
                f"{exc}; there is no such image, or the agent does not serve "
                f"{request.reference.registry} (--fallback asks the registry itself)"
            )
        case OriginDenied() | NotFound() | DataWrong():
            return exc
        case OriginLied():
            return DataWrong(str(exc))
        case OriginError(status=None) if place.is_agent:
            return Unavailable(
                f"{exc}; is the agent running? (--agent names another, --fallback pulls from the "
                "registry itself)"
            )
        case _:
            return Unavailable(str(exc))


class _Blobs:
    """The blobs of one image on their way."""

    def __init__(
        self,
        request: PullRequest,
        places: Sequence[Place],
        target: ImageTarget,
        watcher: Watcher,
        result: PullResult,
    ) -> None:
        self._request = request
        self._places = places
        self._target = target
        self._watcher = watcher
        self._result = result
        self._image = result.image
        self._lookup: SourceLookup | None = None
        self._slots = asyncio.Semaphore(CONCURRENT_BLOBS)

    async def run(self) -> None:
        self._watcher.begins(self._image.blobs)
        # What may live elsewhere is not the registry's to give: tools leave it out, and so do we.
        foreign = frozenset(blob.digest for blob in self._image.blobs if blob.is_foreign)
        await asyncio.to_thread(self._target.prepare, self._image, leaving_out=foreign)
        for digest in sorted(foreign):
            self._ended(digest, "left out")
        wanted = [blob for blob in self._image.blobs if blob.digest not in foreign]
        config = self._image.manifest.config
        if self._places[0].is_agent:
            self._lookup = SourceLookup(self._places[0].url, learned=self._learned)
        try:
            if self._request.platform_matters and self._image.platform is None and config:
                await self._all([config])
                await self._check_platform(config)
                wanted = [blob for blob in wanted if blob.digest != config.digest]
            await self._all(wanted)
        finally:
            if self._lookup is not None:
                await self._lookup.close()
        await asyncio.to_thread(self._target.finish)

    async def _all(self, blobs: Sequence[Descriptor]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._lookup.run()) if self._lookup else None
                async with asyncio.TaskGroup() as downloads:
                    for blob in blobs:
                        downloads.create_task(self._one(blob))
                if looking is not None:
                    looking.cancel()
        except BaseExceptionGroup as failed:
            raise _first(failed) from failed

    async def _one(self, blob: Descriptor) -> None:
        async with self._slots:
            held = await asyncio.to_thread(
                self._target.holds, blob.digest, size_bytes=blob.size_bytes
            )
            if held:
                self._ended(blob.digest, "was here")
                return
            if self._lookup is not None:
                self._lookup.begin(blob.digest)
            opened = self._target.begin(blob.digest, size_bytes=blob.size_bytes)
            try:
                download = BlobDownload(
                    blob,
                    opened,
                    advanced=lambda done: self._watcher.advanced(blob.digest, done),
                )
                await download.run(self._places)
            except (NotFound, OriginError) as exc:
                raise _explained(exc, self._places[-1], self._request) from exc
            finally:
                opened.close()
            if self._lookup is not None:
                await self._lookup.end(blob.digest)
            self._ended(blob.digest, "pulled")

    async def _check_platform(self, config: Descriptor) -> None:
        size = min(config.size_bytes, _MAX_CONFIG_BYTES)
        body = await asyncio.to_thread(self._target.read, config.digest, size_bytes=size)
        try:
            said = json.loads(body)
            names = [str(said.get(key) or "") for key in ("os", "architecture", "variant")]
        except (ValueError, RecursionError, AttributeError):
            return  # not an image's configuration: it is for no platform
        found = Platform(*names)
        if found.os and fitness(found, self._request.platform) is None:
            raise NotFound(
                f"{self._request.reference} is for {found}, not for {self._request.platform}"
            )

    def _ended(self, digest: Digest, word: str) -> None:
        self._result.blobs[digest].word = word
        self._watcher.ended(digest, word)

    def _learned(self, digest: Digest, sources: Sources) -> None:
        self._result.blobs[digest].sources = sources
        self._watcher.learned(digest, sources)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group: the others are the same one's consequences."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
