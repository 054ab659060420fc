"""The small parent of the agent: it listens for a heartbeat, and replaces an agent that is silent.

A process that hangs or was stopped still accepts connections, and containerd waits for it for
ever; a process that is gone refuses them, and containerd asks the registry. So silence is ended by
SIGKILL, which no state of the agent can delay.

Rule 1: the parent opens no socket and reads no settings: what it must know of them the agent tells
it through the heartbeat pipe, which both ends of this file speak.
Rule 2: this file imports nothing but small parts of the standard library, since whatever it loads
stays resident on every node, twice.
Rule 3: a new agent starts only once the old one was reaped, since both would use one store.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence

PIPE_VARIABLE = "_SHOAL_HEARTBEAT_FD"
PARENT_VARIABLE = "_SHOAL_SUPERVISOR_PID"
# glibc gives each thread memory of its own, up to eight such arenas a processor, and each keeps
# what it needed at the worst moment. Threads that share the interpreter's lock need but one.
# Source: mallopt(3), M_ARENA_MAX. Whoever starts the agent with another number has that one.
ARENAS_VARIABLE, ARENAS = "MALLOC_ARENA_MAX", "1"

# How often the agent's event loop beats. Source: design.md gives 3 s of silence; six beats of
# slack keep a busy event loop alive.
BEAT_INTERVAL_S = 0.5
DEFAULT_TIMEOUT_S = 3.0
# Until its first beat: importing on a slow, busy edge node takes seconds, and nobody connects yet.
# One that was ended before it ever beat is followed by one that has twice as long: on a node that
# others keep busy it would else never start, and its starts would keep the node busy.
START_GRACE_S, LONGEST_START_GRACE_S = 15.0, 240.0
# What a stop may take beyond the agent's own drain timeout, to close files and connections.
STOP_SLACK_S = 10.0
FIRST_DELAY_S, LAST_DELAY_S, HEALTHY_AFTER_S = 0.1, 10.0, 60.0
# A parent that overslept by more was paused itself (a frozen cgroup or virtual machine), and so
# was the agent: it gets a new period before it is judged.
OVERSLEPT_S = 1.0
# Source: sysexits.h EX_CONFIG, and 2 as shells and argument parsers use it: the same command line
# and file would fail again. 0 is an agent that was stopped, or that only printed its help.
FINAL_EXIT_CODES = frozenset({0, 2, 78})
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPING = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_READ_BYTES = 65536  # a full pipe
_MAX_LINE_BYTES = 256


class Heartbeat:
    """The agent's end of the pipe."""

    def __init__(self, fd: int, *, parent_pid: int) -> None:
        self._fd = fd
        self._parent_pid = parent_pid
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> "Heartbeat | None":
        """Return the end that a supervisor left in `environment`, or None if there is none.

        The variables are taken out, so that the agent's own children do not find them.
        """
        fd = environment.pop(PIPE_VARIABLE, "")
        parent = environment.pop(PARENT_VARIABLE, "")
        if not fd.isdecimal() or not parent.isdecimal():
            return None
        try:
            return cls(int(fd), parent_pid=int(parent))
        except OSError:
            return None  # a variable left over from another process: no such descriptor here

    def watch(self, *, timeout_s: float, drain_timeout_s: float, log_format: str) -> None:
        """Tell the supervisor what the settings say: from now on `beat` must be called in time."""
        self._send(f"watch {timeout_s:g} {drain_timeout_s:g} {log_format}\n".encode())

    def stand_down(self) -> None:
        """Tell the supervisor not to watch: it passes on signals and the exit code, no more."""
        self._send(b"off\n")

    def beat(self) -> None:
        """Say that the event loop turns. Never blocks. Call every BEAT_INTERVAL_S."""
        self._send(b".\n")

    def _send(self, line: bytes) -> None:
        try:
            os.write(self._fd, line)
        except BlockingIOError:
            pass  # the supervisor is paused and the pipe full of beats: it will see those
        except OSError:
            # The supervisor is gone. Where the kernel did not end us with it, end in good order.
            os.kill(os.getpid(), signal.SIGTERM)

    def die_with_parent(self) -> None:
        """Ask the kernel to kill this process when the supervisor dies, so that ports get free."""
        try:
            import ctypes

            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        except (ImportError, OSError, AttributeError):
            pass  # not Linux, or no libffi: `_send` notices the supervisor's death
        if os.getppid() != self._parent_pid:  # it died before the kernel knew
            os._exit(1)


