"""What the kernel says of a process."""

import os
from pathlib import Path

import pytest

from bench.agent_costs import (
    AnonymousPeaks,
    anonymous_bytes,
    parse_anonymous_bytes,
)
from shoal.testing.bed.processes import BedError


def test_anonymous_memory_is_told_in_bytes_and_files_do_not_count() -> None:
    status = "Name:\tpython\nVmRSS:\t 9000 kB\nRssAnon:\t 36 kB\nRssFile:\t 8964 kB\n"
    assert parse_anonymous_bytes(status) == 36 * 1024


def test_a_kernel_that_does_not_tell_is_an_error() -> None:
    with pytest.raises(BedError, match="RssAnon"):
        parse_anonymous_bytes("Name:\tpython\n")


def test_a_peak_is_at_least_what_was_there_while_it_was_watched() -> None:
    pid = os.getpid()
    with AnonymousPeaks([pid]) as peaks:
        block = bytearray(os.urandom(1 << 20)) * 16
        while not peaks.samples:
            Path("/proc/self/status").read_bytes()
        now_bytes = anonymous_bytes(pid)
        seen = peaks.samples
        while peaks.samples == seen:
            Path("/proc/self/status").read_bytes()
    assert len(block) == 16 << 20
    assert peaks.peak_bytes[pid] >= now_bytes * 0.9
