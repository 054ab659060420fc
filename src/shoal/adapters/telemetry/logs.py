"""Log records as they leave the process: an event's name and its fields, one line each.

`logger.info("peer_connected", extra={"peer": peer})` is the form of every call. Lines are written
by a thread: a log collector that stops reading must not stop the event loop.
"""

import json
import logging
import os
import queue
import select
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Literal

from shoal.adapters.telemetry.secrets import HIDDEN, is_secret_field, without_secrets

# What the standard library puts into a record; everything beyond was given as `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS = frozenset({"timestamp", "level", "logger", "event", "error", "traceback"})
# A field holds names and numbers, a traceback some frames; what is longer is cut, not split.
_MAX_FIELD_CHARS = 2048
_MAX_TRACEBACK_CHARS = 16384
# Lines that wait for a slow reader. At some hundred bytes each this is about a megabyte.
MAX_WAITING_LINES = 4096
# How long an ending process waits for its last lines to be read.
_FLUSH_TIMEOUT_S = 2.0

_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_PLAIN = "\x1b[0m"


def _cut(text: str, limit: int = _MAX_FIELD_CHARS) -> str:
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def _clean(value: object) -> object:
    """Return `value` as it may be written: JSON's own types, cut, without credentials."""
    match value:
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {
                str(k): HIDDEN if is_secret_field(str(k)) else _clean(v)
                for k, v in list(value.items())[:64]
            }
        case list() | tuple() | set() | frozenset():
            items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
            return [_clean(item) for item in list(items)[:64]]
        case _:
            return without_secrets(_cut(str(value)))


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return what `extra` added to a record, cleaned; names that are ours get an underscore."""
    return {
        f"{name}_" if name in _OURS else name: HIDDEN if is_secret_field(name) else _clean(value)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _event(record: logging.LogRecord) -> str:
    return without_secrets(_cut(record.getMessage()))


class JsonLines(logging.Formatter):
    """One JSON object a line, for collectors."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its end."""
        moment = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record),
            **fields_of(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line["error"] = without_secrets(_cut(f"{type(error).__name__}: {error}"))
            text = self.formatException(record.exc_info)
            line["traceback"] = without_secrets(text[-_MAX_TRACEBACK_CHARS:])
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """Short lines for people, in colour on a terminal."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line; a traceback follows on lines of its own."""
        moment = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():<7}"
        if self._colour and (colour := _COLOURS.get(record.levelname)):
            level = f"{colour}{level}{_PLAIN}"
        # One record is one line, whatever a remote sent: line breaks would forge the next record.
        pairs = [f"{name}={_word(value)}" for name, value in fields_of(record).items()]
        head = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03} {level} "
        text = head + " ".join([_one_line(_event(record)), *pairs])
        if record.exc_info and record.exc_info[1] is not None:
            trace = self.formatException(record.exc_info)[-_MAX_TRACEBACK_CHARS:]
            text += "\n" + without_secrets(trace)
        return text


def _word(value: object) -> str:
    text = str(value)
    bare = text and text.isprintable() and not any(mark in text for mark in " \"'=")
    return text if bare else json.dumps(text, ensure_ascii=True)


def _one_line(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


class LineWriter(logging.Handler):
    """Hands lines to a thread that writes them; drops and counts them when too many wait."""

    def __init__(self, fd: int, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.dropped = 0
        self._fd = fd
        self._given_up = False
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread still writes."""
        return self._thread.is_alive()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line; never blocks, never raises."""
        try:
            line = self.format(record)
        except Exception:
            # Logging must not be what fails. The call site is enough to find the bug.
            line = f'{{"event": "log_record_unwritable", "logger": "{record.name}"}}'
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _run(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None and not self._given_up:
            self._write(line)
            if self.dropped > reported:
                count, reported = self.dropped - reported, self.dropped
                record = logging.makeLogRecord(
                    {"name": __name__, "levelname": "WARNING", "msg": "log_lines_dropped"}
                )
                record.count = count
                self._write(self.format(record))

    def _write(self, line: str) -> None:
        content = memoryview(f"{line}\n".encode("utf-8", "backslashreplace"))
        while content:
            try:
                content = content[os.write(self._fd, content) :]
            except BlockingIOError:
                # Standard error is shared with whoever started us, and they made it non-blocking.
                select.select([], [self._fd], [], 1.0)
            except OSError:
                return  # nobody reads any more: there is nowhere to say so

    def close(self) -> None:
        """Let what was queued be written, for two seconds at most."""
        if self._thread.is_alive():
            try:
                self._lines.put(None, timeout=_FLUSH_TIMEOUT_S)
            except queue.Full:
                self._given_up = True  # whoever reads has stopped
            else:
                self._thread.join(_FLUSH_TIMEOUT_S)
        super().close()


def set_level(level: str) -> None:
    """Write records of at least this level from now on."""
    logging.getLogger().setLevel(level.upper())


@contextmanager
def logs_to(fd: int, *, level: str, format_: Literal["json", "text"]) -> Iterator[LineWriter]:
    """Send all records of the process to `fd` while inside.

    Args:
        fd: a file descriptor, usually 2; it is not closed.
        level: least severe level that is written: `debug`, `info`, `warning` or `error`.
        format_: `json` for collectors, `text` for people.
    """
    formatter = JsonLines() if format_ == "json" else TextLines(colour=_is_terminal(fd))
    writer = LineWriter(fd, formatter)
    root = logging.getLogger()
    previous_level = root.level
    root.setLevel(level.upper())
    root.addHandler(writer)
    # One line a request is what metrics are for; the front logs what went wrong itself.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield writer
    finally:
        logging.captureWarnings(False)
        root.removeHandler(writer)
        root.setLevel(previous_level)
        writer.close()


def _is_terminal(fd: int) -> bool:
    return os.isatty(fd) and "NO_COLOR" not in os.environ
