"""The stand-in of an API server answers as the real one where clients stumble."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.faults import Refuse

MAPS = "/api/v1/namespaces/a/configmaps"


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[KubeApiServer, aiohttp.ClientSession]]:
    authority = PrivateAuthority(folder)
    tls = authority.server_context("127.0.0.1")
    trust = ssl.create_default_context(cafile=str(authority.ca_file))
    async with (
        KubeApiServer(tls=tls, tokens={"good"}, bookmark_every_s=0.05) as server,
        aiohttp.ClientSession(
            server.url,
            headers={"Authorization": "Bearer good"},
            connector=aiohttp.TCPConnector(ssl=trust),
        ) as session,
    ):
        yield server, session


async def got(session: aiohttp.ClientSession, path: str, **query: str) -> tuple[int, Any]:
    async with session.get(path, params=query) as response:
        return response.status, await response.json()


async def first_events(response: aiohttp.ClientResponse, count: int) -> list[Any]:
    async with asyncio.timeout(30):
        return [json.loads(await response.content.readline()) for _ in range(count)]


async def test_objects_are_listed_in_pages_unless_the_cache_is_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        for name in "abc":
            server.put(f"{MAPS}/{name}", {})
        _, page = await got(session, MAPS, limit="2")
        assert [item["metadata"]["name"] for item in page["items"]] == ["a", "b"]
        token = page["metadata"]["continue"]
        _, page = await got(session, MAPS, limit="2", **{"continue": token})
        assert [item["metadata"]["name"] for item in page["items"]] == ["c"]
        assert "continue" not in page["metadata"]
        _, page = await got(session, MAPS, limit="2", resourceVersion="0")
        assert len(page["items"]) == 3
        server.objects.forget()
        status, answer = await got(session, MAPS, **{"continue": token})
        assert (status, answer["reason"]) == (410, "Expired")


async def test_a_watch_tells_what_changed_since_and_then_bookmarks(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        version = str(server.objects.version)
        server.put(f"{MAPS}/a", {})
        server.delete(f"{MAPS}/a")
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with session.get(MAPS, params=query) as response:
            events = await first_events(response, 3)
        assert [event["type"] for event in events] == ["ADDED", "DELETED", "BOOKMARK"]
        assert events[2]["object"]["metadata"]["resourceVersion"] == str(server.objects.version)


async def test_a_watch_from_a_forgotten_version_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        server.objects.forget()
        status, _ = await got(session, MAPS, watch="1", resourceVersion="1000")
        assert status == 410


async def test_a_watch_that_expires_says_so_and_ends(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as (server, session),
        session.get(MAPS, params={"watch": "1"}) as response,
    ):
        server.expire_watches()
        assert (await first_events(response, 1))[0]["object"]["code"] == 410
        assert await response.content.read() == b""


async def test_only_known_tokens_are_let_in(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        server.tokens = {"other"}
        assert (await got(session, MAPS))[0] == 401


async def test_one_object_is_got_or_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        server.put(f"{MAPS}/a", {"data": {"k": "v"}})
        assert (await got(session, f"{MAPS}/a"))[1]["data"] == {"k": "v"}
        assert (await got(session, f"{MAPS}/b"))[0] == 404
        assert (await got(session, "/healthz"))[0] == 404


async def test_a_refusal_carries_retry_after(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        server.faults.add(Refuse(429, retry_after_s=3))
        async with session.get(MAPS) as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "3")
        assert (await got(session, MAPS))[0] == 200
