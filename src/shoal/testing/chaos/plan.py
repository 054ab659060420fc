"""What breaks when: a pure function of the seed.

Rule 1: at most one fault at a time on a node, and at most one on the registry's way and one on the
site, so that each can be told from its effect.
Rule 2: at most half of the nodes are broken at once, and all is mended before the end.
Rule 3: kinds are drawn as from a bag, so that a short run meets every kind too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

CALM_S = 3.0  # at the beginning: one pull without faults
MENDED_S = 8.0  # at the end: what was under way can come to its end
GAP_S = (1.0, 3.0)  # between the beginnings of two faults


class FaultKind(StrEnum):
    """What can break. Another kind is a member here, its row in `KINDS`, and a breaker."""

    KILL_AGENT = "the agent gets SIGKILL"
    KILL_ALL = "agent and supervisor get SIGKILL"
    STOP_AGENT = "the agent gets SIGSTOP"
    CUT_LINK = "the node's link is cut"
    SLOW_LINK = "the node's link is slow"
    DAMAGE_STORE = "a file of the store is damaged"
    FILL_DISK = "the store's disk is full"
    JUMP_CLOCK = "the agent's clock jumps"
    REGISTRY_429 = "the registry answers 429"
    REGISTRY_500 = "the registry answers 500"
    REGISTRY_503 = "the registry answers 503"
    REGISTRY_HANGS = "the registry never answers"
    REGISTRY_TRUNCATES = "the registry cuts bodies in half"
    REGISTRY_LIES = "the registry sends wrong bytes"
    LIAR = "a member lies"
    FLAP_MEMBER = "a member leaves and comes back"
    ROTATE_CERTIFICATES = "the nodes' authority and certificates are replaced"


class Scope(StrEnum):
    """Where a fault is."""

    NODE = "node"
    REGISTRY = "registry"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Kind:
    """What the plan knows of a kind of fault."""

    scope: Scope
    lasts_s: tuple[float, float]
    arguments: tuple[str, ...] = ("",)


# A cut is shorter than what the kernel waits for a neighbour's address (three seconds), after
# which a pull without Shoal would fail as well: "no route to host".
_CUT_S = (0.8, 2.2)
_SHORT_S = (2.0, 4.0)
# Six of the kinds are the registry's: any longer, and Shoal could seldom be of use.
_BRIEF_S = (1.0, 2.5)
_LONG_S = (4.0, 9.0)

KINDS: Mapping[FaultKind, Kind] = {
    FaultKind.KILL_AGENT: Kind(Scope.NODE, (0.5, 1.5)),
    FaultKind.KILL_ALL: Kind(Scope.NODE, _SHORT_S),
    FaultKind.STOP_AGENT: Kind(Scope.NODE, (4.0, 6.0)),
    FaultKind.CUT_LINK: Kind(Scope.NODE, _CUT_S),
    FaultKind.SLOW_LINK: Kind(Scope.NODE, _LONG_S, ("5mbit", "10mbit", "20mbit")),
    FaultKind.DAMAGE_STORE: Kind(Scope.NODE, (0.5, 1.5)),
    FaultKind.FILL_DISK: Kind(Scope.NODE, _LONG_S),
    FaultKind.JUMP_CLOCK: Kind(Scope.NODE, _LONG_S, ("+3600", "-3600", "+315360000", "-86400")),
    FaultKind.REGISTRY_429: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.REGISTRY_500: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.REGISTRY_503: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.REGISTRY_HANGS: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.REGISTRY_TRUNCATES: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.REGISTRY_LIES: Kind(Scope.REGISTRY, _BRIEF_S),
    FaultKind.LIAR: Kind(
        Scope.SITE,
        _LONG_S,
        (
            "wrong-bytes",
            "wrong-hash",
            "cut",
            "stall",
            "silence",
            "wrong-offset",
            "overlong",
            "huge-block",
            "huge-frame",
            "garbage",
            "absurd-tracking",
        ),
    ),
    FaultKind.FLAP_MEMBER: Kind(Scope.SITE, _SHORT_S),
    # Agents take new files within 4 s: all of them trust both before any has a new certificate.
    FaultKind.ROTATE_CERTIFICATES: Kind(Scope.SITE, (6.0, 9.0)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that breaks, and is mended `lasts_s` later."""

    at_s: float  # since the beginning of the run
    kind: FaultKind
    lasts_s: float
    node: int | None = None  # counted from 0; whom a flapping membership leaves out
    argument: str = ""

    @property
    def until_s(self) -> float:
        """When it is mended."""
        return self.at_s + self.lasts_s

    @property
    def is_lie(self) -> bool:
        """Whether wrong bytes may reach a node under a name that vouches for them."""
        if self.kind is FaultKind.LIAR:
            return self.argument == "wrong-bytes"
        return self.kind is FaultKind.REGISTRY_LIES

    def __str__(self) -> str:
        where = "" if self.node is None else f" n{self.node + 1}"
        what = f"{self.kind}{f' ({self.argument})' if self.argument else ''}"
        return f"{self.at_s:7.2f} s to {self.until_s:7.2f} s{where}: {what}"


def plan(
    seed: int, *, seconds: float, nodes: int, lies: bool = True, tls: bool = False
) -> tuple[Fault, ...]:
    """Return every fault of a run, in order of time.

    Args:
        seed: the same one gives the same faults.
        seconds: how long the run takes.
        nodes: how many nodes pull.
        lies: whether wrong bytes may come from the registry, or from a member with their own hash.
        tls: whether there are certificates to replace.
    """
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    kinds = [kind for kind in FaultKind if tls or kind is not FaultKind.ROTATE_CERTIFICATES]
    faults = _faults(random, kinds, end_s=seconds - MENDED_S, nodes=nodes)
    return tuple(fault for fault in faults if lies or not fault.is_lie)


def _faults(random: Random, kinds: list[FaultKind], *, end_s: float, nodes: int) -> Iterator[Fault]:
    busy_until_s: dict[object, float] = {}
    bag: list[FaultKind] = []
    at_s = CALM_S
    while at_s < end_s:
        if not bag:
            bag = random.sample(kinds, len(kinds))
        kind = next((k for k in bag if _place(k, busy_until_s, at_s, nodes)), None)
        if kind is not None:
            bag.remove(kind)
            rule = KINDS[kind]
            lasts_s = min(random.uniform(*rule.lasts_s), end_s - at_s)
            free = _place(kind, busy_until_s, at_s, nodes)
            place = random.choice(free)
            busy_until_s[place] = at_s + lasts_s
            node = place if isinstance(place, int) else None
            if kind is FaultKind.FLAP_MEMBER:
                node = random.randrange(nodes)
            argument = random.choice(rule.arguments)
            yield Fault(round(at_s, 2), kind, round(lasts_s, 2), node, argument)
        at_s += random.uniform(*GAP_S)


def _place(
    kind: FaultKind, busy_until_s: Mapping[object, float], at_s: float, nodes: int
) -> list[int | Scope]:
    """Return where a fault of this kind may begin now."""
    scope = KINDS[kind].scope
    if scope is not Scope.NODE:
        return [] if busy_until_s.get(scope, 0.0) > at_s else [scope]
    free: list[int | Scope] = [n for n in range(nodes) if busy_until_s.get(n, 0.0) <= at_s]
    return free if nodes - len(free) < max(1, nodes // 2) else []
