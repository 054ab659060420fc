"""What is remembered, and until when."""

from shoal.control.store import recollection
from shoal.control.store.changes import Author, Changes
from shoal.control.store.recollection import Recollection


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_a_value_is_found_until_something_changes() -> None:
    kept = Recollection(max_age_s=10)
    kept.keep("a", None, version=kept.version)
    assert kept.find("a") == (None,)
    kept.changed()
    assert kept.find("a") is None


def test_what_was_read_while_something_changed_is_not_kept() -> None:
    kept = Recollection(max_age_s=10)
    version = kept.version
    kept.changed()
    kept.keep("a", 1, version=version)
    assert kept.find("a") is None


def test_a_value_has_an_age() -> None:
    clock = Clock()
    kept = Recollection(max_age_s=1, clock=clock)
    kept.keep("a", 1, version=kept.version)
    clock.now_s = 1.0
    assert kept.find("a") == (1,)
    clock.now_s = 1.5
    assert kept.find("a") is None


def test_the_longest_unused_goes_first() -> None:
    kept = Recollection(max_age_s=10)
    for number in range(recollection.MAX_ENTRIES):
        kept.keep(number, number, version=kept.version)
    kept.find(0)
    kept.keep("more", 1, version=kept.version)
    assert kept.find(0) == (0,)
    assert kept.find(1) is None


def test_only_a_change_that_matters_makes_it_forget(changes: Changes, author: Author) -> None:
    kept = changes.recollection
    kept.keep("a", 1, version=kept.version)
    with changes.by(author) as change:
        change.is_routine()
    assert kept.find("a") == (1,)
    with changes.by(author) as change:
        change.record("Something", "x")
        assert kept.find("a") == (1,), "it was forgotten before the change was committed"
    assert kept.find("a") is None
