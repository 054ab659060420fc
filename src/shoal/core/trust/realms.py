"""The token servers that registries have named, and which accounts each has lately accepted.

A realm is asked on a client's behalf only if its registry named it in a challenge, and is known by
an id that says nothing of the address. An account is a keyed fingerprint, as every credential is.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from shoal.core.trust.credentials import Fingerprint

# A registry has one, some have one for each region.
MAX_REALMS = 64
# Users of one node's runtime: pull secrets of its pods.
MAX_ACCOUNTS = 1_024

_ID_CHARACTERS = 24


@dataclass(frozen=True, slots=True)
class Realm:
    """A token server as a registry named it."""

    registry: str
    url: str
    service: str = ""

    @property
    def id(self) -> str:
        """What stands for it in a path: 96 bits of a hash."""
        named = "\n".join((self.registry, self.url, self.service))
        return sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Accepted:
    """One account that a realm accepted `age_s` seconds ago, as it is written down."""

    realm: Realm
    account: Fingerprint
    age_s: float


class Realms:
    """The realms by their ids, and the accounts, the least recently used going first."""

    def __init__(self, *, grace_s: float = 24 * 3600.0) -> None:
        """Begin with none.

        Args:
            grace_s: for how long an account counts as accepted.
        """
        self._grace_s = grace_s
        self._realms: OrderedDict[str, Realm] = OrderedDict()
        self._accepted_s: OrderedDict[tuple[str, Fingerprint], float] = OrderedDict()
        self._silent_until_s: dict[str, float] = {}
        self._takes_forms: set[str] = set()
        self._basic: OrderedDict[str, str] = OrderedDict()
        self.changes = 0
        """Grows with whatever is worth writing down."""

    def __len__(self) -> int:
        return len(self._realms)

    def named(self, realm: Realm) -> None:
        """Its registry has named this realm."""
        if realm.id not in self._realms:
            self.changes += 1
        self._realms[realm.id] = realm
        self._realms.move_to_end(realm.id)
        while len(self._realms) > MAX_REALMS:
            gone, _ = self._realms.popitem(last=False)
            self._silent_until_s.pop(gone, None)
            self._takes_forms.discard(gone)
            for key in [key for key in self._accepted_s if key[0] == gone]:
                del self._accepted_s[key]

    def wants_basic(self, registry: str, realm: str) -> None:
        """The registry has asked for a name and password itself; `realm` is the text it gave."""
        if self._basic.get(registry) != realm:
            self.changes += 1
        self._basic[registry] = realm
        self._basic.move_to_end(registry)
        while len(self._basic) > MAX_REALMS:
            self._basic.popitem(last=False)

    def basic_of(self, registry: str) -> str | None:
        """Return the text with which this registry asks for a name and password, if it ever did."""
        return self._basic.get(registry)

    def get(self, realm_id: str) -> Realm | None:
        """Return the realm of this id, if a registry has named it."""
        return self._realms.get(realm_id)

    def of(self, registry: str) -> Realm | None:
        """Return the realm that this registry named last, or None."""
        return next((r for r in reversed(self._realms.values()) if r.registry == registry), None)

    def accepted(self, realm: Realm, account: Fingerprint, *, now_s: float) -> None:
        """The realm has just given this account a token."""
        self._silent_until_s.pop(realm.id, None)
        key = (realm.id, account)
        self._accepted_s[key] = now_s
        self._accepted_s.move_to_end(key)
        self.changes += 1
        while len(self._accepted_s) > MAX_ACCOUNTS:
            self._accepted_s.popitem(last=False)

    def refused(self, realm: Realm, account: Fingerprint) -> None:
        """The realm has just refused this account."""
        self._silent_until_s.pop(realm.id, None)
        self._accepted_s.pop((realm.id, account), None)
        self.changes += 1

    def form_taken(self, realm: Realm) -> None:
        """The realm has just given a token for a form, the newer way to ask."""
        self._takes_forms.add(realm.id)

    def takes_forms(self, realm: Realm) -> bool:
        """Return whether it ever did: others refuse every form, whoever sends it."""
        return realm.id in self._takes_forms

    def silent(self, realm: Realm, *, until_s: float) -> None:
        """This node gets no answer from the realm; until then its clients had better ask it."""
        self._silent_until_s[realm.id] = until_s

    def is_accepted(self, realm: Realm, account: Fingerprint, *, now_s: float) -> bool:
        """Return whether the realm accepted this account within the grace period."""
        said_s = self._accepted_s.get((realm.id, account))
        return said_s is not None and 0 <= now_s - said_s <= self._grace_s

    def is_worth_relaying(self, realm: Realm, *, now_s: float) -> bool:
        """Return whether clients should ask this node for the realm's tokens.

        Not where this node gets no answer from it while they may, and it could not stand in for it
        either, since it has seen no account accepted.
        """
        if now_s >= self._silent_until_s.get(realm.id, float("-inf")):
            return True
        return any(
            realm_id == realm.id and 0 <= now_s - said_s <= self._grace_s
            for (realm_id, _), said_s in self._accepted_s.items()
        )

    def all(self) -> Iterator[Realm]:
        """Yield every realm, the one named last at the end."""
        yield from self._realms.values()

    def all_basic(self) -> Iterator[tuple[str, str]]:
        """Yield every registry that asks for a name and password, and its text."""
        yield from self._basic.items()

    def all_accepted(self, *, now_s: float) -> Iterator[Accepted]:
        """Yield every account that counts as accepted."""
        for (realm_id, account), said_s in self._accepted_s.items():
            age_s = now_s - said_s
            if realm_id in self._realms and 0 <= age_s <= self._grace_s:
                yield Accepted(self._realms[realm_id], account, age_s)

    def restore(
        self,
        realms: Iterable[Realm],
        accepted: Iterable[Accepted],
        *,
        basic: Iterable[tuple[str, str]] = (),
        now_s: float,
    ) -> None:
        """Take over what was written down earlier."""
        for registry, text in basic:
            self.wants_basic(registry, text)
        for realm in realms:
            self.named(realm)
        for entry in accepted:
            if entry.realm.id in self._realms and 0 <= entry.age_s <= self._grace_s:
                self.accepted(entry.realm, entry.account, now_s=now_s - entry.age_s)
