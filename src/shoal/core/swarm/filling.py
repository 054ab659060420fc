"""Filling free hands: which blobs are looked at after an event, and what each may take."""

# Theory of operation. Most events concern one blob, and most blobs can do nothing about a request
# or a hand for the registry that comes free: nobody has what they lack, or it is all on its way. So
# a blob is looked at when something about it changed (`Site.touch`), when the time has come that
# its last look named (`alarms`), or, if it could ask for more than it was let, when a request is
# free (`blocked`) or a hand (`wanting`). Between ticks nothing else is looked at, however many
# blobs there are; a tick looks at all. Blobs take requests in the order in which they were opened.

import heapq
import math
from dataclasses import dataclass, field

from shoal.core.blob import BlobTag
from shoal.core.swarm.announcing import Announcing
from shoal.core.swarm.exchange import Exchange
from shoal.core.swarm.leases import Leases
from shoal.core.swarm.requests import Requests
from shoal.core.swarm.site import Site


@dataclass(slots=True)
class Standing:
    """Where a blob stands among those that share this node's requests and hands."""

    number: int  # in the order of opening
    exchange: Exchange
    requests: int = 0  # out, as the sum of all counts them
    budget: int = 0  # of requests, when it was looked at last
    alarm_s: float = math.inf  # its earliest entry among the alarms
    announce_s: float = 0.0  # when there may be something to tell its tracker
    ask_s: float = 0.0  # when it may ask for a lease


