"""The embedded registry: what real clients count on. skopeo and containerd try it elsewhere."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from shoal.core.digest import Digest
from shoal.core.oci.manifests import OCI_INDEX, OCI_MANIFEST
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Answer, Disconnect, Hang, Redirect

BLOB = os.urandom(100_000)


@pytest.fixture
async def registry() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
async def session(registry: EmbeddedRegistry) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(registry.url) as session:
        yield session


async def test_a_blob_is_served_only_in_repositories_that_have_it(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    registry.content.add_image("a", "1", [BLOB])
    digest = registry.add_blob(BLOB)
    registry.content.add_image("b", "1", [b"other"])
    async with session.get(f"/v2/a/blobs/{digest}") as answer:
        assert (answer.status, await answer.read()) == (200, BLOB)
    async with session.get(f"/v2/b/blobs/{digest}") as answer:
        assert answer.status == 404
    assert registry.counters.blob_body_bytes == {str(digest): len(BLOB)}


@pytest.mark.parametrize(
    ("range_", "status", "expected"),
    [
        ("bytes=0-", 206, BLOB),
        ("bytes=10-19", 206, BLOB[10:20]),
        ("bytes=-5", 206, BLOB[-5:]),
        ("bytes=100000-", 416, b""),
        ("bytes=0-1,5-6", 400, None),
    ],
)
async def test_a_range_is_served_from_memory_and_from_a_file(
    registry: EmbeddedRegistry,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    range_: str,
    status: int,
    expected: bytes | None,
) -> None:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    digest = registry.add_blob(BLOB, repository="a")
    for data in (BLOB, path):
        registry.add_blob(data, repository="a")
        async with session.get(f"/v2/a/blobs/{digest}", headers={"Range": range_}) as answer:
            assert answer.status == status
            body = await answer.read()
            assert expected is None or body == expected
            if status == 206:
                assert answer.headers["Content-Range"].endswith("/100000")


async def test_head_tells_length_and_digest_and_sends_nothing(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    digest = registry.add_blob(BLOB, repository="a")
    async with session.head(f"/v2/a/blobs/{digest}") as answer:
        assert answer.headers["Content-Length"] == "100000"
        assert answer.headers["Docker-Content-Digest"] == str(digest)
    assert registry.counters.total_blob_body_bytes == 0


async def test_manifests_tags_referrers_and_catalog_are_served(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    image = registry.content.add_image("a", "1", [BLOB])
    subject = {"mediaType": OCI_MANIFEST, "digest": str(image), "size": 5}
    config = {"mediaType": "application/x", "digest": "sha256:" + "0" * 64, "size": 0}
    body = {"schemaVersion": 2, "config": config, "layers": [], "subject": subject}
    referrer = registry.add_manifest("a", None, json.dumps(body).encode(), OCI_MANIFEST)
    for target in ("1", str(image)):
        async with session.get(f"/v2/a/manifests/{target}") as answer:
            assert answer.headers["Content-Type"] == OCI_MANIFEST
            assert answer.headers["Docker-Content-Digest"] == str(image)
    async with session.get(f"/v2/a/referrers/{image}") as answer:
        assert answer.headers["Content-Type"] == OCI_INDEX
        (found,) = (await answer.json(content_type=None))["manifests"]
        assert (found["digest"], found["artifactType"]) == (str(referrer), "application/x")
    async with session.get("/v2/_catalog") as answer:
        assert await answer.json() == {"repositories": ["a"]}
    async with session.get("/v2/none/tags/list") as answer:
        assert answer.status == 404


async def test_what_is_no_pull_is_refused(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    for method, path, status in (
        ("GET", "/other", 404),
        ("GET", "/v2/A/manifests/1", 400),
        ("PUT", "/v2/a/manifests/1", 405),
        ("POST", "/v2/a/blobs/uploads/", 404),
    ):
        async with session.request(method, path) as answer:
            assert answer.status == status
    assert registry.counters.total_blob_body_bytes == 0


async def test_storage_takes_a_url_signed_for_the_method_and_no_other_credential() -> None:
    async with (
        EmbeddedRegistry(redirect_blobs=True) as registry,
        aiohttp.ClientSession() as session,
    ):
        digest = registry.add_blob(BLOB, repository="a")
        url = f"{registry.url}/v2/a/blobs/{digest}"
        async with session.get(url, allow_redirects=False) as answer:
            signed = answer.headers["Location"]
        assert registry.storage_address in signed
        async with session.get(signed) as answer:
            assert (answer.status, await answer.read()) == (200, BLOB)
        async with session.head(signed) as answer:
            assert answer.status == 403
        async with session.get(signed, headers={"Authorization": "Basic x"}) as answer:
            assert answer.status == 400
        async with session.get(f"http://{registry.storage_address}/{digest}") as answer:
            assert answer.status == 403
        async with session.get(f"http://{registry.storage_address}/etc/passwd") as answer:
            assert answer.status == 400


async def test_a_cap_holds_for_all_connections_together(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    path.write_bytes(os.urandom(200_000))
    async with (
        EmbeddedRegistry(rate_bytes_per_s=1_000_000) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        digest = registry.add_blob(path, repository="a")

        async def pull() -> int:
            async with session.get(f"/v2/a/blobs/{digest}") as answer:
                return len(await answer.read())

        began_s = asyncio.get_running_loop().time()
        assert tuple(await asyncio.gather(pull(), pull())) == (200_000, 200_000)
        assert asyncio.get_running_loop().time() - began_s >= 0.3


async def test_faults_befall_what_they_name_and_can_be_healed(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    digest = registry.add_blob(BLOB, repository="a")
    rule = registry.fail(Answer(503), digest=digest, method="GET", skip=1, times=1)
    statuses = []
    for _ in range(3):
        async with session.get(f"/v2/a/blobs/{digest}") as answer:
            statuses.append(answer.status)
    assert (statuses, rule.befallen) == ([200, 503, 200], 1)
    registry.fail(Redirect("/elsewhere"), route="ping")
    async with session.get("/v2/", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/elsewhere"
    registry.heal()
    registry.fail(Disconnect(), route="ping")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await session.get("/v2/")
    registry.heal()
    async with session.get("/v2/") as answer:
        assert answer.status == 200


async def test_stopping_does_not_wait_for_a_request_that_hangs() -> None:
    registry = EmbeddedRegistry()
    await registry.start()
    registry.fail(Hang())
    async with aiohttp.ClientSession(registry.url) as session, asyncio.TaskGroup() as tasks:

        async def ask() -> None:
            with pytest.raises(aiohttp.ClientError):
                await session.get("/v2/")

        tasks.create_task(ask())
        async with asyncio.timeout(30):
            while not registry.log:  # noqa: ASYNC110 - the log is a list, nobody signals it
                await asyncio.sleep(0.01)
        async with asyncio.timeout(20):
            await registry.stop()
            await registry.stop()


async def test_requests_are_logged_as_they_arrived(
    registry: EmbeddedRegistry, session: aiohttp.ClientSession
) -> None:
    path = f"/v2/a/blobs/{Digest('sha256', '0' * 64)}"
    async with session.get(f"{path}?ns=x", headers={"X-Test": "1"}) as answer:
        assert answer.status == 404
    (seen,) = registry.log
    assert (seen.route, seen.method, seen.path) == ("blobs", "GET", f"{path}?ns=x")
    assert seen.headers["X-Test"] == "1"
    registry.counters.clear()
    assert registry.counters.requests == {}
