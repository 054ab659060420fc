"""Challenges: Basic and Bearer as registries spell them, and as nobody should."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.core.errors import BadInput
from shoal.core.oci.challenges import Challenge, parse_challenges, pull_scope, token_url

HUB = (
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
    'scope="repository:library/nginx:pull,push"'
)


def test_docker_hubs_challenge_is_read() -> None:
    (challenge,) = parse_challenges([HUB])
    assert challenge.scheme == "bearer"
    assert challenge.get("realm") == "https://auth.docker.io/token"
    assert challenge.get("scope") == "repository:library/nginx:pull,push"
    assert challenge.get("missing") is None
    assert str(challenge) == HUB


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        ([""], []),
        (["Basic"], [("basic", ())]),
        (["Basic realm=plain"], [("basic", (("realm", "plain"),))]),
        (['BASIC Realm = "a b"'], [("basic", (("realm", "a b"),))]),
        (['Basic realm="a, b=c"'], [("basic", (("realm", "a, b=c"),))]),
        (['Basic realm="a\\"b\\\\c"'], [("basic", (("realm", 'a"b\\c'),))]),
        (['Basic realm="x", charset="UTF-8"'], [("basic", (("realm", "x"), ("charset", "UTF-8")))]),
        (
            ['Bearer realm="r",service="s", Basic realm="b"'],
            [("bearer", (("realm", "r"), ("service", "s"))), ("basic", (("realm", "b"),))],
        ),
        (['Basic realm="b"', "Negotiate"], [("basic", (("realm", "b"),)), ("negotiate", ())]),
        (["Negotiate YIIabc==, Basic realm=x"], [("negotiate", ()), ("basic", (("realm", "x"),))]),
        (["Newauth, , Basic realm=x"], [("newauth", ()), ("basic", (("realm", "x"),))]),
    ],
)
def test_challenges_are_told_apart(
    headers: list[str], expected: list[tuple[str, tuple[tuple[str, str], ...]]]
) -> None:
    assert [(c.scheme, c.parameters) for c in parse_challenges(headers)] == expected


@pytest.mark.parametrize(
    "header",
    ['Basic realm="open', "=x", '"quoted"', "Basic @", "B " + "a" * 9000],
)
def test_a_malformed_challenge_is_bad_input(header: str) -> None:
    with pytest.raises(BadInput):
        parse_challenges([header])


def test_floods_of_challenges_and_parameters_are_refused() -> None:
    with pytest.raises(BadInput, match="challenges"):
        parse_challenges(["Basic realm=x"] * 17)
    with pytest.raises(BadInput, match="parameters"):
        parse_challenges(["Basic " + ", ".join(f"p{i}=x" for i in range(40))])


@settings(deadline=None)
@given(st.lists(st.text(alphabet='aB =,"\\\t;:/é', max_size=40), max_size=3))
def test_any_header_is_read_or_bad_input(headers: list[str]) -> None:
    try:
        parse_challenges(headers)
    except BadInput:
        return


@settings(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_a_challenge_that_we_write_is_read_back(value: str) -> None:
    challenge = Challenge("bearer", (("realm", value), ("service", "s")))
    assert parse_challenges([str(challenge)]) == (challenge,)


def test_a_relay_replaces_the_realm_and_nothing_else() -> None:
    (challenge,) = parse_challenges([HUB])
    relayed = challenge.replace(realm="http://127.0.0.1:65001/token")
    assert relayed.get("realm") == "http://127.0.0.1:65001/token"
    assert relayed.get("scope") == challenge.get("scope")
    assert Challenge("bearer").replace(realm="r").get("realm") == "r"


def test_a_token_is_asked_for_with_service_and_scopes() -> None:
    (challenge,) = parse_challenges([HUB])
    scope = pull_scope("library/nginx")
    assert token_url(challenge, scopes=[scope], account="me") == (
        "https://auth.docker.io/token?service=registry.docker.io"
        "&scope=repository%3Alibrary%2Fnginx%3Apull&account=me"
    )
    assert "pull%2Cpush" in token_url(challenge)


def test_a_realms_own_query_is_kept() -> None:
    challenge = Challenge("bearer", (("realm", "https://a.example/t?x=1"), ("service", "s")))
    assert token_url(challenge) == "https://a.example/t?x=1&service=s"


@pytest.mark.parametrize(
    "realm",
    [
        "",
        "ftp://a/t",
        "/token",
        "https://",
        "https://me:secret@a.example/t",
        "file:///etc",
        "http://[",
    ],
)
def test_a_realm_that_is_no_web_address_is_bad_input(realm: str) -> None:
    with pytest.raises(BadInput):
        token_url(Challenge("bearer", (("realm", realm),)))
    with pytest.raises(BadInput):
        token_url(Challenge("basic", (("realm", "https://a.example/"),)))
