"""Log lines: their form, their bounds, and a reader that does not read."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from shoal.adapters.telemetry import logs
from shoal.adapters.telemetry.logs import JsonLines, LineWriter, TextLines, logs_to


def _record(event: str, *, level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    return logging.getLogger("shoal.test").makeRecord(
        "shoal.test", level, __file__, 1, event, (), None, extra=fields
    )


def _failed(message: str) -> logging.LogRecord:
    record = _record("it_failed", level=logging.ERROR)
    try:
        raise ValueError(message)
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


def _json(record: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(record)
    assert "\n" not in line
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_a_record_is_one_object_with_its_event_and_fields() -> None:
    line = _json(_record("peer_connected", peer="10.0.0.7:65002", pieces=3, none=None))
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "level": "info",
        "logger": "shoal.test",
        "event": "peer_connected",
        "peer": "10.0.0.7:65002",
        "pieces": 3,
        "none": None,
    }


def test_a_field_cannot_pass_for_one_of_the_lines_own() -> None:
    record = _record("real")
    record.event = record.timestamp = "forged"
    line = _json(record)
    assert (line["event"], line["event_"]) == ("real", "forged")
    assert line["timestamp"] != line["timestamp_"] == "forged"


def test_values_that_json_lacks_become_text_and_sets_have_an_order() -> None:
    line = _json(_record("e", some={"b", "a"}, many=tuple(range(3)), of={1: b"x"}))
    assert line["some"] == ["a", "b"]
    assert line["many"] == [0, 1, 2]
    assert line["of"] == {"1": "b'x'"}


def test_a_failure_is_told_with_its_traceback_in_the_same_line() -> None:
    line = _json(_failed("no\nway"))
    assert line["error"] == "ValueError: no\nway"
    assert "test_logs.py" in str(line["traceback"])


def test_credentials_are_hidden_wherever_they_stand() -> None:
    record = _failed("asked with Bearer abcdefgh")
    record.headers = {"Authorization": "Basic abcdefgh"}
    record.token = "abcdefgh"
    record.url = "https://oss.example.com/b?Signature=abcdefgh"
    for formatter in (JsonLines(), TextLines(colour=False)):
        assert "abcdefgh" not in formatter.format(record)


def test_a_long_value_is_cut_and_says_so() -> None:
    line = _json(_record("e", body="x" * 100_000))
    assert len(str(line["body"])) < 3000
    assert "(100000 characters)" in str(line["body"])


def test_a_line_for_people_is_short() -> None:
    text = TextLines(colour=False).format(_record("peer_lost", peer="a:1", reason="timed out"))
    assert text[13:] == 'info    peer_lost peer=a:1 reason="timed out"'


def test_a_value_with_line_breaks_does_not_forge_a_second_record() -> None:
    text = TextLines(colour=False).format(_record("a\nb", peer="x\n12:00:00 error forged"))
    assert len(text.splitlines()) == 1


def test_colours_are_for_terminals_only() -> None:
    record = _record("e", level=logging.ERROR)
    assert "\x1b[" in TextLines(colour=True).format(record)
    assert "\x1b[" not in TextLines(colour=False).format(record)


class Pipe:
    """A pipe whose two ends a test may close."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        self._open = {self.read_fd, self.write_fd}

    def close(self, fd: int) -> None:
        """Close one end, once."""
        if fd in self._open:
            self._open.discard(fd)
            os.close(fd)

    def lines(self) -> list[str]:
        """Everything that was written; closes the pipe."""
        self.close(self.write_fd)
        self._open.discard(self.read_fd)
        with open(self.read_fd, encoding="utf-8") as file:
            return file.read().splitlines()

    def end(self) -> None:
        """Close what is open."""
        for fd in list(self._open):
            self.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.end()


def test_records_of_every_logger_are_written_down_to_the_level(pipe: Pipe) -> None:
    with logs_to(pipe.write_fd, level="warning", format_="json"):
        logging.getLogger("shoal.a").info("left_out")
        logging.getLogger("another").warning("written", extra={"n": 1})
    lines = [json.loads(line) for line in pipe.lines()]
    assert [line["event"] for line in lines] == ["written"]


def test_afterwards_logging_is_as_it_was(pipe: Pipe) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with logs_to(pipe.write_fd, level="debug", format_="text"):
        pass
    assert (root.level, list(root.handlers)) == before


def _until(condition: Callable[[], bool]) -> None:
    limit_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit_s
        time.sleep(0.005)


def test_a_reader_that_does_not_read_stops_nobody(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 10)
    monkeypatch.setattr(logs, "_FLUSH_TIMEOUT_S", 0.1)
    writer = LineWriter(pipe.write_fd, JsonLines())
    for number in range(200):  # 400 KB into a pipe of 64 KiB
        writer.emit(_record("e", number=number, body="x" * 2000))
    assert writer.dropped > 100
    writer.close()
    pipe.close(pipe.read_fd)  # frees the thread
    _until(lambda: not writer.is_running)


def test_lines_that_were_dropped_are_counted_in_the_log(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 10)
    writer = LineWriter(pipe.write_fd, JsonLines())
    for number in range(200):
        writer.emit(_record("e", number=number, body="x" * 2000))
    chunks = b""
    while b"log_lines_dropped" not in chunks:
        chunks += os.read(pipe.read_fd, 65536)
    writer.close()
    events = [json.loads(line) for line in chunks.decode().splitlines() if line.endswith("}")]
    told = next(event for event in events if event["event"] == "log_lines_dropped")
    assert told["count"] > 0


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe) -> None:
    writer = LineWriter(pipe.write_fd, JsonLines())
    pipe.close(pipe.read_fd)
    writer.emit(_record("e"))
    writer.close()
    assert not writer.is_running


def test_a_record_that_cannot_be_formatted_still_leaves_a_line(pipe: Pipe) -> None:
    record = _record("one %d")
    record.args = ("not a number",)
    writer = LineWriter(pipe.write_fd, JsonLines())
    writer.emit(record)
    writer.close()
    assert "log_record_unwritable" in pipe.lines()[0]


def test_a_pipe_that_was_made_non_blocking_gets_every_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_fd, False)
    writer = LineWriter(pipe.write_fd, JsonLines())
    for _ in range(100):
        writer.emit(_record("e", body="x" * 2000))
    got = b""
    while got.count(b"\n") < 100:
        got += os.read(pipe.read_fd, 65536)
    writer.close()
    assert all(json.loads(line)["event"] == "e" for line in got.decode().splitlines())
