"""Traces: what is written is read again, and a replay goes the same way or says where not."""

from collections.abc import Iterator
from random import Random
from typing import get_args

import pytest

from shoal.core import trace
from shoal.core.blob import BlobSpec, BlobTag, ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.peer import PeerId
from shoal.core.swarm import effects as do
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.core.swarm.swarm import Swarm
from shoal.core.wire import messages as say

ME, OTHER = PeerId("10.0.0.1:65002"), PeerId("10.0.0.2:65002")
SPEC = BlobSpec("registry.test:5000", Digest("sha256", "ab" * 32), 300 << 20, ContentKind.BLOB)
EVENTS: tuple[on.Event, ...] = (
    on.MembersChanged(frozenset({OTHER, ME})),
    on.PeerConnected(OTHER),
    on.PeerLost(OTHER, failed=False),
    on.MessageArrived(OTHER, say.Join(SPEC, 5)),
    on.BlobWanted(SPEC, held=1 << 599, alone=True),
    on.ReaderMoved(SPEC.tag, 7),
    on.BlobReleased(SPEC.tag),
    on.BlobStored(SPEC),
    on.BlobDropped(SPEC.tag),
    on.BlobRejected(SPEC.tag),
    on.PieceProgressed(SPEC.tag, 3, OTHER),
    on.PieceStored(SPEC.tag, 3, on.REGISTRY),
    on.PieceStored(SPEC.tag, 3, OTHER, ME, bytes(range(32))),
    on.PieceDisbelieved(SPEC.tag, 3, OTHER, None, bytes(32)),
    on.PieceSpoiled(SPEC.tag, 3, OTHER, wrong=True),
    on.RegistryEnded(SPEC.tag, 0),
    on.RegistryEnded(SPEC.tag, 0, on.RegistryFault.DENIED, retry_after_s=0.1),
    on.UploadEnded(OTHER, SPEC.tag, 3),
    on.UploadsLimited(True),
    on.PeerLied(OTHER),
    on.Ticked(),
)
EFFECTS: tuple[do.Effect, ...] = (
    do.Connect(OTHER),
    do.Disconnect(OTHER, "lied: \u201cno\u201d"),
    do.Send(OTHER, say.LeaseEnded(SPEC.tag, 0, 2, say.LeaseOutcome.FAILED, 1.5)),
    do.SendPiece(OTHER, SPEC.tag, 3),
    do.FetchFromRegistry(SPEC.tag, 0, 4),
    do.StopRegistryFetch(SPEC.tag, 0),
    do.Probe(OTHER),
    do.NameSigner(OTHER, SPEC.tag, 0b101),
    do.GiveUp(SPEC.tag, "nobody has it"),
)


class Recorded:
    """A swarm beside its trace."""

    def __init__(self, *, seed: int = 7) -> None:
        self.swarm = Swarm(me=ME, rng=Random(seed))  # noqa: S311
        self.lines = [trace.write_begin(trace.Begin(ME, seed, DEFAULT))]
        self.now_s = 1000.0

    def tell(self, event: on.Event) -> list[do.Effect]:
        """Tell the swarm, a tenth of a second after the last time."""
        self.now_s += 0.1
        effects = self.swarm.handle(event, now_s=self.now_s)
        self.lines.append(trace.write_step(event, effects, now_s=self.now_s))
        return effects


def alone() -> Recorded:
    """A node that fetches a blob by itself."""
    node = Recorded()
    node.tell(on.MembersChanged(frozenset({ME})))
    node.tell(on.BlobWanted(SPEC))
    for _ in range(30):
        node.tell(on.Ticked())
    return node


def orders(node: Recorded) -> Iterator[do.Effect]:
    """Yield what a trace says that was ordered."""
    for line in node.lines[1:]:
        yield from trace.read_step(line).effects


@pytest.mark.parametrize("event", EVENTS, ids=str)
def test_every_event_is_read_as_it_was_written(event: on.Event) -> None:
    now_s = 0.1 + 0.2
    step = trace.read_step(trace.write_step(event, EFFECTS, now_s=now_s))
    assert step == trace.Step(now_s, event, EFFECTS)


@pytest.mark.parametrize(
    ("examples", "union"), [(EVENTS, on.Event), (EFFECTS, do.Effect)], ids=["events", "effects"]
)
def test_no_kind_is_left_out(examples: tuple[object, ...], union: object) -> None:
    assert {type(example) for example in examples} == set(get_args(union))


def test_tags_and_peers_come_back_as_what_they_were() -> None:
    line = trace.write_step(on.BlobReleased(SPEC.tag), [], now_s=0.0)
    event = trace.read_step(line).event
    assert isinstance(event, on.BlobReleased)
    assert type(event.tag) is BlobTag


def test_the_beginning_is_read_as_it_was_written() -> None:
    begin = trace.Begin(ME, 1 << 63, DEFAULT)
    assert trace.read_begin(trace.write_begin(begin)) == begin


def test_a_replay_gives_the_same_orders() -> None:
    node = alone()
    assert any(isinstance(order, do.FetchFromRegistry) for order in orders(node))
    assert trace.replay(node.lines, make_rng=Random) is None


def test_a_replay_says_where_it_goes_another_way() -> None:
    node = alone()
    number = next(
        number for number, line in enumerate(node.lines[1:], 1) if trace.read_step(line).effects
    )
    step = trace.read_step(node.lines[number])
    node.lines[number] = trace.write_step(step.event, [], now_s=step.now_s)
    difference = trace.replay(node.lines, make_rng=Random)
    assert difference is not None
    assert (difference.number, difference.replayed) == (number, step.effects)
    assert f"recorded None, replayed {step.effects[0]}" in str(difference)


@pytest.mark.parametrize(
    "line",
    ["", "{}", "[]", '[2,"a",2]', '[1,"a",1,{}]', '[2,"a",1,{"no_such_number":1}]'],
)
def test_what_is_no_beginning_is_refused(line: str) -> None:
    with pytest.raises(BadInput, match="not the beginning of a trace"):
        trace.replay([line], make_rng=Random)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[0.0]",
        '[0.0,"NoSuchEvent",[],[]]',
        '[0.0,"Ticked",[1],[]]',
        '[0.0,"BlobStored",[1],[]]',
    ],
)
def test_what_is_no_step_is_refused(line: str) -> None:
    with pytest.raises(BadInput, match="not a step of a trace"):
        trace.read_step(line)


def test_a_last_line_that_was_cut_is_left_out() -> None:
    assert trace.whole_lines("a\nb\nc") == ["a", "b"]
    assert trace.whole_lines("a\nb\n") == ["a", "b"]
