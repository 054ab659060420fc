"""Passwords: what is kept tells nothing, and what is weak is refused."""

import pytest

from shoal.control.passwords import WeakPassword, check_new, hash_password, is_password


def test_only_the_right_password_is_the_one_that_was_hashed() -> None:
    kept = hash_password("correct horse battery")
    assert is_password("correct horse battery", kept)
    assert not is_password("correct horse batterz", kept)
    assert not is_password("", kept)


def test_the_same_password_is_kept_differently_each_time_and_never_as_it_is() -> None:
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert first != second
    assert "correct" not in first


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least"),
        ("x" * 300, "at most"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("my-Alice-password", "holds your name"),
    ],
)
def test_weak_passwords_are_refused_with_the_reason(password: str, why: str) -> None:
    with pytest.raises(WeakPassword, match=why):
        check_new(password, name="alice")


def test_a_long_phrase_is_taken() -> None:
    check_new("correct horse battery staple", name="alice")
