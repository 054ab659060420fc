"""LeftAlone: a registry's wish is kept for as long as it says, an hour at most."""

from shoal.adapters.origin.left_alone import LONGEST_S, LeftAlone

KEY, OTHER = ("r.example.com", "team/app", "sha256:1", ""), ("r.example.com", "a", "sha256:1", "")


def test_a_wish_holds_until_its_time_and_for_what_it_was_about() -> None:
    wishes = LeftAlone()
    wishes.ask_later(KEY, 60.0, now_s=100.0)
    assert wishes.wait_s(KEY, now_s=130.0) == 30.0
    assert wishes.wait_s(OTHER, now_s=130.0) == 0.0
    assert wishes.wait_s(KEY, now_s=160.0) == 0.0


def test_no_wish_is_none() -> None:
    wishes = LeftAlone()
    wishes.ask_later(KEY, 0.0, now_s=100.0)
    assert wishes.wait_s(KEY, now_s=100.0) == 0.0


def test_no_wish_holds_for_longer_than_an_hour() -> None:
    wishes = LeftAlone()
    wishes.ask_later(KEY, 1e9, now_s=0.0)
    assert wishes.wait_s(KEY, now_s=0.0) == LONGEST_S


def test_the_oldest_of_too_many_wishes_is_forgotten() -> None:
    wishes = LeftAlone(capacity=1)
    wishes.ask_later(KEY, 60.0, now_s=0.0)
    wishes.ask_later(OTHER, 60.0, now_s=0.0)
    assert wishes.wait_s(KEY, now_s=1.0) == 0.0
    assert wishes.wait_s(OTHER, now_s=1.0) == 59.0