class Backoff:
    """How long to wait before the next start."""

    def __init__(self) -> None:
        self._delay_s = FIRST_DELAY_S

    def next_delay_s(self, *, healthy_for_s: float) -> float:
        """Return the wait after an agent that was healthy for `healthy_for_s`, in seconds."""
        if healthy_for_s >= HEALTHY_AFTER_S:
            self._delay_s = FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(LAST_DELAY_S, 2 * self._delay_s)
        return delay_s


class Silence:
    """Decides when silence has lasted too long, from lines of the pipe and a monotonic clock."""

    def __init__(self, *, now_s: float, start_grace_s: float = START_GRACE_S) -> None:
        self.timeout_s = DEFAULT_TIMEOUT_S
        self.drain_timeout_s = 25.0
        self.watched = True
        self.first_beat_s: float | None = None
        self.log_format: str | None = None
        self._start_grace_s = start_grace_s
        self._deadline_s = now_s + start_grace_s
        self._partial = b""

    def received(self, content: bytes, *, now_s: float) -> None:
        """Take in what the agent wrote."""
        *lines, rest = (self._partial + content).split(b"\n")
        self._partial = rest[:_MAX_LINE_BYTES]
        beaten = False
        for line in lines:
            match line.decode("ascii", "replace").split():
                case ["."]:
                    beaten = True
                case ["watch", timeout, drain_timeout, log_format]:
                    self.timeout_s, self.drain_timeout_s = float(timeout), float(drain_timeout)
                    self.log_format = log_format
                case ["off"]:
                    self.watched = False
        if beaten:
            self.first_beat_s = now_s if self.first_beat_s is None else self.first_beat_s
            self._deadline_s = now_s + self.timeout_s

    def forgive(self, *, now_s: float) -> None:
        """Begin a new period: the supervisor itself was paused."""
        period_s = self._start_grace_s if self.first_beat_s is None else self.timeout_s
        self._deadline_s = max(self._deadline_s, now_s + period_s)

    def left_s(self, *, now_s: float) -> float | None:
        """Return the seconds until the agent is to be killed, or None if it is not watched."""
        return max(0.0, self._deadline_s - now_s) if self.watched else None


