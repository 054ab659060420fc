"""TokenRequest: who asks a realm for what, in both forms; and what a realm gives."""

import base64
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from shoal.agent.front.token_asking import MAX_FORM_FIELDS, MAX_SCOPES, TokenRequest, given
from shoal.core.errors import BadInput

KEY = bytes(32)


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def form(**fields: str) -> TokenRequest:
    return TokenRequest("POST", "", urlencode(fields).encode())


def test_a_name_and_password_are_the_same_account_whichever_way_they_come() -> None:
    got = TokenRequest("GET", "service=s", authorization=basic("alice:pä:ss"))
    posted = form(grant_type="password", username="alice", password="pä:ss")
    account = got.account(key=KEY)
    assert account is not None
    assert account == posted.account(key=KEY)
    assert account != form(grant_type="password", username="alice", password="x").account(key=KEY)


def test_nobody_is_an_account_and_a_refresh_token_is_one() -> None:
    nobody = TokenRequest("GET", "").account(key=KEY)
    refreshing = form(grant_type="refresh_token", refresh_token="r").account(key=KEY)
    assert nobody is not None
    assert refreshing is not None
    assert nobody != refreshing


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest("GET", "", authorization="Bearer abc"),
        TokenRequest("GET", "", authorization="Basic ###"),
        TokenRequest("GET", "", authorization=basic("no colon")),
        TokenRequest("GET", "", authorization="Basic " + base64.b64encode(b"\xff:").decode()),
        TokenRequest("POST", "", b""),
        TokenRequest("POST", "", b"\xff\xff"),
        form(grant_type="authorization_code", code="c"),
        form(grant_type="password", username="alice"),
        TokenRequest("POST", "", b"grant_type=password&username=a&username=b&password=c"),
        TokenRequest("POST", "", b"grant_type=refresh_token&refresh_token=r", basic("c:s")),
    ],
)
def test_what_cannot_be_told_is_no_account(request_: TokenRequest) -> None:
    assert request_.account(key=KEY) is None


def test_the_repositories_are_those_to_be_pulled() -> None:
    query = urlencode(
        [
            ("scope", "repository:team/app:pull"),
            ("scope", "repository:host:5000/x:pull,push repository:y:push registry:catalog:*"),
        ]
    )
    assert TokenRequest("GET", query).repositories == {"team/app", "host:5000/x"}
    assert form(scope="repository:a:pull repository:b:pull").repositories == {"a", "b"}
    assert TokenRequest("GET", "").repositories == frozenset()


def test_more_scopes_or_fields_than_anybody_needs_are_refused() -> None:
    many = " ".join(f"repository:r{i}:pull" for i in range(MAX_SCOPES + 1))
    with pytest.raises(BadInput, match="scopes"):
        _ = form(scope=many).repositories
    with pytest.raises(BadInput, match="fields"):
        _ = TokenRequest("GET", "&".join(["a=b"] * (MAX_FORM_FIELDS + 1))).repositories


@for_all(st.binary(max_size=200))
def test_any_form_is_an_account_or_none(body: bytes) -> None:
    request = TokenRequest("POST", "", body)
    try:
        account, repositories = request.account(key=KEY), request.repositories
    except BadInput:
        return
    assert account is None or len(account) == 16
    assert all(isinstance(name, str) for name in repositories)


@pytest.mark.parametrize(
    ("realm", "url"),
    [
        ("https://auth.example/token", "https://auth.example/token?service=s"),
        ("https://auth.example/token?a=b", "https://auth.example/token?a=b&service=s"),
        ("https://auth.example", "https://auth.example/?service=s"),
        ("https://auth.example/token#x", "https://auth.example/token?service=s"),
    ],
)
def test_the_realm_is_asked_with_the_clients_query(realm: str, url: str) -> None:
    assert TokenRequest("GET", "service=s").url(realm) == url


def test_the_realm_gets_the_credential_and_nothing_else_of_the_clients() -> None:
    assert TokenRequest("GET", "", authorization="Basic x").headers == {
        "Accept": "application/json",
        "Authorization": "Basic x",
    }
    assert form().headers == {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
    }


def test_nothing_of_a_request_is_shown() -> None:
    request = TokenRequest("POST", "password=S3CRET", b"password=S3CRET", "Basic S3CRET")
    assert "S3CRET" not in repr(request)
    found = given(b'{"token": "S3CRET"}')
    assert "S3CRET" not in repr(found)


def test_a_realm_gives_a_token_under_either_name() -> None:
    answer = {"token": "t", "access_token": "a", "expires_in": 300}
    found = given(json.dumps(answer).encode())
    assert found is not None
    assert (found.tokens, found.lifetime_s) == (("a", "t"), 300.0)
    assert given(b'{"access_token": "a"}') is not None


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"{}", b'{"token": ""}', b'{"token": 3}', b"[" * 100_000]
)
def test_anything_else_gives_nothing(body: bytes) -> None:
    assert given(body) is None


@pytest.mark.parametrize("lifetime", ["0", "-1", "1e12", '"x"', "null", "NaN"])
def test_a_lifetime_that_is_none_is_a_minute(lifetime: str) -> None:
    found = given(f'{{"token": "t", "expires_in": {lifetime}}}'.encode())
    assert found is not None
    assert found.lifetime_s == 60.0
