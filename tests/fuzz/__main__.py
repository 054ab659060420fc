"""Fuzzes parsers with atheris, and keeps count: `./dev fuzz` comes here.

Each target (`targets.py`) runs in a process of its own, because libFuzzer ends its process. It
begins with the inputs in `corpus/`, which are kept; what it finds on its way goes to .cache/fuzz,
and so does an input that breaks something, whose place is printed. Sums over all runs are in
bench/results/fuzz.json, and as a page in fuzz.md.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from bench.machine import this_commit
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
FOUND = ROOT / ".cache" / "fuzz"
RESULTS = ROOT / "bench" / "results"

_EXECUTED = re.compile(r"^stat::number_of_executed_units:\s+(\d+)", re.MULTILINE)
_MAX_INPUT_BYTES = 1024
_SLOW_S = 5  # an input on which a parser takes this long is as bad as one that breaks it
_MEMORY_MB = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one target to its end."""

    target: str
    day: str
    commit: str
    executions: int
    seconds: int
    broke: bool


def run_target(name: str, *, executions: int, seconds: int = 0) -> tuple[Run, str]:
    """Fuzz one target; return what to keep of it, and what libFuzzer wrote.

    Args:
        name: of the target.
        executions: how many at most.
        seconds: for how long at most; 0: until there were so many.
    """
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    limits = (
        f"-runs={executions} -max_total_time={seconds} -max_len={_MAX_INPUT_BYTES} "
        f"-timeout={_SLOW_S} -rss_limit_mb={_MEMORY_MB} -artifact_prefix={folder}/broke- "
        "-print_final_stats=1"
    )
    began_s = monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.one", name, *limits.split(), folder, CORPUS / name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    executed = _EXECUTED.search(done.stdout)
    run = Run(
        target=name,
        day=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=str(this_commit(ROOT)),
        executions=int(executed[1]) if executed else 0,
        seconds=round(monotonic() - began_s),
        broke=done.returncode != 0,
    )
    return run, done.stdout


def page(runs: Iterable[Run], *, notes: str) -> str:
    """Return the page that tells of all runs together."""
    kept = list(runs)
    lines = [
        "# Fuzzing: do parsers of a stranger's bytes ever break?",
        "",
        "Written by `./dev fuzz TARGET --executions N`; the targets are in tests/fuzz/targets.py.",
        "",
        "| target | executions | seconds | runs that broke | commits |",
        "|---|---|---|---|---|",
    ]
    for name in TARGETS:
        own = [run for run in kept if run.target == name]
        commits = ", ".join(dict.fromkeys(run.commit for run in own))
        executions, seconds = sum(r.executions for r in own), sum(r.seconds for r in own)
        broke = sum(r.broke for r in own)
        lines.append(f"| {name} | {executions:,} | {seconds} | {broke} | {commits} |")
    total = sum(run.executions for run in kept)
    days = ", ".join(sorted({run.day for run in kept}))
    return "\n".join([*lines, "", f"{total:,} executions in all; {days}.", "", notes])


def keep(runs: Iterable[Run]) -> None:
    """Add runs to the record, and write the page anew; its notes are a person's and stay."""
    record = RESULTS / "fuzz.json"
    stored: list[Mapping[str, object]] = json.loads(record.read_text()) if record.exists() else []
    stored += [asdict(run) for run in runs]
    record.write_text("[\n" + ",\n".join(f"  {json.dumps(run)}" for run in stored) + "\n]\n")
    path = RESULTS / "fuzz.md"
    _, mark, notes = path.read_text().partition("## ") if path.exists() else ("", "", "")
    path.write_text(page([Run(**run) for run in stored], notes=mark + notes))  # type: ignore[arg-type]


def main() -> int:
    """Fuzz what the command line names; return 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--executions", type=int, default=100_000, metavar="N", help="of each")
    parser.add_argument("--seconds", type=int, default=0, metavar="S", help="of each, at most")
    parser.add_argument("--no-write", action="store_true", help="leave bench/results as it is")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    runs = []
    for name in arguments.targets or TARGETS:
        run, said = run_target(name, executions=arguments.executions, seconds=arguments.seconds)
        runs.append(run)
        print(f"{name}: {run.executions} executions in {run.seconds} s", flush=True)
        if run.broke:
            print(said[-6000:], file=sys.stderr)
    if not arguments.no_write:
        keep(runs)
    return 1 if any(run.broke for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
