"""pull: one image from beginning to end, from an agent or from the registry in its stead."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.adapters.layout.docker_archive import DockerArchive
from shoal.adapters.layout.oci_layout import OciLayout
from shoal.cli.pulling.failures import DataWrong, NotFound, Unavailable
from shoal.cli.pulling.job import CONCURRENT_BLOBS, PullRequest, PullResult, pull
from shoal.cli.pulling.platforms import parse_platform
from shoal.cli.pulling.watch import Lines, Silent
from shoal.core.digest import Digest
from shoal.core.errors import OriginDenied, StoreError
from shoal.core.oci.manifests import OCI_MANIFEST
from shoal.core.reference import Reference
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer, Disconnect, Hang, Truncate, WrongBytes

CONFIG = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
LAYERS = [hashlib.shake_128(b"layer").digest(size) for size in (70_000, 500, 0, 9_000)]
NOBODY = "http://127.0.0.1:9"  # the discard port, on which nothing listens


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.cli.pulling.place._PAUSES_S", (0.0, 0.01))


@pytest.fixture
async def agent() -> AsyncIterator[EmbeddedRegistry]:
    async with EmbeddedRegistry() as agent:
        agent.content.add_image("team/app", "1", list(LAYERS), config=CONFIG)
        yield agent


def request_to(agent: EmbeddedRegistry, name: str = "r.example.com/team/app:1") -> PullRequest:
    return PullRequest(
        reference=Reference.parse(name),
        agent_url=agent.url,
        find_credentials=lambda: None,
        platform=parse_platform("linux/amd64"),
    )


async def pulled(request: PullRequest, folder: Path) -> PullResult:
    layout = OciLayout(folder)
    try:
        return await pull(request, layout, Silent())
    finally:
        layout.close()


def words(result: PullResult) -> list[str]:
    return [blob.word for blob in result.blobs.values()]


def assert_whole(folder: Path, result: PullResult) -> None:
    for digest in [result.image.digest, *result.blobs]:
        data = (folder / "blobs" / digest.algorithm / digest.hex).read_bytes()
        assert hashlib.new(digest.algorithm, data).hexdigest() == digest.hex
    assert not list(folder.rglob("*.part"))


async def test_an_image_is_pulled_whole(agent: EmbeddedRegistry, tmp_path: Path) -> None:
    result = await pulled(request_to(agent), tmp_path)
    assert words(result) == ["pulled"] * 5
    assert result.place == f"agent {agent.url}"
    assert_whole(tmp_path, result)
    assert all("ns=r.example.com" in seen.path for seen in agent.log)


async def test_a_second_pull_fetches_no_blob(agent: EmbeddedRegistry, tmp_path: Path) -> None:
    await pulled(request_to(agent), tmp_path)
    agent.counters.clear()
    assert words(await pulled(request_to(agent), tmp_path)) == ["was here"] * 5
    assert agent.counters.requests["GET blobs"] == 0


async def test_blobs_come_several_at_a_time_and_not_more(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    agent.fail(Hang(), route="blobs")
    task = asyncio.ensure_future(pulled(request_to(agent), tmp_path))
    async with asyncio.timeout(30):
        while agent.counters.requests["GET blobs"] < CONCURRENT_BLOBS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)  # in which a further one would be asked for
    assert agent.counters.requests["GET blobs"] == CONCURRENT_BLOBS
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_sha512_is_as_good(agent: EmbeddedRegistry, tmp_path: Path) -> None:
    config = agent.add_blob(CONFIG, algorithm="sha512")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "c", "digest": str(config), "size": len(CONFIG)},
        "layers": [],
    }
    body = json.dumps(document).encode()
    digest = agent.content.add_manifest("team/app", None, body, algorithm="sha512")
    result = await pulled(request_to(agent, f"r.example.com/team/app@{digest}"), tmp_path)
    assert_whole(tmp_path, result)


async def test_an_interrupted_pull_goes_on_where_it_was(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    large = Digest("sha256", hashlib.sha256(LAYERS[0]).hexdigest())
    agent.fail(Truncate(30_000), digest=large, times=1)
    agent.fail(Answer(500), digest=large)
    with pytest.raises(Unavailable):
        await pulled(request_to(agent), tmp_path)
    assert not (tmp_path / "index.json").exists()
    agent.heal()
    agent.log.clear()
    result = await pulled(request_to(agent), tmp_path)
    assert_whole(tmp_path, result)
    asked = [seen.headers.get("Range") for seen in agent.log if str(large) in seen.path]
    assert asked == ["bytes=30000-"]


async def test_wrong_bytes_are_no_image(agent: EmbeddedRegistry, tmp_path: Path) -> None:
    agent.fail(WrongBytes(100), route="blobs")
    with pytest.raises(DataWrong):
        await pulled(request_to(agent), tmp_path)
    assert not (tmp_path / "index.json").exists()


async def test_without_an_agent_the_pull_says_so(
    agent: EmbeddedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.cli.pulling.job.AGENT_PATIENCE_S", 0.2)
    request = replace(request_to(agent), agent_url=NOBODY)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9.*--fallback"):
        await pulled(request, tmp_path)


@pytest.mark.parametrize("route", ["manifests", "blobs"])
async def test_an_agent_that_restarts_meanwhile_is_waited_for(
    agent: EmbeddedRegistry, tmp_path: Path, route: str
) -> None:
    agent.fail(Disconnect(), route=route, times=4 * CONCURRENT_BLOBS)  # more than three tries
    assert_whole(tmp_path, await pulled(request_to(agent), tmp_path))


async def test_what_the_agent_does_not_have_is_explained(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match=r"does not serve r\.example\.com"):
        await pulled(request_to(agent, "r.example.com/team/other:1"), tmp_path)


async def test_a_denial_is_one(agent: EmbeddedRegistry, tmp_path: Path) -> None:
    agent.auth = RegistryAuth(AuthMode.BASIC)
    with pytest.raises(OriginDenied, match=r"docker login r\.example\.com"):
        await pulled(request_to(agent), tmp_path)


def falling_back(registry: EmbeddedRegistry, agent_url: str) -> PullRequest:
    return replace(
        request_to(registry, f"{registry.address}/team/app:1"),
        agent_url=agent_url,
        fallback=True,
        plain_http=True,
    )


async def test_with_fallback_the_registry_is_asked_where_there_is_no_agent(
    agent: EmbeddedRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = OciLayout(tmp_path)
    result = await pull(falling_back(agent, NOBODY), layout, Lines())
    layout.close()
    assert result.place == agent.address
    assert_whole(tmp_path, result)
    assert f"asking {agent.address} instead" in capsys.readouterr().err
    assert not any("ns=" in seen.path for seen in agent.log)


@pytest.mark.parametrize("broken", ["manifests", "blobs"])
async def test_with_fallback_a_failing_agent_costs_nothing_but_time(
    agent: EmbeddedRegistry, tmp_path: Path, broken: str
) -> None:
    async with EmbeddedRegistry(content=agent.content) as registry:
        agent.fail(Answer(503), route=broken)
        result = await pulled(falling_back(registry, agent.url), tmp_path)
    assert_whole(tmp_path, result)


async def test_layers_that_live_elsewhere_are_left_out(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    config = agent.add_blob(CONFIG)
    foreign = {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "digest": f"sha256:{'0' * 64}",
        "size": 10,
        "urls": ["https://elsewhere.example.com/layer"],
    }
    kind = "application/vnd.oci.image.config.v1+json"
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": kind, "digest": str(config), "size": len(CONFIG)},
        "layers": [foreign],
    }
    agent.add_manifest("team/app", "1", json.dumps(document).encode(), OCI_MANIFEST)
    assert words(await pulled(request_to(agent), tmp_path)) == ["pulled", "left out"]


async def test_an_image_for_another_platform_is_refused_before_its_layers(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    request = replace(
        request_to(agent), platform=parse_platform("linux/arm64"), platform_matters=True
    )
    with pytest.raises(NotFound, match="is for linux/amd64, not for linux/arm64"):
        await pulled(request, tmp_path)
    assert agent.counters.requests["GET blobs"] == 1
    # Where nobody named a platform, what there is will do.
    result = await pulled(replace(request, platform_matters=False), tmp_path)
    assert_whole(tmp_path, result)


async def test_the_named_platform_is_pulled_config_and_all(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    result = await pulled(replace(request_to(agent), platform_matters=True), tmp_path)
    assert_whole(tmp_path, result)


async def test_an_archive_is_pulled_too_and_a_failed_one_leaves_nothing(
    agent: EmbeddedRegistry, tmp_path: Path
) -> None:
    path = tmp_path / "app.tar"
    agent.fail(Answer(404), route="blobs")
    for healthy in (False, True):
        archive = DockerArchive(path)
        if healthy:
            agent.heal()
            await pull(request_to(agent), archive, Silent())
        else:
            with pytest.raises(NotFound):
                await pull(request_to(agent), archive, Silent())
        archive.close()
        assert [it.name for it in tmp_path.iterdir()] == (["app.tar"] if healthy else [])


async def test_a_disk_that_is_full_ends_the_pull_with_its_own_error(
    agent: EmbeddedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shoal.adapters.layout.oci_layout.write_whole", full)
    with pytest.raises(StoreError, match="No space left"):
        await pulled(request_to(agent), tmp_path)
