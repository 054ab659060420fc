"""Lets a client at a blob only on the registry's word, asked at most once at a time."""

import asyncio
import time
from collections.abc import Callable

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
from shoal.agent.tasks import Tasks
from shoal.core.blob import MAX_BLOB_BYTES, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import OriginError
from shoal.core.oci.content import RecentImages
from shoal.core.oci.manifests import Manifest
from shoal.core.trust.access import Access, AccessTable, Facts, Holder, Standing
from shoal.core.trust.credentials import Fingerprint, fingerprint

# What a joined HEAD came to: an answer, or the reason why there is none. An error is passed as a
# value so that a task whose waiters have all left does not end in an exception nobody takes.
_HeadResult = OriginAnswer | OriginError


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
        table: AccessTable,
        *,
        key: bytes,
        tasks: Tasks,
        ask_s: float = 7.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with what `table` remembers.

        Args:
            client: asks registries.
            table: the answers so far.
            key: the node's key for credential fingerprints.
            tasks: holds the questions that several requests wait for.
            ask_s: how long a registry has for an answer.
            clock_s: a monotonic clock.
        """
        self._client = client
        self._table = table
        self._key = key
        self._tasks = tasks
        self._ask_s = ask_s
        self._clock_s = clock_s
        self._images = RecentImages()
        self._heads: dict[tuple[Holder, Digest], asyncio.Task[_HeadResult]] = {}

    def fingerprint(self, authorization: str | None) -> Fingerprint:
        """Return what stands for this credential on this node."""
        return fingerprint(authorization, key=self._key)

    def manifest_access(self, holder: Holder, digest: Digest) -> Access:
        """Return what the registry's word for this manifest is worth now."""
        return self._table.decide(holder, digest, ContentKind.MANIFEST, now_s=self._clock_s())

    def granted(self, holder: Holder, digest: Digest, facts: Facts) -> None:
        """The registry has just said yes."""
        self._table.grant(holder, digest, facts, now_s=self._clock_s())

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
        self._table.forget(holder)

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
        answer = await self._head(exchange, digest)
        if isinstance(answer, OriginError):
            known = access.facts.length_bytes is not None
            if access.standing is Standing.LAPSED and known and is_unreachable(answer):
                return access.facts
            raise unavailable(answer)
        if answer.status == 200:
            facts = Facts(content_length(answer))
            self._table.grant(holder, digest, facts, now_s=self._clock_s())
            return facts
        if answer.status in (401, 403):
            self._table.forget(holder)
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

    async def _head(self, exchange: Exchange, digest: Digest) -> _HeadResult:
        """Ask the registry for the blob's headers, or join who asks already."""
        key = (exchange.holder, digest)
        task = self._heads.get(key)
        if task is None:
            task = self._tasks.start(self._ask_head(exchange), name="front blob HEAD")
            self._heads[key] = task
            task.add_done_callback(lambda _: self._heads.pop(key, None))
        # Shielded: one client that leaves must not take the answer from the others. The client for
        # registries bounds how long it takes.
        return await asyncio.shield(task)

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
