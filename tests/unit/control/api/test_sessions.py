"""Temporary credentials: sealed, bound to their key, and they end."""

import pytest

from shoal.control.api.faults import Fault
from shoal.control.api.sessions import MAX_TOKEN_CHARS, Session, issue, open_session
from shoal.control.store.vault import Vault

NOW_S = 1_800_000_000
SESSION = Session("301", "p2p", NOW_S + 900, "")


def test_a_token_is_its_session_until_it_expires(vault: Vault) -> None:
    made = issue(vault, SESSION)
    opened, secret = open_session(vault, key_id=made.key_id, token=made.token, now_s=NOW_S)
    assert (opened, secret) == (SESSION, made.secret)
    assert made.secret not in repr(made)
    assert made.secret not in made.token
    with pytest.raises(Fault, match="expired"):
        open_session(vault, key_id=made.key_id, token=made.token, now_s=NOW_S + 900)


@pytest.mark.parametrize("token", ["", "x", "ü", "AAAA", "A" * 400, "A" * (MAX_TOKEN_CHARS + 1)])
def test_a_token_that_was_not_issued_here_is_malformed(vault: Vault, token: str) -> None:
    with pytest.raises(Fault) as caught:
        open_session(vault, key_id="STS.a", token=token, now_s=NOW_S)
    assert caught.value.code == "InvalidSecurityToken.Malformed"


def test_a_token_opens_for_its_own_key_alone(vault: Vault) -> None:
    made = issue(vault, SESSION)
    with pytest.raises(Fault) as caught:
        open_session(vault, key_id=issue(vault, SESSION).key_id, token=made.token, now_s=NOW_S)
    assert caught.value.code == "InvalidSecurityToken.Malformed"
