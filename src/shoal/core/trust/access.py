"""Decides whether a client may have a digest: only if the registry said yes to it, lately.

Rule 1: a yes is for one digest in one repository at one registry, and for one credential. A yes
for the repository is not enough: whoever owns any repository could read every cached blob.
Rule 2: what a manifest lists inherits the moment at which the registry said yes to the manifest,
so that a manifest served from the swarm again and again never prolongs anything.
Rule 3: a 401 or 403 forgets everything that this credential was allowed in that repository, and
wins over a yes to a question that was asked before it.
Rule 4: this file sees credentials only as keyed fingerprints (core/trust/credentials.py).
Rule 5: a yes that lies in the future was said by another clock: it counts for nothing.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.trust.credentials import Fingerprint
from shoal.core.trust.refusals import Refusals

# A node runs 110 pods at most by the kubelet's default, whose images have ten to sixty digests
# each: this holds them, at 400 bytes an entry, in 1.6 MiB, and is written down whole.
MAX_ENTRIES = 4_096
# A manifest of 4 MiB can list some twenty thousand digests; no real one lists over a few hundred.
MAX_ENTRIES_PER_HOLDER = 2_048


class Standing(Enum):
    """What is known of the registry's word about one digest."""

    YES = "yes"
    LAPSED = "lapsed"  # a yes within the grace period: ask again, serve it if nobody answers
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who asks, and where: the answers for several digests share these three."""

    registry: str
    repository: str
    credential: Fingerprint


@dataclass(frozen=True, slots=True)
class Facts:
    """What the registry, or a manifest that it vouches for, says of a digest.

    `length_bytes` and `media_type` are None where nobody has said.
    """

    length_bytes: int | None = None
    media_type: str | None = None
    kind: ContentKind = ContentKind.BLOB

    def filled_from(self, older: "Facts | None") -> "Facts":
        """Return these facts, with what they lack taken from `older`."""
        if older is None:
            return self
        length = self.length_bytes if self.length_bytes is not None else older.length_bytes
        return Facts(length, self.media_type or older.media_type, self.kind)


@dataclass(frozen=True, slots=True)
class Access:
    """The answer for one digest: how it stands, when the yes was said, and what is known of it."""

    standing: Standing
    facts: Facts = Facts()
    said_yes_s: float = float("-inf")


# Blobs and manifests are served by different routes, and a registry may hold a digest as one only.
_Key = tuple[Digest, ContentKind]
_NOTHING = Access(Standing.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Entry:
    facts: Facts
    said_yes_s: float


@dataclass(frozen=True, slots=True)
class Yes:
    """One yes of the registry, as it is written down: `age_s` seconds old."""

    holder: Holder
    digest: Digest
    facts: Facts
    age_s: float


class AccessTable:
    """The registry's answers, remembered for a limited time in a limited space."""

    def __init__(
        self,
        *,
        trusted_for_s: float = 3600.0,
        grace_s: float = 24 * 3600.0,
        max_entries: int = MAX_ENTRIES,
    ) -> None:
        """Begin with nothing remembered.

        Args:
            trusted_for_s: for how long a yes is taken without asking again.
            grace_s: for how long a yes may serve while the registry cannot be reached.
            max_entries: bound on what is remembered; the least recently used holder goes first.
        """
        self._trusted_for_s = trusted_for_s
        self._grace_s = max(grace_s, trusted_for_s)
        self._max_entries = max_entries
        # Inside plain dicts, which keep their order too and take half the memory.
        self._holders: OrderedDict[Holder, dict[_Key, _Entry]] = OrderedDict()
        self._entries = 0
        self._refusals: Refusals[Holder] = Refusals()
        self.changes = 0
        """Grows with every yes and every refusal: whether there is something to write down."""
        self.withdrawn = 0
        """Grows with every refusal: whether it is urgent."""

    def __len__(self) -> int:
        return self._entries

    def decide(self, holder: Holder, digest: Digest, kind: ContentKind, *, now_s: float) -> Access:
        """Return what the registry's word for `digest`, as that kind, is worth at `now_s`."""
        key = (digest, kind)
        entries = self._holders.get(holder)
        entry = entries.get(key) if entries is not None else None
        if entries is None or entry is None:
            return _NOTHING
        age_s = now_s - entry.said_yes_s
        if not 0 <= age_s <= self._grace_s:
            self.forget_one(holder, digest, kind)
            return _NOTHING
        self._holders.move_to_end(holder)
        entries[key] = entries.pop(key)
        standing = Standing.YES if age_s <= self._trusted_for_s else Standing.LAPSED
        return Access(standing, entry.facts, entry.said_yes_s)

    def grant(
        self,
        holder: Holder,
        digest: Digest,
        facts: Facts,
        *,
        now_s: float,
        asked_s: float | None = None,
    ) -> bool:
        """Record that the registry said yes just now; return whether that counts.

        Args:
            holder: who asked, and where.
            digest: for what.
            facts: what is known of it.
            now_s: when the answer came.
            asked_s: when the question was asked, if that was earlier. A refusal since then wins.
        """
        if self._refusals.is_after(holder, asked_s if asked_s is not None else now_s):
            return False
        self._record(holder, digest, facts, said_yes_s=now_s)
        self._bound()
        return True

    def grant_listed(
        self, holder: Holder, manifest: Digest, listed: Iterable[tuple[Digest, Facts]]
    ) -> None:
        """Record a yes for what `manifest` lists, as old as the yes for the manifest itself.

        Without a yes for the manifest this does nothing. The caller leaves out what a registry
        does not check when a manifest is pushed: layers with `urls`, and `subject`.
        """
        entries = self._holders.get(holder)
        entry = entries.get((manifest, ContentKind.MANIFEST)) if entries is not None else None
        if entry is None:
            return
        for digest, facts in listed:
            self._record(holder, digest, facts, said_yes_s=entry.said_yes_s)
        self._bound()

    def refuse(self, holder: Holder, *, now_s: float) -> None:
        """The registry refused this credential in this repository: nothing of before counts."""
        self._refusals.note(holder, now_s)
        if holder in self._holders:
            self.forget(holder)
            self.changes += 1
            self.withdrawn += 1

    def refuse_everywhere(self, registry: str, credential: Fingerprint, *, now_s: float) -> None:
        """The registry's realm refused this credential: nothing of before counts anywhere."""
        for holder in list(self._holders):
            if holder.registry == registry and holder.credential == credential:
                self.refuse(holder, now_s=now_s)

    def all(self, *, now_s: float) -> Iterator[Yes]:
        """Yield every yes that still counts for something, the least recently used holder first."""
        for holder, entries in self._holders.items():
            for (digest, _), entry in entries.items():
                age_s = now_s - entry.said_yes_s
                if 0 <= age_s <= self._grace_s:
                    yield Yes(holder, digest, entry.facts, age_s)

    def restore(self, known: Iterable[Yes], *, now_s: float) -> None:
        """Take over what was written down earlier, each yes as old as it says."""
        for yes in known:
            if 0 <= yes.age_s <= self._grace_s:
                self._record(yes.holder, yes.digest, yes.facts, said_yes_s=now_s - yes.age_s)
        self._bound()

    def forget(self, holder: Holder) -> None:
        """Remember nothing of this holder."""
        entries = self._holders.pop(holder, None)
        if entries is not None:
            self._entries -= len(entries)

    def forget_one(self, holder: Holder, digest: Digest, kind: ContentKind) -> None:
        """The registry does not have this digest in this repository (any more)."""
        entries = self._holders.get(holder)
        if entries is None or entries.pop((digest, kind), None) is None:
            return
        self._entries -= 1
        if not entries:
            del self._holders[holder]

    def _record(self, holder: Holder, digest: Digest, facts: Facts, *, said_yes_s: float) -> None:
        entries = self._holders.setdefault(holder, {})
        self._holders.move_to_end(holder)
        key = (digest, facts.kind)
        older = entries.pop(key, None)
        if older is None:
            self._entries += 1
        else:
            facts = facts.filled_from(older.facts)
            said_yes_s = max(said_yes_s, older.said_yes_s)
        entries[key] = _Entry(facts, said_yes_s)
        self.changes += 1
        while len(entries) > MAX_ENTRIES_PER_HOLDER:
            del entries[next(iter(entries))]
            self._entries -= 1

    def _bound(self) -> None:
        while self._entries > self._max_entries:
            oldest = next(iter(self._holders))
            entries = self._holders[oldest]
            if len(self._holders) > 1:
                self.forget(oldest)
            else:
                del entries[next(iter(entries))]
                self._entries -= 1

    def check(self) -> None:
        """Assert the invariants; tests call this after every event."""
        assert self._entries == sum(len(entries) for entries in self._holders.values())
        assert self._entries <= self._max_entries
        assert all(entries for entries in self._holders.values())
