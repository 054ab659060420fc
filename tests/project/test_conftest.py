"""The rules of tests/conftest.py, each tried in a small test suite of its own."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).parent.parent / "conftest.py"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty test suite under our conftest, where skipping is allowed."""
    monkeypatch.delenv("SHOAL_NO_SKIPS", raising=False)
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini(
        "[pytest]\n"
        # Without plugins that take long to load and do nothing here.
        "addopts = --import-mode=importlib -p no:asyncio -p no:hypothesispytest\n"
        "markers = bed: needs root\n"
    )
    return pytester


def write(suite: pytest.Pytester, path: str, text: str) -> None:
    """Put one test file into the suite."""
    target = suite.path / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


SKIPS = """\
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such tool")

@pytest.mark.skipif(True, reason="not here")
def test_is_marked_to_skip():
    pass

@pytest.mark.xfail(reason="known")
def test_is_known_to_fail():
    assert False
"""


def test_a_skip_is_only_a_skip_on_a_developers_machine(suite: pytest.Pytester) -> None:
    write(suite, "unit/test_a.py", SKIPS)
    suite.runpytest_inprocess().assert_outcomes(passed=1, skipped=2, xfailed=1)


def test_a_skip_is_a_failure_where_nothing_may_be_skipped(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOAL_NO_SKIPS", "1")
    write(suite, "unit/test_a.py", SKIPS)
    result = suite.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines(["*SHOAL_NO_SKIPS=1 lets nothing be: Skipped: no such tool*"])


def test_a_module_that_skips_itself_is_a_failure_too(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOAL_NO_SKIPS", "1")
    write(suite, "unit/test_a.py", "import pytest\npytest.importorskip('there_is_no_such_thing')\n")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    assert result.ret != pytest.ExitCode.OK


def test_unit_tests_run_first_and_the_bed_last(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for folder in ("bed", "agent", "unit"):
        write(suite, f"{folder}/test_{folder}.py", "def test_it():\n    pass\n")
    result = suite.runpytest_inprocess("-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["unit/*PASSED*", "agent/*PASSED*", "bed/*PASSED*"])


def test_without_root_the_bed_is_left_out_loudly(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write(suite, "bed/test_bed.py", "def test_it():\n    assert False\n")
    write(suite, "unit/test_unit.py", "def test_it():\n    pass\n")
    result = suite.runpytest_inprocess()
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["*LEFT OUT: THE TEST BED*", "1 tests with real containerd*"])


def test_without_root_nothing_runs_where_nothing_may_be_left_out(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("SHOAL_NO_SKIPS", "1")
    write(suite, "bed/test_bed.py", "def test_it():\n    pass\n")
    result = suite.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*1 tests need the test bed and so root*"])


def test_a_unit_test_has_a_minute_unless_it_says_otherwise(suite: pytest.Pytester) -> None:
    write(
        suite,
        "unit/test_limits.py",
        "import pytest\n"
        "def limit(request):\n"
        "    return request.node.get_closest_marker('timeout').args[0]\n"
        "def test_usual(request):\n"
        "    assert limit(request) == 60.0\n"
        "@pytest.mark.timeout(3)\n"
        "def test_own(request):\n"
        "    assert limit(request) == 3\n",
    )
    suite.runpytest_inprocess().assert_outcomes(passed=2)
