"""The trace of a running swarm: it can be replayed, and never stands in the agent's way."""

import io
from pathlib import Path
from random import Random

import pytest

from shoal.agent import traced_swarm as module
from shoal.agent.traced_swarm import TracedSwarm, traced_swarm
from shoal.core.errors import SettingsError
from shoal.core.peer import PeerId
from shoal.core.swarm import events as on
from shoal.core.swarm.policy import DEFAULT
from shoal.core.trace import Begin, read_begin, replay, whole_lines

ME = PeerId("10.0.0.1:65002")


def test_what_a_swarm_does_is_written_at_once_and_can_be_replayed(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "as needed"
    with traced_swarm(folder, me=ME, policy=DEFAULT) as swarm:
        for now_s in range(5):
            swarm.handle(on.Ticked(), now_s=float(now_s))
        (path,) = folder.glob("swarm-*.trace")
        lines = whole_lines(path.read_text())
    assert len(lines) == 6
    assert read_begin(lines[0]).me == ME
    assert replay(lines, make_rng=Random) is None


def test_each_process_and_each_swarm_has_a_file_of_its_own(tmp_path: Path) -> None:
    for _ in range(2):
        with traced_swarm(tmp_path, me=ME, policy=DEFAULT):
            pass
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(SettingsError, match=r"swarm\.trace_dir: .* cannot be written"),
        traced_swarm(tmp_path / "file" / "below", me=ME, policy=DEFAULT),
    ):
        pass


def test_a_trace_ends_at_its_greatest_length_and_the_swarm_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_TRACE_BYTES", 2000)
    file = io.BytesIO()
    swarm = TracedSwarm(Begin(ME, 1, DEFAULT), file)
    for now_s in range(400):
        swarm.handle(on.Ticked(), now_s=float(now_s))
    assert 1000 < len(file.getvalue()) <= 2000
    assert replay(whole_lines(file.getvalue().decode()), make_rng=Random) is None
    assert [record.message for record in caplog.records] == ["trace_ended"]


def test_a_disk_that_is_full_ends_the_trace_and_not_the_swarm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        swarm = TracedSwarm(Begin(ME, 1, DEFAULT), full)
        assert swarm.handle(on.Ticked(), now_s=0.0) == []
    assert [record.message for record in caplog.records] == ["trace_ended"]
