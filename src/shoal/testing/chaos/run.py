"""Runs chaos: breaks and mends by plan while nodes pull, then judges what was seen."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from shoal.testing.bed.processes import BedError
from shoal.testing.chaos.faults.table import breakers
from shoal.testing.chaos.judge import (
    LIE_LASTS_ON_S,
    Outcome,
    Problem,
    PullRecord,
    Sample,
    judge,
)
from shoal.testing.chaos.plan import Fault, plan
from shoal.testing.chaos.pulls import BACK_OFF_S, PULL_TIMEOUT_S, Puller
from shoal.testing.chaos.resources import sample
from shoal.testing.chaos.stage import DISK_BYTES, Stage

PUSH_EVERY_S = 5.0  # 12 images a minute, of which each node has to manage half
SAMPLE_EVERY_S = 2.0
LOG_LINES = 40

Say = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """A run that has ended."""

    seed: int
    lies: bool
    outcome: Outcome
    problems: list[Problem]
    not_done: list[str] = field(default_factory=list)
    """Faults that could not be made, such as a stop of an agent that was just being replaced."""
    logs: Mapping[int, str] = field(default_factory=dict)
    """The ends of the agents' logs, of nodes that a problem names."""

    def lines(self) -> Iterable[str]:
        """Yield what a person wants to read: a summary, and of a failure all that it takes."""
        outcome = self.outcome
        reads = Counter(reading.outcome for reading in outcome.readings)
        retried = sum(len(pull.attempts) > 1 for pull in outcome.pulls)
        gap_s = max((a.longest_gap_s for p in outcome.pulls for a in p.attempts), default=0.0)
        yield (
            f"seed {self.seed}, {outcome.nodes} nodes, {outcome.seconds:.0f} s: "
            f"{len(outcome.faults)} faults, {len(outcome.pulls)} pulls ({retried} needed a second "
            f"attempt), {outcome.shoal_share:.0%} of their bytes through Shoal, "
            f"longest time without a byte {gap_s:.1f} s"
        )
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(reads.items()))
        yield f"stored blobs read back: {kinds or 'none'}"
        if not self.problems:
            yield "passed"
            return
        yield "faults:"
        yield from (f"  {fault}" for fault in outcome.faults)
        yield from (f"  not done: {text}" for text in self.not_done)
        for node, text in self.logs.items():
            yield f"the log of the agent of n{node + 1} ends:"
            yield text
        yield f"FAILED, for {len(self.problems)} reasons:"
        yield from (f"  {problem}" for problem in self.problems)
        yield (
            f"again: ./dev chaos --seed {self.seed} --minutes {outcome.seconds / 60:g} "
            f"--nodes {outcome.nodes}{'' if self.lies else ' --no-lies'}"
        )

    def as_json(self) -> str:
        """Return the same for a program."""
        outcome = self.outcome
        return json.dumps(
            {
                "seed": self.seed,
                "lies": self.lies,
                "seconds": outcome.seconds,
                "nodes": outcome.nodes,
                "passed": not self.problems,
                "problems": [
                    {"reason": p.reason.name, "text": p.text, "node": p.node} for p in self.problems
                ],
                "faults": [asdict(fault) | {"kind": fault.kind.name} for fault in outcome.faults],
                "pulls": [asdict(pull) for pull in outcome.pulls],
                "reads": Counter(reading.outcome for reading in outcome.readings),
                "shoal_share": round(outcome.shoal_share, 4),
            }
        )


def run_chaos(
    *,
    seed: int,
    seconds: float,
    nodes: int,
    lies: bool = True,
    say: Say = lambda _: None,
    keep: bool = False,
    tls: bool = False,
) -> Report:
    """Run chaos on a bed of its own.

    Args:
        seed: decides what breaks when.
        seconds: for how long pulls go on.
        nodes: how many nodes pull.
        lies: whether wrong bytes may come from those who vouch for them; see `plan`.
        say: hears of each fault as it begins.
        keep: leave the bed's folder with all logs.
        tls: whether agents have certificates, which may then be replaced.

    Raises:
        BedError: the bed does not come up.
    """
    faults = plan(seed, seconds=seconds, nodes=nodes, lies=lies, tls=tls)
    with Stage(nodes=nodes, seed=seed, keep=keep, tls=tls) as stage:
        return _Run(stage, seed, seconds, faults, say, lies=lies).go()


