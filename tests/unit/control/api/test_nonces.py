"""A signature is good once, and only near its time."""

import pytest

from shoal.control.api import nonces
from shoal.control.api.faults import Fault
from shoal.control.api.nonces import MAX_SKEW_S, Nonces

NOW_S = 1_800_000_000


def _use(used: Nonces, nonce: str, *, at_s: int = NOW_S, now_s: int = NOW_S) -> None:
    used.use(key_id="k", nonce=nonce, signed_at_s=at_s, now_s=now_s)


def _code(used: Nonces, nonce: str, *, at_s: int = NOW_S, now_s: int = NOW_S) -> str:
    with pytest.raises(Fault) as caught:
        _use(used, nonce, at_s=at_s, now_s=now_s)
    return caught.value.code


def test_a_nonce_is_good_once_and_for_each_key() -> None:
    used = Nonces()
    _use(used, "a")
    assert _code(used, "a") == "SignatureNonceUsed"
    used.use(key_id="other", nonce="a", signed_at_s=NOW_S, now_s=NOW_S)


@pytest.mark.parametrize("at_s", [NOW_S - MAX_SKEW_S, NOW_S + MAX_SKEW_S])
def test_a_replay_is_known_for_as_long_as_its_time_is_accepted(at_s: int) -> None:
    used = Nonces()
    first_s = at_s - MAX_SKEW_S
    _use(used, "a", at_s=at_s, now_s=first_s)
    for now_s in range(first_s, at_s + MAX_SKEW_S + 1, 60):
        _code(used, "a", at_s=at_s, now_s=now_s)
    assert _code(used, "a", at_s=at_s, now_s=at_s + MAX_SKEW_S) == "SignatureNonceUsed"


@pytest.mark.parametrize(
    ("off_s", "word"), [(MAX_SKEW_S + 1, "ahead"), (-MAX_SKEW_S - 1, "behind")]
)
def test_a_clock_that_is_off_is_told_by_how_much(off_s: int, word: str) -> None:
    with pytest.raises(Fault, match=rf"901 s {word}") as caught:
        _use(Nonces(), "a", at_s=NOW_S + off_s)
    assert caught.value.code == "InvalidTimeStamp.Expired"


def test_memory_is_bounded_and_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces, "MAX_NONCES", 2)
    used = Nonces()
    _use(used, "a")
    _use(used, "b")
    assert _code(used, "c") == "Throttling"
    later_s = NOW_S + MAX_SKEW_S + 120
    _use(used, "c", at_s=later_s, now_s=later_s)
