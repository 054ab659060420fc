"""Guard: this node's programs, by the front's own names, and no web page."""

import pytest

from shoal.agent.front.answers import Cause, Refusal
from shoal.agent.front.guard import Guard

GUARD = Guard(port=65001, names=("mirror.internal", "reg.example:5000"), allow_remote=False)
OPEN = Guard(port=65001, allow_remote=True)
HOST = {"Host": "127.0.0.1:65001"}


def refused(guard: Guard, remote: str | None, headers: dict[str, str]) -> Cause:
    with pytest.raises(Refusal) as caught:
        guard.check(remote=remote, headers=headers)
    assert caught.value.status == 403
    return caught.value.cause


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_may_ask(remote: str) -> None:
    GUARD.check(remote=remote, headers=HOST)


@pytest.mark.parametrize("remote", ["10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "", None, "x"])
def test_others_may_not_unless_a_setting_says_so(remote: str | None) -> None:
    assert refused(GUARD, remote, HOST) is Cause.NOT_LOOPBACK
    OPEN.check(remote=remote, headers=HOST)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:65001",
        "[::1]:65001",
        "localhost:65001",
        "LOCALHOST:65001",
        "mirror.internal",
        "mirror.internal:65001",
        "reg.example:5000",
    ],
)
def test_the_fronts_own_names_are_taken(host: str) -> None:
    GUARD.check(remote="127.0.0.1", headers={"Host": host})


@pytest.mark.parametrize(
    "host",
    ["", "localhost", "127.0.0.1", "127.0.0.1:80", "evil.example:65001", "10.0.0.1:65001"],
)
def test_other_names_are_refused_as_rebinding_has_them(host: str) -> None:
    assert refused(GUARD, "127.0.0.1", {"Host": host}) is Cause.HOST_REFUSED
    assert refused(GUARD, "127.0.0.1", {}) is Cause.HOST_REFUSED


def test_an_open_front_takes_addresses_but_no_foreign_names() -> None:
    for host in ("10.0.0.7:65001", "[fd00::7]:65001", "10.0.0.7"):
        OPEN.check(remote="10.0.0.1", headers={"Host": host})
    assert refused(OPEN, "10.0.0.1", {"Host": "evil.example:65001"}) is Cause.HOST_REFUSED


@pytest.mark.parametrize("name", ["Origin", "origin", "Sec-Fetch-Site", "SEC-FETCH-MODE"])
def test_requests_of_web_pages_are_refused(name: str) -> None:
    assert refused(GUARD, "127.0.0.1", {**HOST, name: "x"}) is Cause.BROWSER
    assert refused(OPEN, "10.0.0.1", {**HOST, name: "x"}) is Cause.BROWSER


def test_an_alias_is_found_with_and_without_our_port() -> None:
    aliases = frozenset({"mirror.internal", "reg.example:5000"})
    assert GUARD.alias_in("Mirror.internal:65001", aliases=aliases) == "mirror.internal"
    assert GUARD.alias_in("reg.example:5000", aliases=aliases) == "reg.example:5000"
    assert GUARD.alias_in("mirror.internal:80", aliases=aliases) is None
    assert GUARD.alias_in("127.0.0.1:65001", aliases=aliases) is None