class _Run:
    """One run on a stage that stands."""

    def __init__(
        self,
        stage: Stage,
        seed: int,
        seconds: float,
        faults: Sequence[Fault],
        say: Say,
        *,
        lies: bool,
    ) -> None:
        self._stage = stage
        self._seed = seed
        self._seconds = seconds
        self._faults = faults
        self._say = say
        self._lies = lies
        self._stop = threading.Event()
        self._began_s = 0.0
        self._samples: list[Sample] = []
        self._not_done: list[str] = []

    def _now_s(self) -> float:
        return time.monotonic() - self._began_s

    def go(self) -> Report:
        mark = self._stage.bed.registry.mark()
        self._began_s = time.monotonic()
        numbers = range(len(self._stage.nodes))
        pullers = [
            Puller(self._stage, n, seed=self._seed, began_s=self._began_s, stop=self._stop)
            for n in numbers
        ]
        others = [threading.Thread(target=work) for work in (self._push, self._sample)]
        try:
            for thread in (*others, *pullers):
                thread.start()
            self._break_and_mend()
            self._stop.wait(max(0.0, self._seconds - self._now_s()))
        finally:
            self._stop.set()
            with self._stage.changed:
                self._stage.changed.notify_all()
            for thread in (*others, *pullers):
                thread.join(2 * PULL_TIMEOUT_S + BACK_OFF_S + LIE_LASTS_ON_S)
        for puller in pullers:
            if puller.error is not None:
                raise BedError(f"{puller.name} ended: {puller.error!r}") from puller.error
            if puller.is_alive():
                raise BedError(f"{puller.name} does not end")
        return self._report(pullers, mark)

    def _report(self, pullers: Sequence[Puller], mark: int) -> Report:
        registry = self._stage.bed.registry
        registry.settle()
        bypassed = sum(
            request.body_bytes
            for request in registry.requests(since=mark)
            if request.blob_digest is not None and request.user_agent.startswith("containerd")
        )
        pulls: list[PullRecord] = [pull for puller in pullers for pull in puller.pulls]
        outcome = Outcome(
            seconds=self._seconds,
            nodes=len(pullers),
            faults=self._faults,
            pulls=sorted(pulls, key=lambda pull: pull.attempts[0].began_s),
            readings=[reading for puller in pullers for reading in puller.readings],
            samples=self._samples,
            bypassed_bytes=bypassed,
            store_most_bytes=DISK_BYTES,
        )
        problems = judge(outcome)
        named = sorted({p.node for p in problems if p.node is not None})
        logs = {n: self._log_of(n) for n in named}
        return Report(self._seed, self._lies, outcome, problems, self._not_done, logs)

    def _log_of(self, number: int) -> str:
        log = self._stage.nodes[number].agent.service.log
        return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def _break_and_mend(self) -> None:
        """Begin and end every fault at its time; what is broken at a failure is mended too."""
        table = breakers(self._stage)
        steps = sorted(
            [(fault.at_s, 1, n) for n, fault in enumerate(self._faults)]
            + [(fault.until_s, 0, n) for n, fault in enumerate(self._faults)]
        )
        broken: dict[int, Fault] = {}
        try:
            for at_s, begins, number in steps:
                self._stop.wait(max(0.0, at_s - self._now_s()))
                fault = self._faults[number]
                if begins:
                    self._say(str(fault))
                    broken[number] = fault
                    self._do(table[fault.kind].begin, fault)
                else:
                    self._do(table[fault.kind].end, fault)
                    del broken[number]
        finally:
            for fault in broken.values():
                self._do(table[fault.kind].end, fault)

    def _do(self, act: Callable[[Fault], None], fault: Fault) -> None:
        try:
            act(fault)
        except (BedError, OSError) as error:  # an agent that is being replaced has no process
            self._not_done.append(f"{fault}: {str(error)[:200]}")

    def _push(self) -> None:
        while not self._stop.is_set():
            next_s = time.monotonic() + PUSH_EVERY_S
            self._stage.push()
            self._stop.wait(max(0.0, next_s - time.monotonic()))

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            for number, node in enumerate(self._stage.nodes):
                taken = sample(node, number=number, at_s=self._now_s())
                if taken is not None:
                    self._samples.append(taken)