@dataclass(slots=True)
class Filling:
    """Asks neighbours and the registry for what is missing, as far as requests and hands are free.

    Invariant: a look at a blob that none of `touched`, `alarms`, `blocked` and `wanting` names
    would ask for nothing.
    """

    site: Site
    exchanges: dict[BlobTag, Exchange]
    requests: Requests
    leases: Leases
    announcing: Announcing
    standings: dict[BlobTag, Standing] = field(default_factory=dict)
    out: int = 0  # requests at neighbours, of all blobs
    most: int = 0  # the largest budget of any blob
    blocked: dict[BlobTag, Standing] = field(default_factory=dict)
    wanting: dict[BlobTag, Standing] = field(default_factory=dict)
    fetchers: dict[BlobTag, Exchange] = field(default_factory=dict)  # with a fetch, or a lease due
    alarms: list[tuple[float, int, BlobTag]] = field(default_factory=list)
    _opened: int = 0

    def work(self) -> None:
        """Look at the blobs that may have something to do since the last time."""
        if self.site.changed:
            self._look_at_all()
            self._lend_hands()
            if self.hands() >= self.site.policy.registry_fetches:
                self._await_hands()
        elif self._look_at_some():
            self._lend_hands()

    def hands(self) -> int:
        """Return how many hands for the registry are in use."""
        return sum(map(self.leases.hands, self.fetchers.values()))

    def _look_at_all(self) -> None:
        """Begin anew: after a tick, or where it is not known which blobs something concerns."""
        self.site.changed = False
        self.site.touched.clear()
        before, self.standings = self.standings, {}
        self.out = self.most = 0
        self.blocked.clear()
        self.wanting.clear()
        self.fetchers.clear()
        self.alarms.clear()
        for tag, exchange in self.exchanges.items():
            standing = before.get(tag)
            if standing is None or standing.exchange is not exchange:
                standing = self._open(exchange)
            standing.alarm_s = math.inf
            standing.requests = 0
            self.standings[tag] = standing
            self._count(tag, standing)
        for tag, standing in self.standings.items():
            exchange = standing.exchange
            self._look(tag, standing, at_leases=True)
            if (
                standing.budget <= self.out
                and not exchange.in_flight
                and not exchange.alone
                and not exchange.dry
                and self.leases.fetching(exchange)
            ):
                exchange.await_turn(self.site.now_s)

    def _look_at_some(self) -> bool:
        """Look at what is due; return whether more than requests may have come of it."""
        site, standings, now_s = self.site, self.standings, self.site.now_s
        touched, site.touched = site.touched, {}
        due: dict[BlobTag, Standing] = {}
        for tag in touched:
            exchange = self.exchanges.get(tag)
            if exchange is None:
                continue
            standing = standings.get(tag)
            if standing is None:
                standing = standings[tag] = self._open(exchange)
            self._count(tag, standing)
            due[tag] = standing
        alarms = self.alarms
        while alarms and alarms[0][0] <= now_s:
            due_s, _, tag = heapq.heappop(alarms)
            standing = standings[tag]
            if due_s == standing.alarm_s:
                standing.alarm_s = math.inf
                due[tag] = standing
        if self.blocked and self.out < self.most:
            due.update(self.blocked)
        lend = False
        for tag, standing in due.items() if len(due) == 1 else sorted(due.items(), key=_number):
            at_leases = (
                touched.get(tag, False) or now_s >= standing.ask_s or now_s >= standing.announce_s
            )
            # A request that was free when this began may be taken by now.
            if at_leases or standing.budget > self.out or tag not in self.blocked:
                lend |= self._look(tag, standing, at_leases=at_leases)
        return lend

    def _open(self, exchange: Exchange) -> Standing:
        self._opened += 1
        return Standing(self._opened, exchange)

    def _count(self, tag: BlobTag, standing: Standing) -> None:
        """Take into the sums what the blob has out."""
        exchange = standing.exchange
        requests = max(0, exchange.requests - exchange.written_off)
        self.out += requests - standing.requests
        standing.requests = requests
        if exchange.runs or exchange.lease_asked_s is not None:
            self.fetchers[tag] = exchange
        else:
            self.fetchers.pop(tag, None)

    def _look(self, tag: BlobTag, standing: Standing, *, at_leases: bool) -> bool:
        """Do what can be done about one blob, and note when to look at it again.

        Returns whether hands for the registry may have something to do.
        """
        exchange, now_s = standing.exchange, self.site.now_s
        self.blocked.pop(tag, None)
        if not self.leases.fetching(exchange):
            self.wanting.pop(tag, None)
            return at_leases
        if exchange.alone:
            free = self.site.policy.registry_fetches - self.hands()
            if self.leases.work_alone(exchange, free):
                self._count(tag, standing)
            self._alarm(tag, standing, now_s)  # there are few of these
            return at_leases
        if at_leases:
            standing.announce_s = self.announcing.announce(exchange)
        standing.budget = budget = self.requests.budget(exchange)
        if budget > self.most:
            self.most = budget
        asked = self.requests.fill(exchange, budget - self.out)
        if asked or tag in self.fetchers:  # a new tracker has not been asked for a lease yet
            self._count(tag, standing)
        look_s = standing.announce_s
        if not exchange.hungry:
            self.blocked[tag] = standing
        elif exchange.look_s < look_s:
            look_s = exchange.look_s
        # What it asked for may not come: then it has something to lease again.
        if at_leases or (
            standing.ask_s == math.inf
            and exchange.lease_asked_s is None
            and tag not in self.wanting
        ):
            self._want(tag, standing)
            at_leases = at_leases or tag in self.wanting
        if standing.ask_s < look_s:
            look_s = standing.ask_s
        if look_s < standing.alarm_s:
            self._alarm(tag, standing, look_s)
        return at_leases

    def _want(self, tag: BlobTag, standing: Standing) -> None:
        """Note whether, or from when on, the blob may ask for a lease."""
        ask_s = self.leases.may_ask_s(standing.exchange)
        if ask_s <= self.site.now_s:
            self.wanting[tag] = standing
            standing.ask_s = math.inf  # it waits for a hand, not for a moment
        else:
            self.wanting.pop(tag, None)
            standing.ask_s = ask_s

    def _alarm(self, tag: BlobTag, standing: Standing, due_s: float) -> None:
        if due_s < standing.alarm_s:
            standing.alarm_s = due_s
            heapq.heappush(self.alarms, (due_s, standing.number, tag))

    def _lend_hands(self) -> None:
        """Offer free hands for the registry: to whom has none first, to whom it fails last."""
        if not self.wanting:
            return
        free = self.site.policy.registry_fetches - self.hands()
        if free <= 0:
            return
        turns = sorted(
            (*self.leases.turn(standing.exchange), standing.number, tag)
            for tag, standing in self.wanting.items()
        )
        for *_, tag in turns:
            if free <= 0:
                break
            standing = self.wanting[tag]
            if self.leases.ask(standing.exchange):
                self.fetchers[tag] = standing.exchange
                free -= 1
            self._want(tag, standing)
            self._alarm(tag, standing, standing.ask_s)

    def _await_hands(self) -> None:
        """All hands are in use: who has nothing under way is not stuck, it waits for its turn."""
        now_s = self.site.now_s
        for exchange in self.exchanges.values():
            if exchange.in_flight or exchange.alone or not self.leases.fetching(exchange):
                continue
            if exchange.lease_asked_s is None:
                exchange.await_turn(now_s)
            exchange.turn_awaited_s = now_s

    def check(self) -> None:
        """Assert the invariants; tests and the simulator call this after every event."""
        out = 0
        for tag, exchange in self.exchanges.items():
            load = max(0, exchange.requests - exchange.written_off)
            standing = self.standings.get(tag)
            assert standing is not None
            assert standing.requests == load
            out += load
            fetches = bool(exchange.runs) or exchange.lease_asked_s is not None
            assert (tag in self.fetchers) == fetches
        assert out == self.out


def _number(item: tuple[BlobTag, Standing]) -> int:
    return item[1].number
