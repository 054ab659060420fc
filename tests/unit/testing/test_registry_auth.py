"""Accounts of the embedded registry: who is let in where, and with what."""

import base64

import pytest

from shoal.core.oci.challenges import parse_challenges, pull_scope
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


ACCOUNTS = {"all": Account("1"), "some": Account("2", {"a"}, identity_token="i")}


def test_an_anonymous_registry_lets_everybody_read_everything() -> None:
    assert RegistryAuth().status_for(None, "a") == 200


@pytest.mark.parametrize(
    ("authorization", "repository", "status"),
    [
        (None, None, 401),
        (None, "a", 401),
        ("Bearer x", "a", 401),
        ("Basic !", "a", 401),
        (basic("all:wrong"), "a", 401),
        (basic("nobody:1"), "a", 401),
        (basic("all:1"), None, 200),
        (basic("all:1"), "b", 200),
        (basic("some:2"), "a", 200),
        (basic("some:2"), "b", 403),
    ],
)
def test_basic_tells_unknown_from_forbidden(
    authorization: str | None, repository: str | None, status: int
) -> None:
    auth = RegistryAuth(AuthMode.BASIC, ACCOUNTS)
    assert auth.status_for(authorization, repository) == status


def test_a_token_opens_what_it_was_granted_for_and_nothing_else() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS, public={"p"})
    scopes = [pull_scope(name) for name in ("a", "b", "p")] + ["repository:a:push", "registry:x:*"]
    for account, readable in (
        (ACCOUNTS["all"], {"a", "b", "p"}),
        (ACCOUNTS["some"], {"a", "p"}),
        (None, {"p"}),
    ):
        header = f"Bearer {auth.issue(account, scopes)}"
        opened = {name for name in ("a", "b", "p", "c") if auth.status_for(header, name) == 200}
        assert opened == readable
        assert auth.status_for(header, None) == 200
    header = f"Bearer {auth.issue(None, scopes)}"
    auth.revoke_tokens()
    assert auth.status_for(header, "p") == 401


def test_an_identity_token_names_its_account() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS)
    assert auth.account_of_identity_token("i") is ACCOUNTS["some"]
    assert auth.account_of_identity_token("") is None
    assert auth.account_of_identity_token("x") is None


def test_the_challenge_says_where_and_what_for() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS)
    (challenge,) = parse_challenges([auth.challenge("http://r/token", "a")])
    assert challenge.get("realm") == "http://r/token"
    assert challenge.get("scope") == "repository:a:pull"
    elsewhere = RegistryAuth(AuthMode.BEARER, realm="http://realm/")
    assert 'realm="http://realm/"' in elsewhere.challenge("http://r/token", None)
    assert RegistryAuth(AuthMode.BASIC).challenge("", "a").startswith('Basic realm="')
