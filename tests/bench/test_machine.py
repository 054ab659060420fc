"""Which code and which machine a figure belongs to."""

import subprocess
from pathlib import Path

import pytest

from bench.machine import Commit, this_commit, this_machine


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit that holds one file."""
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n", encoding="utf-8")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "One")
    return tmp_path


def git(folder: Path, *arguments: str) -> None:
    """Run git with a name to commit under, whatever the user's own settings are."""
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.invalid"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, timeout=60)


def test_a_clean_tree_is_named_by_its_commit(repository: Path) -> None:
    commit = this_commit(repository)
    assert len(commit.id) == 12
    assert not commit.dirty


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_a_changed_or_an_unknown_file_makes_the_tree_dirty(repository: Path, name: str) -> None:
    (repository / name).write_text("2\n", encoding="utf-8")
    commit = this_commit(repository)
    assert commit.dirty
    assert str(commit) == f"{commit.id} (with uncommitted changes)"


def test_written_results_do_not_make_the_tree_dirty(repository: Path) -> None:
    (repository / "bench" / "results").mkdir(parents=True)
    (repository / "bench" / "results" / "warm.md").write_text("0.9\n", encoding="utf-8")
    assert not this_commit(repository).dirty


def test_without_a_repository_the_commit_is_unknown(tmp_path: Path) -> None:
    assert this_commit(tmp_path) == Commit(id="unknown", dirty=True)


def test_the_machine_is_described_by_what_decides_how_fast_it_is() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_gib > 0
    assert machine.cpu
    assert machine.python.startswith("3.")
