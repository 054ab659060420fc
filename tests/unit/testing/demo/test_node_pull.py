"""All clients at once, here straight from a registry, which speaks as an agent's front does."""

import hashlib
from pathlib import Path

import pytest

from shoal.cli.pulling.sources import Sources
from shoal.core.digest import Digest
from shoal.core.reference import Reference
from shoal.testing.demo.node_pull import Expected, Pulled, pull_everywhere
from shoal.testing.image import random_image
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import Hang, WrongBytes

REFERENCE = Reference("registry.test", "shoal/demo", "latest")


class Watched:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.done: dict[int, int] = {}
        self.ends: dict[int, Pulled] = {}

    def advanced(self, node: int, *, done_bytes: int, sources: Sources) -> None:
        """Remember it."""
        self.done[node] = done_bytes

    def ended(self, node: int, pulled: Pulled) -> None:
        """Remember it."""
        self.ends[node] = pulled


def fill(registry: EmbeddedRegistry, folder: Path) -> tuple[Expected, int]:
    """Give the registry an image; return what to expect and its bytes."""
    image = random_image(folder / "image", layer_bytes=[50_000, 300], seed=1)
    registry.content.add_layout(image.layout, repository="shoal/demo", tag="latest")
    digests = {Digest.parse(layer.digest) for layer in image.layers}
    config = Digest.parse(image.config_digest)
    size = image.layer_bytes + image.blob(image.config_digest).stat().st_size
    return Expected(Digest.parse(image.manifest_digest), frozenset({config, *digests})), size


async def test_every_node_gets_and_checks_all_of_the_image(tmp_path: Path) -> None:
    async with EmbeddedRegistry() as registry:
        expected, size = fill(registry, tmp_path)
        watched = Watched()
        pulled = await pull_everywhere(
            [registry.url] * 2, REFERENCE, expected, watcher=watched, timeout_s=60
        )
        assert registry.counters.total_blob_body_bytes == 2 * size
    assert [(it.verified, it.error) for it in pulled] == [(True, ""), (True, "")]
    assert watched.done == {0: size, 1: size}
    assert watched.ends == dict(enumerate(pulled))


async def test_a_node_that_gets_wrong_bytes_fails_alone(tmp_path: Path) -> None:
    async with EmbeddedRegistry() as good, EmbeddedRegistry() as bad:
        expected, _ = fill(good, tmp_path)
        bad.content.blobs = good.content.blobs
        bad.content.repositories = good.content.repositories
        bad.fail(WrongBytes(10), route="blobs")
        first, second = await pull_everywhere(
            [bad.url, good.url], REFERENCE, expected, watcher=Watched(), timeout_s=60
        )
    assert not first.verified
    assert "do not have that digest" in first.error
    assert second.verified


async def test_another_image_than_the_one_that_was_built_is_not_verified(tmp_path: Path) -> None:
    async with EmbeddedRegistry() as registry:
        expected, _ = fill(registry, tmp_path)
        other = Digest("sha256", hashlib.sha256(b"other").hexdigest())
        (pulled,) = await pull_everywhere(
            [registry.url],
            REFERENCE,
            Expected(other, expected.blobs),
            watcher=Watched(),
            timeout_s=60,
        )
    assert (pulled.verified, pulled.error) == (False, "")


async def test_a_pull_that_hangs_is_given_up(tmp_path: Path) -> None:
    async with EmbeddedRegistry() as registry:
        expected, _ = fill(registry, tmp_path)
        registry.fail(Hang(), route="blobs")
        (pulled,) = await pull_everywhere(
            [registry.url], REFERENCE, expected, watcher=Watched(), timeout_s=0.2
        )
    assert not pulled.verified
    assert pulled.error == "the pull had not ended after 0.2 s"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9"])
async def test_a_node_without_an_agent_fails_with_a_sentence(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.cli.pulling.job.AGENT_PATIENCE_S", 0.1)
    expected = Expected(Digest("sha256", "0" * 64), frozenset())
    (pulled,) = await pull_everywhere([url], REFERENCE, expected, watcher=Watched(), timeout_s=60)
    assert "is the agent running?" in pulled.error
