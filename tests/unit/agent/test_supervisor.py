"""The supervisor: its clockwork without processes, then real processes that hang, die and stop."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.agent import supervisor as sv
from shoal.agent.supervisor import Backoff, Heartbeat, Silence, Supervisor


def test_the_wait_doubles_to_ten_seconds_and_is_short_again_after_a_minute_of_health() -> None:
    backoff = Backoff()
    delays_s = [backoff.next_delay_s(healthy_for_s=5.0) for _ in range(9)]
    assert delays_s == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.next_delay_s(healthy_for_s=61.0) == 0.1


def test_an_agent_that_starts_has_longer_than_one_that_beats() -> None:
    silence = Silence(now_s=100.0)
    assert silence.left_s(now_s=101.0) == 14.0
    silence.received(b".\n", now_s=102.0)
    assert silence.left_s(now_s=102.5) == 2.5
    assert silence.left_s(now_s=105.0) == 0.0


def test_what_the_agent_says_of_its_settings_counts_from_the_next_beat_on() -> None:
    silence = Silence(now_s=0.0)
    silence.received(b"watch 5 7.5 text\n.\n", now_s=1.0)
    assert silence.left_s(now_s=1.0) == 5.0
    assert silence.drain_timeout_s == 7.5
    assert silence.log_format == "text"


def test_a_line_may_come_in_parts_and_an_unknown_one_changes_nothing() -> None:
    silence = Silence(now_s=0.0)
    silence.received(b"wat", now_s=1.0)
    silence.received(b"ch 5 6 json\nfuture words\n\xff\n" + b"x" * 5000, now_s=1.0)
    assert (silence.timeout_s, silence.first_beat_s) == (5.0, None)


def test_an_agent_that_does_not_want_to_be_watched_is_not() -> None:
    silence = Silence(now_s=0.0)
    silence.received(b"off\n", now_s=1.0)
    assert silence.left_s(now_s=1e9) is None


def test_after_a_pause_of_the_supervisor_the_agent_gets_a_new_period() -> None:
    silence = Silence(now_s=0.0)
    silence.received(b".\n", now_s=1.0)
    silence.forgive(now_s=500.0)
    assert silence.left_s(now_s=500.0) == 3.0


def test_no_variables_mean_no_supervisor() -> None:
    assert Heartbeat.from_environment({}) is None
    assert Heartbeat.from_environment({sv.PIPE_VARIABLE: "9999", sv.PARENT_VARIABLE: "1"}) is None


def test_the_pipe_is_taken_out_of_the_environment_and_kept_from_children() -> None:
    read, write = os.pipe()
    try:
        os.set_inheritable(write, True)
        environment = {sv.PIPE_VARIABLE: str(write), sv.PARENT_VARIABLE: str(os.getpid())}
        heartbeat = Heartbeat.from_environment(environment)
        assert heartbeat is not None
        assert environment == {}
        assert not os.get_inheritable(write)
        heartbeat.watch(timeout_s=3.0, drain_timeout_s=25.0, log_format="json")
        heartbeat.beat()
        heartbeat.stand_down()
        assert os.read(read, 100) == b"watch 3 25 json\n.\noff\n"
    finally:
        os.close(read)
        os.close(write)


def test_beats_never_block_while_nobody_reads_them() -> None:
    read, write = os.pipe()
    try:
        heartbeat = Heartbeat(write, parent_pid=os.getpid())
        for _ in range(40_000):  # more than a pipe holds
            heartbeat.beat()
    finally:
        os.close(read)
        os.close(write)


def test_an_agent_whose_supervisor_is_gone_stops_itself() -> None:
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: caught.append(number))
    read, write = os.pipe()
    try:
        os.close(read)
        Heartbeat(write, parent_pid=os.getpid()).beat()
    finally:
        os.close(write)
        signal.signal(signal.SIGTERM, before)
    assert caught == [signal.SIGTERM]


# --- with processes -----------------------------------------------------------------------------

_CHILD = """
import os, signal, sys, time
from shoal.agent.supervisor import Heartbeat
heartbeat = Heartbeat.from_environment(os.environ)
with open(os.environ["STARTS"], "a") as file:
    file.write(f"{os.getpid()}\\n")
starts = len(open(os.environ["STARTS"]).readlines())
def beat_for(seconds):
    open(os.environ["STARTS"] + ".on", "w").close()  # by now the body's handlers are there
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        heartbeat.beat()
        time.sleep(0.05)
