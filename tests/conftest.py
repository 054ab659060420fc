"""Rules that hold for every test: order, limits of time, and what may be left out.

- Unit tests run first and the test bed last, so that a plain mistake shows within seconds.
- A test of parts has a minute, one of the whole what pyproject.toml says; a `timeout` mark
  overrules both. Each takes a fraction of that, and many times longer on a machine that is busy.
- Tests in tests/bed need root. For anyone else they are left out, and the run says so at its end.
- With SHOAL_NO_SKIPS=1, as in CI, nothing may be left out: a skipped test is a failed one.
"""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PARTS = frozenset({"unit", "bench", "tools", "project"})
PARTS_TIMEOUT_S = 60.0

_left_out = pytest.StashKey[int]()


def _may_skip() -> bool:
    return os.environ.get("SHOAL_NO_SKIPS") != "1"


def _kind(item: pytest.Item) -> str:
    """Return the folder of tests/ that a test is in."""
    path = item.path
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, sort them, and leave out those of the bed without root."""
    for item in items:
        if _kind(item) == "bed":
            item.add_marker(pytest.mark.bed)
        elif _kind(item) in PARTS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PARTS_TIMEOUT_S))

    order = {"unit": 0, "bed": 2}
    items.sort(key=lambda item: order.get(_kind(item), 1))

    bed = [item for item in items if item.get_closest_marker("bed")]
    if not bed or os.geteuid() == 0:
        return
    if not _may_skip():
        raise pytest.UsageError(
            f"{len(bed)} tests need the test bed and so root, and SHOAL_NO_SKIPS=1 lets none be "
            "left out: run as root"
        )
    config.stash[_left_out] = len(bed)
    config.hook.pytest_deselected(items=bed)
    items[:] = [item for item in items if item.get_closest_marker("bed") is None]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where none may be skipped."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not _may_skip():
        report.outcome = "failed"
        report.longrepr = f"skipped, and SHOAL_NO_SKIPS=1 lets nothing be: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a module that skips itself, as `pytest.importorskip` does."""
    report = yield
    if report.skipped and not _may_skip():
        report.outcome = "failed"
        report.longrepr = f"skipped, and SHOAL_NO_SKIPS=1 lets nothing be: {_reason(report)}"
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say loudly what was left out: a green run must not look like more than it is."""
    count = config.stash.get(_left_out, 0)
    if count:
        terminalreporter.section("LEFT OUT: THE TEST BED", sep="!", yellow=True, bold=True)
        terminalreporter.line(
            f"{count} tests with real containerd on network namespaces did not run, for they need "
            "root. To run them too: sudo ./dev test",
            yellow=True,
        )


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # A skip's longrepr is (path, line, "Skipped: why").
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