class Supervisor:
    """Runs one command, again and again until it ends for good."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        start_grace_s: float = START_GRACE_S,
        log: Callable[[str], object] | None = None,
    ) -> None:
        """Prepare to run `command`.

        Args:
            command: path of an executable and its arguments.
            environment: the command's, to which the two variables of the pipe are added.
            start_grace_s: seconds until the first beat.
            log: what writes a line; standard error by default.
        """
        self._command = list(command)
        self._environment = dict(environment)
        self._start_grace_s = start_grace_s
        self._write = log or _to_stderr
        self._log_format = "text" if os.isatty(2) else "json"
        self._signals: list[int] = []
        self._stop_deadline_s: float | None = None
        self._stopping = False

    def run(self) -> int:
        """Supervise until the command ends for good; return the exit code to leave with."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        previous_wakeup = signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        previous = {
            number: signal.signal(number, lambda caught, _frame: self._signals.append(caught))
            for number in (*FORWARDED, signal.SIGCHLD)
        }
        try:
            return self._run(wake_read)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_wakeup)
            os.close(wake_read)
            os.close(wake_write)

    def _run(self, wake: int) -> int:
        backoff = Backoff()
        grace_s = self._start_grace_s
        while True:
            silence = Silence(now_s=time.monotonic(), start_grace_s=grace_s)
            try:
                pid, pipe = self._start()
            except OSError as exc:  # no process or memory left: it may pass
                code = 128 + (exc.errno or 0)
            else:
                try:
                    code = self._attend(pid, pipe, wake, silence)
                finally:
                    os.close(pipe)
            if self._stopping or code in FINAL_EXIT_CODES or not silence.watched:
                return code
            began_s = silence.first_beat_s
            if began_s is not None:
                grace_s = self._start_grace_s
            elif code == 128 + signal.SIGKILL:
                grace_s = min(2 * grace_s, LONGEST_START_GRACE_S)
            healthy_for_s = 0.0 if began_s is None else time.monotonic() - began_s
            delay_s = backoff.next_delay_s(healthy_for_s=healthy_for_s)
            self._log("agent_restarts", exit_code=code, delay_s=round(delay_s, 1))
            self._pause(wake, delay_s)
            if self._stopping:
                return 0

    def _start(self) -> tuple[int, int]:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_inheritable(write, True)
        environment = {
            ARENAS_VARIABLE: ARENAS,
            **self._environment,
            PIPE_VARIABLE: str(write),
            PARENT_VARIABLE: str(os.getpid()),
        }
        try:
            # A process group of its own: Ctrl-C then reaches the agent once, from here. A hangup
            # that comes before the agent can read its settings again must not end it: it waits.
            pid = os.posix_spawn(
                self._command[0],
                self._command,
                environment,
                setpgroup=0,
                setsigmask=(signal.SIGHUP,),
            )
        except OSError:
            os.close(read)
            raise
        finally:
            os.close(write)
        return pid, read

    def _attend(self, pid: int, pipe: int, wake: int, silence: Silence) -> int:
        """Watch one agent until it was reaped; return its exit code, 128 and more for a signal."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(pipe, select.POLLIN)
        killed = False
        woken_s = time.monotonic()
        if self._stopping:  # asked to stop between two agents
            self._signal(pid, signal.SIGTERM, silence)
        while True:
            code = self._reap(pid)
            if code is not None:
                return code
            now_s = time.monotonic()
            left_s = None if killed else silence.left_s(now_s=now_s)
            if self._stop_deadline_s is not None and not killed:
                stop_left_s = max(0.0, self._stop_deadline_s - now_s)
                left_s = stop_left_s if left_s is None else min(left_s, stop_left_s)
            ready = poll.poll(None if left_s is None else left_s * 1000 + 1)
            slept_from_s, woken_s = woken_s, time.monotonic()
            for fd, _ in ready:
                if fd == pipe and not self._read(pipe, silence, woken_s):
                    poll.unregister(pipe)
                elif fd == wake:
                    _drain(wake)
            while self._signals:
                number = self._signals.pop(0)
                if number != signal.SIGCHLD:
                    self._signal(pid, number, silence)
            if killed or left_s is None:
                continue
            if woken_s - slept_from_s > left_s + OVERSLEPT_S:
                silence.forgive(now_s=woken_s)
                continue
            # Judged again after the pipe was read: a beat that waited in it counts.
            silent = silence.left_s(now_s=woken_s) == 0.0
            late = self._stop_deadline_s is not None and woken_s >= self._stop_deadline_s
            if (silent or late) and _kill(pid, signal.SIGKILL):
                killed = True
                self._log("agent_killed", pid=pid, reason="silent" if silent else "late-stop")

    def _read(self, pipe: int, silence: Silence, now_s: float) -> bool:
        try:
            content = os.read(pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        silence.received(content, now_s=now_s)
        self._log_format = silence.log_format or self._log_format
        return bool(content)

    def _signal(self, pid: int, number: int, silence: Silence) -> None:
        if number in STOPPING and not self._stopping:
            now_s = time.monotonic()
            self._stopping = True
            self._stop_deadline_s = now_s + silence.drain_timeout_s + STOP_SLACK_S
            # It takes no more connections, and its last steps may be too long for a heartbeat.
            silence.timeout_s = max(silence.timeout_s, STOP_SLACK_S)
            silence.forgive(now_s=now_s)
        _kill(pid, number)

    def _reap(self, pid: int) -> int | None:
        """Collect every child that ended; as process 1 of a container, strangers' too."""
        code = None
        while True:
            try:
                ended, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return code
            if ended == 0:
                return code
            if ended == pid:
                code = os.waitstatus_to_exitcode(status)
                code = 128 - code if code < 0 else code  # as shells do

    def _pause(self, wake: int, delay_s: float) -> None:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        until_s = time.monotonic() + delay_s
        while not self._stopping and (left_s := until_s - time.monotonic()) > 0:
            poll.poll(left_s * 1000 + 1)
            _drain(wake)
            self._reap(0)
            self._stopping = any(number in STOPPING for number in self._signals)
            self._signals.clear()

    def _log(self, event: str, **fields: str | float) -> None:
        # By hand, since json and logging would double what this process takes. No value needs
        # escaping: they are numbers and this file's own words.
        if self._log_format == "text":
            text = " ".join(f"{name}={value}" for name, value in fields.items())
            self._write(f"{time.strftime('%H:%M:%S')}     warning {event} {text}\n")
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        pairs = "".join(
            f', "{name}": "{value}"' if isinstance(value, str) else f', "{name}": {value}'
            for name, value in fields.items()
        )
        self._write(
            f'{{"timestamp": "{now}", "level": "warning", "logger": "shoal.agent.supervisor", '
            f'"event": "{event}"{pairs}}}\n'
        )


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(fd, _READ_BYTES)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def supervise_this_command() -> int:
    """Run this process's own command line again as the agent; return the code to exit with."""
    command = [sys.executable, *sys.orig_argv[1:]]
    return Supervisor(command, environment=os.environ).run()