silence_s = float(os.environ["SILENCE_S"])
heartbeat.watch(timeout_s=silence_s, drain_timeout_s=1, log_format="json")
"""


_SUPERVISOR = """
import os, sys
from shoal.agent import supervisor
{overrides}
command = [sys.executable, sys.argv[1]]
sys.exit(supervisor.Supervisor(command, environment=os.environ, start_grace_s={grace}).run())
"""


class Family:
    """A supervisor in a process of its own, over a child that runs some lines of Python."""

    def __init__(
        self,
        tmp_path: Path,
        body: str,
        *,
        silence_s: float = 10.0,
        start_grace_s: float = 30.0,
        overrides: str = "",
    ) -> None:
        self.starts = tmp_path / "starts"
        self.log = tmp_path / "log"
        child = tmp_path / "child.py"
        child.write_text(_CHILD + body, encoding="utf-8")
        code = _SUPERVISOR.format(overrides=overrides, grace=start_grace_s)
        with self.log.open("wb") as log:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-c", code, str(child)],
                {**os.environ, "STARTS": str(self.starts), "SILENCE_S": f"{silence_s:g}"},
                file_actions=[(os.POSIX_SPAWN_DUP2, log.fileno(), 2)],
            )

    def pids(self) -> list[int]:
        """Every child so far."""
        if not self.starts.exists():
            return []
        lines = self.starts.read_text(encoding="ascii").split("\n")[:-1]
        return [int(line) for line in lines]

    def wait_until_on(self) -> None:
        """Wait until the first child beats, and has its handlers."""
        _eventually(self.starts.with_suffix(".on").exists)

    def exit_code(self, *, timeout_s: float = 60.0) -> int:
        """Wait for the supervisor's end."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        raise AssertionError("the supervisor did not end")

    def end(self) -> None:
        """Leave no process behind."""
        for pid in (*((self.pid,) if self.pid else ()), *self.pids()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.pid:
            os.waitpid(self.pid, 0)


Start = Callable[..., Family]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    families: list[Family] = []

    def begin(body: str, **options: Any) -> Family:
        family = Family(tmp_path, body, **options)
        families.append(family)
        return family

    yield begin
    for family in families:
        family.end()


def _eventually(condition: Callable[[], object], *, timeout_s: float = 60.0) -> float:
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < timeout_s, "did not happen"
        time.sleep(0.01)
    return time.monotonic() - began_s


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stopped_agent_is_killed_and_replaced(start: Start) -> None:
    family = start("beat_for(60)", silence_s=1.0)
    family.wait_until_on()
    time.sleep(0.2)  # some beats
    first = family.pids()[-1]
    before = len(family.pids())  # one, unless the machine kept it from beating for a second
    os.kill(first, signal.SIGSTOP)
    took_s = _eventually(lambda: len(family.pids()) > before)
    assert took_s >= 0.5
    assert not _is_alive(first)
    assert '"event": "agent_killed"' in family.log.read_text(encoding="utf-8")
    assert '"reason": "silent"' in family.log.read_text(encoding="utf-8")


def test_an_agent_that_never_beats_is_killed_after_its_grace(start: Start) -> None:
    family = start("time.sleep(60)", start_grace_s=0.4)
    _eventually(lambda: len(family.pids()) >= 2)


def test_an_agent_that_needs_longer_to_start_than_its_grace_is_given_longer(start: Start) -> None:
    # On a quick machine the fourth has time enough, on a slow one a later one.
    family = start("time.sleep(0.8)\nheartbeat.beat()\nbeat_for(60)", start_grace_s=0.2)
    family.wait_until_on()
    started = len(family.pids())
    assert started >= 3
    log = family.log.read_text(encoding="utf-8")
    assert log.count('"reason": "silent"') >= 2


def test_an_agent_that_crashes_is_restarted_and_one_that_ends_well_is_not(start: Start) -> None:
    family = start("sys.exit(0 if starts == 3 else 1)")
    assert family.exit_code() == 0
    assert len(family.pids()) == 3


@pytest.mark.parametrize("code", [78, 2])
def test_wrong_settings_are_not_tried_again(start: Start, code: int) -> None:
    family = start(f"sys.exit({code})")
    assert family.exit_code() == code
    assert len(family.pids()) == 1


def test_a_stop_is_passed_on_and_the_exit_code_handed_back(start: Start) -> None:
    family = start("signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nbeat_for(60)")
    family.wait_until_on()
    os.kill(family.pid, signal.SIGTERM)
    assert family.exit_code() == 7
    assert len(family.pids()) == 1


def test_an_agent_that_stops_may_be_silent_for_longer(start: Start) -> None:
    family = start(
        """
def stopped(*_):
    time.sleep(2)  # twice the time that a running agent has
    sys.exit(0)
signal.signal(signal.SIGTERM, stopped)
beat_for(60)
""",
        silence_s=1.0,
    )
    family.wait_until_on()
    os.kill(family.pid, signal.SIGTERM)
    assert family.exit_code() == 0


def test_a_reload_is_passed_on_and_waits_for_an_agent_that_is_not_ready_for_it(
    start: Start,
) -> None:
    body = """
def reloaded(*_):
    open(os.environ["STARTS"] + ".reloaded", "w").close()
time.sleep(0.3)
signal.signal(signal.SIGHUP, reloaded)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
beat_for(60)
"""
    family = start(body)
    _eventually(lambda: len(family.pids()) == 1)
    os.kill(family.pid, signal.SIGHUP)
    _eventually(family.starts.with_suffix(".reloaded").exists)
    assert len(family.pids()) == 1


def test_an_agent_that_does_not_stop_in_time_is_killed(start: Start) -> None:
    family = start(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nbeat_for(60)",
        overrides="supervisor.STOP_SLACK_S = 0.0",
    )
    family.wait_until_on()
    os.kill(family.pid, signal.SIGTERM)
    assert family.exit_code() == 128 + signal.SIGKILL
    assert "late-stop" in family.log.read_text(encoding="utf-8")


def test_a_stop_between_two_agents_starts_no_further_one(start: Start) -> None:
    family = start("sys.exit(1)", overrides="supervisor.FIRST_DELAY_S = 30.0")
    _eventually(lambda: "agent_restarts" in family.log.read_text(encoding="utf-8"))
    os.kill(family.pid, signal.SIGTERM)
    assert family.exit_code() == 0
    assert len(family.pids()) == 1


def test_an_agent_that_is_not_watched_may_be_silent_and_is_not_restarted(start: Start) -> None:
    family = start("heartbeat.stand_down()\ntime.sleep(1)\nsys.exit(1)", silence_s=0.5)
    assert family.exit_code() == 1
    assert len(family.pids()) == 1


def test_an_agent_dies_with_its_supervisor(start: Start) -> None:
    family = start(
        "heartbeat.die_with_parent()\n"
        "open(os.environ['STARTS'] + '.on', 'w').close()\n"
        "time.sleep(60)"
    )
    _eventually(family.starts.with_suffix(".on").exists)
    child = family.pids()[0]
    os.kill(family.pid, signal.SIGKILL)
    family.exit_code()

    def gone() -> bool:
        # Whoever adopts it may take its time to reap it.
        try:
            return "Z" in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2][:3]
        except (FileNotFoundError, ProcessLookupError):
            return True

    _eventually(gone)


