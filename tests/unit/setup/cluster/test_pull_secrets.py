"""Copies of pull secrets."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.kube.api import KubeConnection, connected
from shoal.core.errors import BadInput
from shoal.setup.cluster.pull_secrets import PullSecrets, copy_name, rewritten_auths
from unit.setup.cluster.world import NAME, World, world

OLD = "test-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
NEW = "test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001"
NAMES = {OLD: NEW, "docker.io": "docker.distributed.io:65001"}
ENTRY = {"auth": base64.b64encode(b"user:sentinel").decode()}
SECRETS = "/api/v1/namespaces/apps/secrets"
HOOK = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"


def secret(*keys: str, entry: dict[str, str] = ENTRY) -> dict[str, Any]:
    content = json.dumps({"auths": dict.fromkeys(keys, entry)}).encode()
    return {
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": base64.b64encode(content).decode()},
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (OLD, NEW),
        (f"https://{OLD}", NEW),
        (f"https://{OLD}/v1/", NEW),
        (f"{OLD}/team", f"{NEW}/team"),
        ("*.cn-hangzhou.cr.aliyuncs.com", NEW),
        ("https://index.docker.io/v1/", "docker.distributed.io:65001"),
        ("*.cr.aliyuncs.com", None),  # a mark is part of one label
        ("other.example.com", None),
        ("", None),
        ("not a host", None),
    ],
)
def test_an_entry_is_for_a_registry_as_the_kubelet_reads_it(key: str, expected: str | None) -> None:
    assert rewritten_auths(secret(key), NAMES) == ({expected: ENTRY} if expected else {})


def test_the_older_form_is_read_too() -> None:
    old = {"data": {".dockercfg": base64.b64encode(json.dumps({OLD: ENTRY}).encode()).decode()}}
    assert rewritten_auths(old, NAMES) == {NEW: ENTRY}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"auths": []}', b"\xff"])
def test_what_is_no_pull_secret_is_for_none(content: bytes) -> None:
    thing = {"data": {".dockerconfigjson": base64.b64encode(content).decode()}}
    assert rewritten_auths(thing, NAMES) == {}
    assert rewritten_auths({"data": {"tls.key": "YQ=="}}, NAMES) == {}


def test_names_are_the_product_s_as_long_as_they_can_be() -> None:
    assert copy_name("test-registry") == "acr-credential-test-registry-p2p"
    long = copy_name("a" * 250)
    assert len(long) <= 253
    assert long != copy_name("a" * 249 + "b")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster with one pull secret and the webhook's configuration."""
    async with world(tmp_path) as running:
        running.server.put(f"{SECRETS}/mine", secret(OLD))
        running.server.put(HOOK, {"webhooks": []})
        yield running


@pytest.fixture
async def kube(here: World) -> AsyncIterator[KubeConnection]:
    """A connection with it."""
    async with connected(here.access) as connection:
        yield connection


def copied(here: World, name: str = "acr-credential-mine-p2p") -> Any:
    data = here.get(f"{SECRETS}/{name}")["data"][".dockerconfigjson"]
    return json.loads(base64.b64decode(data))["auths"]


async def test_a_copy_is_made_and_follows_its_original(here: World, kube: KubeConnection) -> None:
    secrets = PullSecrets(kube)
    assert await secrets.copied("apps", "mine", NAMES) == "acr-credential-mine-p2p"
    assert copied(here) == {NEW: ENTRY}
    version = here.server.objects.version
    await secrets.copied("apps", "mine", NAMES)
    assert here.server.objects.version == version
    other = {"auth": base64.b64encode(b"user:changed").decode()}
    here.server.put(f"{SECRETS}/mine", secret(OLD, entry=other))
    await secrets.copied("apps", "mine", NAMES)
    assert copied(here) == {NEW: other}


async def test_copies_go_with_the_webhook(here: World, kube: KubeConnection) -> None:
    await PullSecrets(kube).copied("apps", "mine", NAMES)
    await kube.delete(HOOK)
    assert await kube.find(f"{SECRETS}/acr-credential-mine-p2p") is None
    assert await kube.find(f"{SECRETS}/mine") is not None


async def test_without_the_webhook_there_is_no_copy_that_would_outlive_it(
    here: World, kube: KubeConnection
) -> None:
    await kube.delete(HOOK)
    with pytest.raises(BadInput, match="being taken away"):
        await PullSecrets(kube).copied("apps", "mine", NAMES)
    assert await kube.find(f"{SECRETS}/acr-credential-mine-p2p") is None


async def test_one_that_was_made_by_hand_is_left_alone(here: World, kube: KubeConnection) -> None:
    by_hand = secret(NEW, entry={"auth": "YnktaGFuZDp4"})
    here.server.put(f"{SECRETS}/acr-credential-mine-p2p", by_hand)
    assert await PullSecrets(kube).copied("apps", "mine", NAMES) == "acr-credential-mine-p2p"
    assert copied(here) == {NEW: {"auth": "YnktaGFuZDp4"}}


async def test_a_secret_for_other_registries_needs_no_copy(
    here: World, kube: KubeConnection
) -> None:
    here.server.put(f"{SECRETS}/other", secret("other.example.com"))
    assert await PullSecrets(kube).copied("apps", "other", NAMES) is None


async def test_a_secret_that_is_not_there_yet_is_no_answer(kube: KubeConnection) -> None:
    with pytest.raises(BadInput, match="pull secret later does not exist"):
        await PullSecrets(kube).copied("apps", "later", NAMES)


async def test_a_dry_run_writes_nothing(here: World, kube: KubeConnection) -> None:
    version = here.server.objects.version
    name = await PullSecrets(kube).copied("apps", "mine", NAMES, dry_run=True)
    assert (name, here.server.objects.version) == ("acr-credential-mine-p2p", version)
