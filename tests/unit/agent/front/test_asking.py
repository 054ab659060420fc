"""Asking the registry on a client's behalf."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from shoal.adapters.origin.client import OriginAnswer, OriginStream
from shoal.adapters.origin.config import RegistryConfig
from shoal.agent.front.answers import Cause
from shoal.agent.front.asking import Exchange, ask, passed_on, unavailable, wire_path
from shoal.agent.front.target import ServedRegistry, Target
from shoal.core.digest import Digest
from shoal.core.errors import OriginError, OriginLied
from shoal.core.oci.routes import BlobRoute, TagsRoute
from shoal.core.trust.access import Holder
from shoal.core.trust.credentials import Fingerprint

SERVED = ServedRegistry("one.example:5000")
CONFIG = RegistryConfig("one.example:5000")
BLOB = BlobRoute("team/app", Digest("sha256", "1" * 64))


class OneAnswer:
    """A registry client that gives one answer, and remembers what it was asked with."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Mapping[str, str] = {}

    def registry_for(self, name: str) -> RegistryConfig | None:
        """Know one registry."""
        return CONFIG if name == CONFIG.name else None

    async def ask(
        self,
        registry: RegistryConfig,
        method: str,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
    ) -> OriginAnswer:
        """Give the answer."""
        self.headers = headers
        return answer(self.status)

    def stream(
        self, registry: RegistryConfig, path_and_query: str, *, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[OriginStream]:
        """Give nothing."""
        raise AssertionError


def answer(status: int, headers: dict[str, str] | None = None) -> OriginAnswer:
    return OriginAnswer(status, CIMultiDictProxy(CIMultiDict(headers or {})), b"body")


def exchange(authorization: str | None = None) -> Exchange:
    request = make_mocked_request("GET", BLOB.path, protocol=Mock())
    holder = Holder(CONFIG.name, "team/app", Fingerprint(bytes(16)))
    return Exchange(request, Target(SERVED, BLOB), CONFIG, holder, authorization)


async def test_the_clients_credential_goes_along() -> None:
    client = OneAnswer(200)
    await ask(client, exchange("Basic abc"), "GET", BLOB.path, accept="x", timeout_s=1.0)
    assert client.headers == {"Authorization": "Basic abc", "Accept": "x"}
    await ask(client, exchange(), "GET", BLOB.path, timeout_s=1.0)
    assert client.headers == {}


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 405, 416])
async def test_what_says_something_about_the_content_is_an_answer(status: int) -> None:
    found = await ask(OneAnswer(status), exchange(), "GET", BLOB.path, timeout_s=1.0)
    assert found.status == status


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_says_nothing_about_the_content_is_none(status: int) -> None:
    with pytest.raises(OriginError, match=str(status)):
        await ask(OneAnswer(status), exchange(), "GET", BLOB.path, timeout_s=1.0)


def test_no_credential_shows_in_a_log_line_or_repr() -> None:
    shown = exchange("Basic abc")
    assert "abc" not in repr(shown.fields)
    assert "Basic abc" not in repr(shown)
    assert "Basic abc" not in repr(shown.grant)


def test_a_registry_that_lies_is_told_from_one_that_is_away() -> None:
    assert unavailable(OriginError("away")).cause is Cause.REGISTRY_UNAVAILABLE
    assert unavailable(OriginLied("lied")).cause is Cause.CONTENT_WRONG
    assert unavailable(OriginError("away")).status == 404


def test_every_challenge_is_passed_on() -> None:
    headers: CIMultiDict[str] = CIMultiDict()
    headers.add("WWW-Authenticate", "Basic realm=x")
    headers.add("WWW-Authenticate", "Bearer realm=y")
    found = passed_on(OriginAnswer(401, CIMultiDictProxy(headers), b"no"), Target(SERVED, BLOB))
    assert found.headers.getall("WWW-Authenticate") == ["Basic realm=x", "Bearer realm=y"]
    assert (found.status, found.body) == (401, b"no")


def test_a_path_is_asked_for_without_what_was_meant_for_the_front() -> None:
    tags = TagsRoute("team/app", "one.example:5000")
    target = Target(SERVED, tags, (("n", "5"), ("last", "a b")), "one.example:5000", True)
    assert wire_path(target) == "/v2/team/app/tags/list?n=5&last=a+b"
