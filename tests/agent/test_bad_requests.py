"""What clients may send that no client should: a whole agent refuses it, says why, and goes on."""

import os

from agent.conftest import REPOSITORY, Agent, Client, Registry
from shoal.testing.registry import EmbeddedRegistry

BLOB = os.urandom(1_000_000)
HEX = "a" * 64


PATHS = (
    "/v2/team/../../../../etc/blobs/sha256:" + HEX,
    "/v2/team/app/blobs/sha256:../../../../etc/passwd",
    "/v2/team/app/blobs/sha256:..%2f..%2f..%2fcredential.key",
    "/v2/team/app/blobs/..%2f..%2fcredential.key",
    "/v2/team%2f..%2f..%2fapp/blobs/sha256:" + HEX,
    "/v2/team/app/blobs/sha256:" + "A" * 64,
    "/v2/team/app/blobs/sha256:" + HEX + "%00.json",
    "/v2/team/app/blobs/md5:" + "a" * 32,
    "/v2/team/app/manifests/../../credential.key",
    "/v2/team/app/manifests/%2e%2e%2f%2e%2e%2fcredential.key",
    "/shoal/transfers/../../credential.key",
    "/shoal/transfers/sha256:..%2fcredential.key",
    "//etc/passwd",
    "/../../etc/passwd",
    "http://127.0.0.1/v2/../etc/passwd",
)
RANGES = {
    "bytes=0-": 206,
    "bytes=-1": 206,
    "bytes=999999-99999999999999999999": 206,
    "bytes=0-0,-1": 400,
    "bytes=0-99,50-149": 400,
    "bytes=" + ",".join(["0-"] * 1000): 400,
    "bytes=1000000-": 416,
    "bytes=99999999999999999999999999999999999-": 416,
    "bytes=-0": 416,
    "bytes=5-4": 416,
    "bytes=a-b": 416,
    "bytes=--1": 416,
    "bytes=0x10-0x20": 416,
    "bytes=\u00b2-": 416,
    "bites=0-9": 200,  # RFC 9110 section 14.2: an unknown unit is no Range at all
}


async def test_a_path_or_digest_that_tries_to_leave_the_store_is_refused_unasked(
    agent: Agent, registry: Registry, client: Client
) -> None:
    asked, files, mark = registry.asked(), agent.files(), agent.mark()
    query = "?ns=" + registry.address.replace(":", "%3A")
    for path in PATHS:
        head = f"GET {path}{query} HTTP/1.1\r\nHost: 127.0.0.1:{agent.port}\r\n"
        answer = await client.raw((head + "Connection: close\r\n\r\n").encode())
        assert answer.split(b" ", 2)[1] in (b"400", b"404"), path
        assert len(answer) < 1000, path
    assert registry.asked() == asked
    assert agent.files() == files
    for cause in ("bad-request", "not-found"):
        agent.noted(f'"cause": "{cause}", "reason": "..', since=mark)
    await client.works()


async def test_an_absurd_or_overlapping_range_gets_what_http_has_for_it(
    agent: Agent, registry: Registry, client: Client
) -> None:
    digest = registry.inner.add_blob(BLOB, repository=REPOSITORY)
    mark = agent.mark()
    for asked, status in RANGES.items():
        answer = await client.blob(digest, Range=asked)
        assert answer.status == status, asked
        if status == 206:
            part = answer.headers["Content-Range"].removeprefix("bytes ").removesuffix("/1000000")
            first, _, last = part.partition("-")
            assert answer.body == BLOB[int(first) : int(last) + 1], asked
        elif status == 416:
            assert answer.headers["Content-Range"] == "bytes */1000000"
        elif status == 200:
            assert answer.body == BLOB
    agent.noted('"cause": "range"', since=mark)


async def test_a_registry_that_is_not_configured_is_never_asked(
    agent: Agent, client: Client
) -> None:
    async with EmbeddedRegistry() as other:
        digest = other.add_blob(BLOB, repository=REPOSITORY)
        other.content.add_image(REPOSITORY, "v1", [BLOB])
        name = other.address
        mark, seconds = agent.mark(), []
        for path in (f"blobs/{digest}", "manifests/v1", "tags/list", f"referrers/{digest}"):
            for method in ("GET", "HEAD"):
                answer = await client.ask(f"/v2/{REPOSITORY}/{path}", method=method, ns=name)
                assert answer.status == 404
                seconds.append(answer.seconds)
        assert min(seconds) < 0.2  # on a busy machine not each of them
        by_path = await client.ask(f"/v2/{name}/{REPOSITORY}/manifests/v1", ns="")
        assert by_path.status in (400, 404)
        for host in (name, "registry.example", f"127.0.0.1:{agent.port}@{name}"):
            head = f"GET /v2/{REPOSITORY}/manifests/v1 HTTP/1.1\r\nHost: {host}\r\n"
            reply = await client.raw((head + "Connection: close\r\n\r\n").encode())
            assert reply.split(b" ", 2)[1] in (b"400", b"403", b"404")
        assert other.counters.requests.total() == 0
        assert not other.log
    agent.noted(f'"cause": "unknown-registry", "reason": "registry {name} is not', since=mark)
