"""Lets a client at a blob only on the registry's word, asked at most once at a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from shoal.adapters.origin.client import OriginAnswer
from shoal.agent.front.answers import Cause, Code, Refusal
from shoal.agent.front.asking import (
    Exchange,
    RegistryClient,
    ask,
    is_unreachable,
    passed_on,
    unavailable,
)
from shoal.agent.front.memory import Memory, boot_clock_s
from shoal.agent.tasks import Tasks
from shoal.core.blob import MAX_BLOB_BYTES, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import OriginError
from shoal.core.oci.content import RecentImages
from shoal.core.oci.manifests import Manifest
from shoal.core.trust.access import Access, Facts, Holder, Standing

# What a joined HEAD came to: an answer, or the reason why there is none. An error is passed as a
# value so that a task whose waiters have all left does not end in an exception nobody takes.
_HeadResult = OriginAnswer | OriginError

# Questions that registries have not answered yet. A client that leaves does not take back its own,
# so the bound on connections is none on these.
MAX_HEADS = 1_024


@dataclass(frozen=True, slots=True)
class _Head:
    """A question to the registry that several requests may wait for."""

    task: asyncio.Task[_HeadResult]
    asked_s: float


class PassedOn(Exception):
    """No error: the registry's answer to the access check is the answer to the client."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class Gate:
    """Access decisions of the front: the table, the questions to the registry, what is listed."""

    def __init__(
        self,
        client: RegistryClient,
        memory: Memory,
        *,
        tasks: Tasks,
        ask_s: float = 7.0,
        max_heads: int = MAX_HEADS,
        clock_s: Callable[[], float] = boot_clock_s,
    ) -> None:
        """Begin with what `memory` holds.

        Args:
            client: asks registries.
            memory: the answers so far.
            tasks: holds the questions that several requests wait for.
            ask_s: how long a registry has for an answer.
            max_heads: how many questions may be open at once.
            clock_s: a clock that nobody sets.
        """
        self._client = client
        self._table = memory.access
        self._tasks = tasks
        self._ask_s = ask_s
        self._max_heads = max_heads
        self._clock_s = clock_s
        self._images = RecentImages()
        self._heads: dict[tuple[Holder, Digest], _Head] = {}

    @property
    def heads(self) -> int:
        """How many questions are open."""
        return len(self._heads)

    def now_s(self) -> float:
        """Return the time by which questions and answers are put in order."""
        return self._clock_s()

    def manifest_access(self, holder: Holder, digest: Digest) -> Access:
        """Return what the registry's word for this manifest is worth now."""
        return self._table.decide(holder, digest, ContentKind.MANIFEST, now_s=self._clock_s())

    def granted(self, holder: Holder, digest: Digest, facts: Facts, *, asked_s: float) -> None:
        """The registry has just said yes to what it was asked at `asked_s`."""
        self._table.grant(holder, digest, facts, now_s=self._clock_s(), asked_s=asked_s)

    def read(self, exchange: Exchange, digest: Digest, manifest: Manifest) -> None:
        """The client reads this manifest, to which the registry has said yes: so to its content.

        Foreign layers are left out: registries do not check that they hold them, so anybody could
        list anything as one.
        """
        if exchange.target.registry.listing_is_access:
            self._table.grant_listed(
                exchange.holder,
                digest,
                [
                    (
                        listed.digest,
                        Facts(listed.size_bytes, listed.media_type, ContentKind.MANIFEST)
                        if listed.is_manifest
                        else Facts(listed.size_bytes),
                    )
                    for listed in manifest.referenced()
                    if not listed.is_foreign
                ],
            )
        self._images.seen(exchange.holder, digest, manifest)

    def refused(self, holder: Holder) -> None:
        """The registry has refused this credential in this repository."""
        self._table.refuse(holder, now_s=self._clock_s())

    def gone(self, holder: Holder, digest: Digest, kind: ContentKind) -> None:
        """The registry does not have this digest in this repository."""
        self._table.forget_one(holder, digest, kind)

    async def blob(self, exchange: Exchange, digest: Digest) -> Facts:
        """Return what is known of a blob that this client may have.

        Raises:
            PassedOn: the registry refused the credential: its answer goes to the client.
            Refusal: the registry does not have the blob, or could not be asked.
        """
        holder = exchange.holder
        access = self._table.decide(holder, digest, ContentKind.BLOB, now_s=self._clock_s())
        if access.standing is Standing.YES and access.facts.length_bytes is not None:
            return access.facts
        asked_s, answer = await self._head(exchange, digest)
        if isinstance(answer, OriginError):
            known = access.facts.length_bytes is not None
            if access.standing is Standing.LAPSED and known and is_unreachable(answer):
                return access.facts
            raise unavailable(answer)
        if answer.status == 200:
            facts = Facts(content_length(answer))
            now_s = self._clock_s()
            if not self._table.grant(holder, digest, facts, now_s=now_s, asked_s=asked_s):
                raise Refusal(
                    f"{exchange.config.name} has refused this credential meanwhile",
                    cause=Cause.NOT_FOUND,
                    code=Code.DENIED,
                )
            return facts
        if answer.status in (401, 403):
            self.refused(holder)
            raise PassedOn(passed_on(answer, exchange.target))
        self._table.forget_one(holder, digest, ContentKind.BLOB)
        raise Refusal(
            f"{exchange.config.name} answered {answer.status} for {digest} in {holder.repository}",
            cause=Cause.NOT_FOUND,
            code=Code.BLOB_UNKNOWN,
        )

    def ahead(self, exchange: Exchange, digest: Digest) -> list[tuple[Digest, int]]:
        """Return the blobs, with lengths, of the image that this first blob request begins.

        Empty if its image is not known or was begun before. Only blobs that the registry has said
        yes to are among them: a node joins a blob's swarm only after its own check.
        """
        now_s = self._clock_s()
        return [
            (listed.digest, listed.size_bytes)
            for listed in self._images.start(exchange.holder, digest)
            if self._table.decide(
                exchange.holder, listed.digest, ContentKind.BLOB, now_s=now_s
            ).standing
            is Standing.YES
        ]

    async def _head(self, exchange: Exchange, digest: Digest) -> tuple[float, _HeadResult]:
        """Ask the registry for the blob's headers, or join who asks already; also when it was."""
        if exchange.is_local:  # answered here: nobody else's question is answered by it
            return self._clock_s(), await self._ask_head(exchange)
        key = (exchange.holder, digest)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= self._max_heads:
                raise Refusal(
                    f"{self._max_heads} questions to registries are open", cause=Cause.BUSY
                )
            asked_s = self._clock_s()
            task = self._tasks.start(self._ask_head(exchange), name="front blob HEAD")
            head = self._heads[key] = _Head(task, asked_s)
            task.add_done_callback(lambda _: self._heads.pop(key, None))
        # Shielded: one client that leaves must not take the answer from the others. The client for
        # registries bounds how long it takes.
        return head.asked_s, await asyncio.shield(head.task)

    async def _ask_head(self, exchange: Exchange) -> _HeadResult:
        try:
            path = exchange.target.route.path
            return await ask(self._client, exchange, "HEAD", path, timeout_s=self._ask_s)
        except OriginError as error:
            return error


def content_length(answer: OriginAnswer) -> int | None:
    """Return the length that an answer claims, None where it claims none that could be."""
    text = answer.headers.get("Content-Length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    length = int(text)
    return length if length <= MAX_BLOB_BYTES else None
