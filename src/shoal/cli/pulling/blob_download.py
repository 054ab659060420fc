"""One blob, from wherever it can be had to its place on the disk, with its digest checked."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from shoal.adapters.layout.base import BlobTarget
from shoal.adapters.origin.client import OriginStream
from shoal.cli.pulling.failures import DataWrong, NotFound
from shoal.cli.pulling.place import Place, Retries
from shoal.core.errors import BadInput, OriginDenied, OriginError, OriginLied
from shoal.core.oci.manifests import Descriptor
from shoal.core.oci.ranges import parse_content_range

# Hashed and written at once, in a thread: the change of threads costs some 50 us, a hash of this
# much 600 us.
_BATCH_BYTES = 1024 * 1024

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def _in_thread(function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `function` in a thread and stay until it has ended, even if cancelled meanwhile.

    The caller closes the file next, and its number may soon be another file's.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, lambda: function(*args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


class BlobDownload:
    """Downloads one blob: resumes where it was cut, and goes to the next place where one fails."""

    def __init__(
        self,
        blob: Descriptor,
        target: BlobTarget,
        *,
        advanced: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare.

        Args:
            blob: what to download.
            target: where to; closing it is the caller's.
            advanced: told how many bytes are there; the number falls where they were wrong.
        """
        self._blob = blob
        self._target = target
        self._advanced = advanced
        self._hash = hashlib.new(blob.digest.algorithm)
        self._done_bytes = 0

    async def run(self, places: Sequence[Place]) -> None:
        """Download from the first of `places` that can give the bytes, and commit them.

        Raises:
            DataWrong: the bytes are wrong everywhere.
            NotFound, OriginDenied, OriginError: of the last place, after three tries without
                progress.
            StoreError: the disk is full or failed.
        """
        await self._take_over()
        for place in places[:-1]:
            try:
                return await self._run_at(place)
            except (DataWrong, NotFound, OriginError):
                continue  # the registry itself comes last, and its errors are shown
        return await self._run_at(places[-1])

    async def _take_over(self) -> None:
        """Hash what an interrupted run left, to go on behind it."""
        while self._done_bytes < self._target.held_bytes:
            size = min(_BATCH_BYTES, self._target.held_bytes - self._done_bytes)
            data = await _in_thread(self._target.read, self._done_bytes, size)
            if not data:
                break
            await _in_thread(self._hash.update, data)
            self._done_bytes += len(data)
        self._advanced(self._done_bytes)

    async def _run_at(self, place: Place) -> None:
        retries = Retries(place)
        began_anew = False
        while True:
            if self._done_bytes == self._blob.size_bytes:
                if self._hash.hexdigest() == self._blob.digest.hex:
                    return await _in_thread(self._target.commit)
                self._start_over()
                if began_anew or self._blob.size_bytes == 0:
                    raise DataWrong(
                        f"{place.name}: the bytes of {self._blob.digest} do not have that digest; "
                        "nothing of them was kept"
                    )
                began_anew = True  # what was resumed, or brought by a bad peer: all of it once more
            before_bytes = self._done_bytes
            try:
                await self._fetch_rest(place)
            except OriginDenied:
                raise
            except OriginLied as exc:
                self._start_over()
                raise DataWrong(str(exc)) from exc
            except OriginError as exc:
                if exc.status == 416:
                    # The blob ends before what is here does: resumed from something else, or the
                    # registry has less than its manifest says.
                    self._start_over()
                    if began_anew:
                        raise DataWrong(f"{exc}: shorter than its manifest says") from exc
                    began_anew = True
                if not await retries.again(exc, progressed=self._done_bytes > before_bytes):
                    raise

    def _start_over(self) -> None:
        self._hash = hashlib.new(self._blob.digest.algorithm)
        self._done_bytes = 0
        self._advanced(0)

    async def _fetch_rest(self, place: Place) -> None:
        headers = {"Range": f"bytes={self._done_bytes}-"} if self._done_bytes else {}
        async with place.stream(f"blobs/{self._blob.digest}", headers=headers) as answer:
            self._check_length(answer, place)
            skip_bytes = self._bytes_to_skip(answer, place)
            batch: list[bytes] = []
            batch_bytes = 0
            try:
                async for chunk in answer.chunks:
                    if skip_bytes:
                        skipped = min(skip_bytes, len(chunk))
                        skip_bytes -= skipped
                        chunk = chunk[skipped:]
                    if self._done_bytes + batch_bytes + len(chunk) > self._blob.size_bytes:
                        # Before it is written: in an archive another blob begins there.
                        raise OriginLied(
                            f"{place.name}: sends more than the {self._blob.size_bytes} bytes "
                            f"that {self._blob.digest} has"
                        )
                    batch.append(chunk)
                    batch_bytes += len(chunk)
                    if batch_bytes >= _BATCH_BYTES:
                        await self._keep(b"".join(batch))
                        batch, batch_bytes = [], 0
            finally:
                if batch:
                    await self._keep(b"".join(batch))
        if self._done_bytes < self._blob.size_bytes:
            raise OriginError(
                f"{place.name}: {self._blob.digest} ended after {self._done_bytes} of "
                f"{self._blob.size_bytes} bytes"
            )

    def _check_length(self, answer: OriginStream, place: Place) -> None:
        left_bytes = self._blob.size_bytes - (self._done_bytes if answer.status == 206 else 0)
        said = answer.headers.get("Content-Length")
        if said is not None and said != str(left_bytes):
            raise OriginLied(
                f"{place.name}: has {said[:20]} bytes of {self._blob.digest} where {left_bytes} "
                "were expected"
            )

    def _bytes_to_skip(self, answer: OriginStream, place: Place) -> int:
        """Return how many bytes come that are here already.

        Raises:
            OriginLied: the answer is for other bytes than were asked for.
        """
        if not self._done_bytes or answer.status == 200:
            return self._done_bytes
        try:
            sent = parse_content_range(answer.headers.get("Content-Range", ""))
        except BadInput as exc:
            raise OriginLied(f"{place.name}: {exc}", status=206) from exc
        if sent.start != self._done_bytes:
            raise OriginLied(
                f"{place.name}: sends {self._blob.digest} from byte {sent.start}, asked for from "
                f"{self._done_bytes}",
                status=206,
            )
        return 0

    async def _keep(self, data: bytes) -> None:
        await _in_thread(self._write, self._done_bytes, data)
        self._done_bytes += len(data)
        self._advanced(self._done_bytes)

    def _write(self, offset: int, data: bytes) -> None:
        self._hash.update(data)
        self._target.write(offset, data)
