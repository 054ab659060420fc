"""Sessions: a token stands for its account while it lasts, at its registry."""

from shoal.core.trust.credentials import Fingerprint
from shoal.core.trust.sessions import Session, Sessions

ALICE = Fingerprint(b"a" * 16)
TOKEN = Fingerprint(b"t" * 16)
SESSION = Session("registry.example", ALICE, frozenset({"team/app"}), until_s=100.0)


def test_a_token_stands_for_its_account_while_it_lasts_at_its_registry() -> None:
    sessions = Sessions()
    sessions.begin(TOKEN, SESSION)
    assert sessions.find(TOKEN, registry="registry.example", now_s=100.0) == SESSION
    assert sessions.find(TOKEN, registry="registry.example", now_s=100.1) is None
    assert sessions.find(TOKEN, registry="other.example", now_s=1.0) is None
    assert sessions.find(ALICE, registry="registry.example", now_s=1.0) is None


def test_an_account_that_is_refused_takes_its_tokens_along() -> None:
    sessions = Sessions()
    sessions.begin(TOKEN, SESSION)
    sessions.end("other.example", ALICE)
    assert len(sessions) == 1
    sessions.end("registry.example", ALICE)
    assert sessions.find(TOKEN, registry="registry.example", now_s=1.0) is None


def test_the_oldest_goes_first() -> None:
    sessions = Sessions(capacity=2)
    for letter in (b"1", b"2", b"3"):
        sessions.begin(Fingerprint(letter * 16), SESSION)
    assert len(sessions) == 2
    first = Fingerprint(b"1" * 16)
    assert sessions.find(first, registry="registry.example", now_s=1.0) is None
