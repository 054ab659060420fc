"""What a node's swarm was told and what it ordered, as lines of text that can be replayed.

The first line says how the swarm began; each further one is an event, when it came, and the orders
that it gave. Since a swarm has no clock and no randomness of its own, the same events give the same
orders again, in any process: `replay` says where they do not.
"""

# A line is a JSON list: [now_s, event, fields, [[effect, fields], ...]]. Fields stand in the order
# of their dataclass. Messages are what they are on the wire, in hexadecimal: the codec is tested
# anyhow, and a trace of a rollout is mostly messages.

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from shoal.core.blob import BlobSpec, BlobTag, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import Policy
from shoal.core.swarm.swarm import Swarm
from shoal.core.wire.codec import HEAD, decode, encode
from shoal.core.wire.messages import Message

if TYPE_CHECKING:
    from random import Random

FORMAT = 2

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(on.Event | do.Effect)}


@dataclass(frozen=True, slots=True)
class Begin:
    """How a swarm began; with its events, all that its orders follow from."""

    me: PeerId
    seed: int  # of its source of randomness
    policy: Policy


@dataclass(frozen=True, slots=True)
class Step:
    """One event and what came of it."""

    now_s: float
    event: on.Event
    effects: tuple[do.Effect, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay went another way than what was recorded."""

    number: int  # of the step, from 1
    step: Step
    replayed: tuple[do.Effect, ...]

    def __str__(self) -> str:
        """Say it in the words of a failed test."""
        pairs = zip((*self.step.effects, None), (*self.replayed, None), strict=False)
        recorded, replayed = next((a, b) for a, b in pairs if a != b)
        return (
            f"step {self.number} at {self.step.now_s:.6f} s, {self.step.event}: "
            f"recorded {recorded}, replayed {replayed}"
        )


def write_begin(begin: Begin) -> str:
    """Return the first line, without its end."""
    return _json([FORMAT, begin.me, begin.seed, asdict(begin.policy)])


def write_step(event: on.Event, effects: Iterable[do.Effect], *, now_s: float) -> str:
    """Return the line of one event, without its end."""
    orders = [[type(effect).__name__, _write(effect)] for effect in effects]
    return _json([now_s, type(event).__name__, _write(event), orders])


def read_begin(line: str) -> Begin:
    """Return what the first line says.

    Raises:
        BadInput: it is not the first line of a trace in this format.
    """
    try:
        number, me, seed, policy = json.loads(line)
        if number != FORMAT:
            raise ValueError(f"format {number}, not {FORMAT}")
        return Begin(PeerId(me), int(seed), Policy(**policy))
    except (ValueError, TypeError) as error:
        raise BadInput(f"not the beginning of a trace: {line[:80]!r}: {error}") from error


def read_step(line: str) -> Step:
    """Return what one of the further lines says.

    Raises:
        BadInput: it is none.
    """
    try:
        now_s, name, values, orders = json.loads(line)
        effects = tuple(_read(*order) for order in orders)
        return Step(float(now_s), _read(name, values), effects)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"not a step of a trace: {line[:80]!r}: {error}") from error


def replay(lines: Iterable[str], *, make_rng: "Callable[[int], Random]") -> Difference | None:
    """Tell a new swarm what another was told; return where it orders something else, or None.

    Args:
        lines: a trace.
        make_rng: makes a source of randomness from a seed; as the recorded swarm's was made.

    Raises:
        BadInput: a line is not what it has to be.
    """
    unread = iter(lines)
    begin = read_begin(next(unread, ""))
    swarm = Swarm(me=begin.me, rng=make_rng(begin.seed), policy=begin.policy)
    for number, line in enumerate(unread, start=1):
        step = read_step(line)
        replayed = tuple(swarm.handle(step.event, now_s=step.now_s))
        if replayed != step.effects:
            return Difference(number, step, replayed)
    return None


def _json(value: list[Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# --- one event or effect --------------------------------------------------------------------------

_Form = tuple[Callable[[Any], Any], Callable[[Any], Any]]


def _as_it_is(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    return value


def _write_spec(spec: BlobSpec) -> list[Any]:
    return [spec.registry, str(spec.digest), spec.length_bytes, spec.kind.value]


def _read_spec(value: list[Any]) -> BlobSpec:
    registry, digest, length_bytes, kind = value
    return BlobSpec(registry, Digest.parse(digest), length_bytes, ContentKind(kind))


def _read_message(value: str) -> Message:
    frame = bytes.fromhex(value)
    _, number = HEAD.unpack_from(frame)
    return decode(number, frame[HEAD.size :])


_PLAIN: _Form = (_as_it_is, _as_it_is)
# One row a type that a field of an event or effect has: how it is written and how read.
_FORMS: dict[Any, _Form] = {
    int: _PLAIN,
    float: _PLAIN,
    bool: _PLAIN,
    str: _PLAIN,
    bytes: (bytes.hex, bytes.fromhex),
    PeerId: _PLAIN,
    PeerId | None: _PLAIN,
    BlobTag: (bytes.hex, lambda value: BlobTag(bytes.fromhex(value))),
    BlobSpec: (_write_spec, _read_spec),
    Message: (lambda message: encode(message).hex(), _read_message),
    frozenset[PeerId]: (sorted, frozenset),
    on.RegistryFault | None: (
        lambda fault: None if fault is None else fault.value,
        lambda value: None if value is None else on.RegistryFault(value),
    ),
}


@cache
def _forms(name: str) -> tuple[tuple[str, _Form], ...]:
    """Return the fields of an event or effect with how they are written.

    Raises:
        KeyError: there is no such kind, or a field is of a type that has no form yet.
    """
    kind = _KINDS[name]
    hints = get_type_hints(kind)
    return tuple((field.name, _FORMS[hints[field.name]]) for field in fields(kind))


def _write(value: on.Event | do.Effect) -> list[Any]:
    return [write(getattr(value, name)) for name, (write, _) in _forms(type(value).__name__)]


def _read(name: str, values: list[Any]) -> Any:  # noqa: ANN401  (an event or an effect)
    forms = _forms(name)
    if len(values) != len(forms):
        raise ValueError(f"{name} of {len(values)} fields")
    return _KINDS[name](*(read(value) for value, (_, (_, read)) in zip(values, forms, strict=True)))


def whole_lines(text: str) -> list[str]:
    """Return the lines of a trace but a last one that was cut by the end of its process."""
    return text.rpartition("\n")[0].split("\n")