def test_the_supervisor_itself_stays_small() -> None:
    """What it imports is what every node pays for, twice."""
    code = (
        "import sys; before = set(sys.modules); import shoal.cli.main, shoal.cli.agent; "
        "print(*sorted(m.partition('.')[0] for m in set(sys.modules) - before))"
    )
    read, write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", code],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )
    os.close(write)
    with open(read, encoding="ascii") as file:
        imported = set(file.read().split())
    assert os.waitpid(pid, 0)[1] == 0
    heavy = {"asyncio", "pydantic", "aiohttp", "typer", "rich", "logging", "json", "socket", "yaml"}
    assert not imported & heavy
    assert not imported & {"subprocess", "threading", "typing", "ctypes", "re"}


def test_stray_children_are_reaped_too() -> None:
    """As process 1 of a container, the supervisor inherits orphans."""
    stray = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    kept = Supervisor([sys.executable], environment=os.environ)
    _eventually(lambda: kept._reap(0) is None and not _is_alive(stray))


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"MALLOC_ARENA_MAX": "7"}, "7")])
def test_the_agents_threads_share_one_arena_unless_the_environment_says_otherwise(
    given: dict[str, str], expected: str
) -> None:
    code = f"import os, sys; sys.exit(0 if os.environ['MALLOC_ARENA_MAX'] == {expected!r} else 2)"
    assert Supervisor([sys.executable, "-c", code], environment=given).run() == 0
