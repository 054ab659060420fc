"""A whole agent before registries that want logins: who gets what, and where no credential goes.

One registry wants Bearer tokens and redirects blobs to a storage of its own, the other Basic. Both
hold images of Alice's and of Bob's. A yes lasts a second, the grace of an outage ten minutes.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from agent.conftest import Agent, Registry, running
from shoal.core.digest import Digest
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Disconnect
from unit.agent.front.conftest import Answer, basic
from unit.agent.front.runtime import Runtime

# Marked, so that they are found wherever they come to lie.
ALICE = ("alice", "M4RK-secret-of-alice")
BOB = ("bob", "M4RK-secret-of-bob")
NODE = ("node", "M4RK-secret-of-the-node")
TTL_S = 1.0
MIB = 1 << 20


def accounts(mode: AuthMode) -> RegistryAuth:
    return RegistryAuth(
        mode=mode,
        accounts={
            "alice": Account(ALICE[1], repositories=("alice/app", "alice/large", "base")),
            "bob": Account(BOB[1], repositories=("bob/app", "base")),
            "node": Account(NODE[1], repositories=("node/app",)),
        },
        public=("public/app",),
    )


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one layer."""

    repository: str
    manifest: Digest
    layer: Digest
    content: bytes = field(repr=False)

    @property
    def by_tag(self) -> str:
        """Path of the manifest by its tag."""
        return f"/v2/{self.repository}/manifests/v1"

    @property
    def by_digest(self) -> str:
        """Path of the manifest by its digest."""
        return f"/v2/{self.repository}/manifests/{self.manifest}"

    def blob(self, *, repository: str | None = None) -> str:
        """Path of the layer."""
        return f"/v2/{repository or self.repository}/blobs/{self.layer}"


def add_image(registry: Registry, repository: str, *, size_bytes: int = 70_000) -> Image:
    content = os.urandom(size_bytes)
    manifest = registry.inner.content.add_image(repository, "v1", [content])
    layer = Digest("sha256", hashlib.sha256(content).hexdigest())
    return Image(repository, manifest, layer, content)


@dataclass(slots=True)
class Front:
    """The agent's front, asked about one registry."""

    agent: Agent
    registry: Registry
    session: aiohttp.ClientSession

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        ns: str | None = None,
    ) -> Answer:
        """Ask as containerd's mirror does."""
        name = (ns or self.registry.address).replace(":", "%3A")
        url = URL(f"{self.agent.base}{path}?ns={name}", encoded=True)
        async with self.session.request(
            method, url, headers=headers, allow_redirects=False
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def pull(self, image: Image, login: tuple[str, str] | None) -> list[int]:
        """Pull as containerd does; return the statuses."""
        return await Runtime(self, login).pull(image.by_tag, image.blob())


@dataclass(slots=True)
class Site:
    """The agent, both registries, and the images that Alice has pulled of both."""

    agent: Agent
    bearer: Front
    basic: Front
    folder: Path

    @property
    def fronts(self) -> tuple[Front, Front]:
        """The front, for either registry."""
        return self.bearer, self.basic


@pytest.fixture(scope="module")
def registries() -> Iterator[tuple[Registry, Registry]]:
    served = (
        Registry(EmbeddedRegistry(auth=accounts(AuthMode.BEARER), redirect_blobs=True)),
        Registry(EmbeddedRegistry(auth=accounts(AuthMode.BASIC))),
    )
    for registry in served:
        registry.start()
    yield served
    for registry in served:
        registry.stop()


def sections(folder: Path, registries: tuple[Registry, Registry]) -> dict[str, object]:
    """Return the settings of an agent that serves both, with everything written that can be."""
    login = folder / "config.json"
    auth = base64.b64encode(":".join(NODE).encode()).decode()
    login.write_text(json.dumps({"auths": {registries[1].address: {"auth": auth}}}))
    login.chmod(0o600)
    bearer = {"name": registries[0].address, "plain_http": True}
    node = {"access": "node", "credentials_file": str(login)}
    return {
        "registries": [bearer, {"name": registries[1].address, "plain_http": True, **node}],
        "access": {"ttl_s": TTL_S, "outage_grace_s": 600},
        "limits": {"registry_bytes_per_s": "2MB/s"},
        "swarm": {"trace_dir": str(folder / "trace")},
        "log": {"level": "debug"},
    }


@pytest.fixture(scope="module")
def agent(
    registries: tuple[Registry, Registry], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("access")
    with running(folder, registries[0], **sections(folder, registries)) as started:
        yield started


@pytest.fixture
async def site(agent: Agent, registries: tuple[Registry, Registry]) -> AsyncIterator[Site]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        bearer, plain = (Front(agent, registry, session) for registry in registries)
        yield Site(agent, bearer, plain, agent.store.parent)
    for registry in registries:
        registry.inner.heal()
        mode = registry.inner.auth.mode
        registry.inner.auth.accounts = accounts(mode).accounts


async def test_a_private_digest_is_had_under_no_other_repository(site: Site) -> None:
    for front in site.fronts:
        image = add_image(front.registry, "alice/app")
        own = add_image(front.registry, "bob/app")
        public = add_image(front.registry, "public/app")
        assert await front.pull(image, ALICE) == [200, 200, 200]
        assert await front.pull(own, BOB) == [200, 200, 200]
        for login, repository in (
            (None, "alice/app"),
            (None, "public/app"),
            (BOB, "alice/app"),
            (BOB, "bob/app"),
            (BOB, "public/app"),
            (ALICE, "base"),
        ):
            answer = await Runtime(front, login).get(image.blob(repository=repository))
            assert answer.status in (401, 403, 404), (front.registry.address, login, repository)
            assert image.content[:64] not in answer.body
        assert public.content  # it was asked about, and is none of theirs
        assert await front.pull(image, ALICE) == [200, 200, 200]


async def test_a_private_digest_is_had_from_no_other_registry(site: Site) -> None:
    image = add_image(site.bearer.registry, "alice/app")
    assert await site.bearer.pull(image, ALICE) == [200, 200, 200]
    # Alice has the same name and password there, and a repository of the same name.
    assert (await Runtime(site.basic, ALICE).get(image.blob())).status == 404
    assert await site.basic.pull(add_image(site.basic.registry, "alice/app"), ALICE) == [200] * 3


async def test_a_manifest_that_lists_anothers_digest_proves_nothing_where_that_is_not_checked(
    registries: tuple[Registry, Registry], tmp_path: Path
) -> None:
    # These registries take any manifest: that is what the setting is for.
    values = sections(tmp_path, registries)
    values["registries"] = [
        {"name": registry.address, "plain_http": True, "checks_pushed_manifests": False}
        for registry in registries
    ]
    with running(tmp_path, registries[1], **values) as agent:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            front = Front(agent, registries[1], session)
            image = add_image(front.registry, "alice/app")
            assert await front.pull(image, ALICE) == [200, 200, 200]
            found = front.registry.inner.content.manifest("alice/app", image.manifest)
            assert found is not None
            content = front.registry.inner.content
            content.add_manifest("bob/app", "stolen", found[1].body)
            content.repository("bob/app").blobs.discard(image.layer)
            bob = Runtime(front, BOB)
            assert (await bob.get("/v2/bob/app/manifests/stolen")).status == 200
            assert (await bob.get(image.blob(repository="bob/app"))).status == 404


async def test_a_login_that_is_revoked_or_swapped_stops_with_the_yes(site: Site) -> None:
    for front in site.fronts:
        image = add_image(front.registry, "alice/app")
        alice = Runtime(front, ALICE)
        assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
        swapped = ("alice", "M4RK-another")
        changed = dict(front.registry.inner.auth.accounts)
        changed["alice"] = Account(swapped[1], repositories=("alice/app",))
        front.registry.inner.auth.accounts = changed
        front.registry.inner.auth.revoke_tokens()
        await asyncio.sleep(TTL_S)
        for path in (image.by_digest, image.blob()):
            assert (await alice.get(path)).status == 401
            assert (await Runtime(front, ALICE).get(path)).status == 401
        # Refused is refused, also while the registry is away; the new one is let in.
        front.registry.inner.fail(Disconnect())
        assert (await Runtime(front, ALICE).get(image.blob())).status in (401, 404)
        front.registry.inner.heal()
        assert await front.pull(image, swapped) == [200, 200, 200]


async def test_a_token_that_ends_in_the_middle_of_a_blob_costs_a_pause(site: Site) -> None:
    front = site.bearer
    image = add_image(front.registry, "alice/large", size_bytes=8 * MIB)  # 4 s at its rate
    alice = Runtime(front, ALICE)
    assert (await alice.get(image.by_tag)).status == 200
    name = front.registry.address.replace(":", "%3A")
    url = URL(f"{site.agent.base}{image.blob()}?ns={name}", encoded=True)
    got, ended, began_s = bytearray(), 0, time.monotonic()
    while len(got) < len(image.content):
        assert time.monotonic() - began_s < 100
        asked = {"Authorization": f"Bearer {alice.token}", "Range": f"bytes={len(got)}-"}
        async with front.session.get(url, headers=asked) as answer:
            if answer.status == 401:
                alice.token = None
                assert (await alice.get(image.by_tag)).status == 200
                continue
            assert answer.status in (206, 404)  # 404: between two of its tries, as containerd sees
            with contextlib.suppress(aiohttp.ClientPayloadError, ConnectionError):
                if answer.status == 206:
                    async for chunk in answer.content.iter_any():
                        got += chunk
                        if not ended and len(got) > MIB:
                            ended = len(got)
                            front.registry.inner.auth.revoke_tokens()
    assert ended
    assert bytes(got) == image.content


async def test_web_pages_are_refused_at_every_path_and_nobody_is_asked(site: Site) -> None:
    image = add_image(site.bearer.registry, "alice/app")
    challenge = await site.bearer.ask("GET", image.by_tag)
    realm = challenge.headers["WWW-Authenticate"].partition('realm="')[2].partition('"')[0]
    asked = site.bearer.registry.asked()
    port = site.agent.port
    pages: list[Mapping[str, str]] = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"},
        {"Host": f"evil.example:{port}"},  # resolves to 127.0.0.1: DNS rebinding
        {"Host": "evil.example"},
        {"Host": f"127.0.0.1.evil.example:{port}"},
        {"Host": f"127.0.0.1:{port + 1}"},
        {"Host": f"192.0.2.1:{port}"},
    ]
    for page in pages:
        for method, path in (
            ("GET", image.by_tag),
            ("GET", image.blob()),
            ("GET", "/v2/"),
            ("GET", "/readyz"),
            ("GET", f"/shoal/transfers/{image.layer}"),
            ("GET", realm.removeprefix(site.agent.base)),
            ("POST", realm.removeprefix(site.agent.base)),
        ):
            answer = await site.bearer.ask(method, path, headers=page)
            assert (answer.status, path) == (403, path)
            assert "Access-Control-Allow-Origin" not in answer.headers
    assert site.bearer.registry.asked() == asked


async def test_what_was_allowed_survives_a_restart_in_an_outage_and_nothing_else_does(
    registries: tuple[Registry, Registry], tmp_path: Path
) -> None:
    values = sections(tmp_path, registries)
    images = [add_image(registry, "alice/app") for registry in registries]
    with running(tmp_path, registries[0], **values) as agent:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            for registry, image in zip(registries, images, strict=True):
                assert await Front(agent, registry, session).pull(image, ALICE) == [200, 200, 200]
                async with asyncio.timeout(60):
                    while not {image.layer.hex, image.manifest.hex} <= agent.stored():  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
    for registry in registries:
        registry.inner.fail(Disconnect())
    try:
        with running(tmp_path, registries[0], **values) as agent:
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                for registry, image in zip(registries, images, strict=True):
                    front = Front(agent, registry, session)
                    alice = Runtime(front, ALICE)
                    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
                    assert (await alice.get(image.by_digest)).status == 200
                    for login in (None, BOB, ("alice", "guessed")):
                        other = Runtime(front, login)
                        for path in (image.by_tag, image.by_digest, image.blob()):
                            assert (await other.get(path)).status in (401, 404)
    finally:
        for registry in registries:
            registry.inner.heal()


async def test_no_credential_comes_to_lie_anywhere(site: Site) -> None:
    """Bearer by both forms, Basic, node mode, a redirect, a refusal and an outage: then look."""
    tokens, image = [], add_image(site.bearer.registry, "alice/app")
    for number, sends_forms in enumerate((True, False)):
        image = add_image(site.bearer.registry, "alice/app", size_bytes=70_000 + number)
        alice = Runtime(site.bearer, ALICE, sends_forms=sends_forms)
        assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
        tokens.append(alice.token or "")
    plain = add_image(site.basic.registry, "alice/app")
    assert await site.basic.pull(plain, ALICE) == [200, 200, 200]
    runtime = {"X-Shoal-Node": (site.agent.store / "node.header").read_text().strip()}
    of_node = add_image(site.basic.registry, "node/app")
    for path in (of_node.by_tag, of_node.blob()):
        assert (await site.basic.ask("GET", path, headers=runtime)).status == 200
        assert (await site.basic.ask("GET", path)).status == 401
    wrong = ("alice", "M4RK-guessed")
    assert (await Runtime(site.basic, wrong).get(plain.blob())).status == 401
    await asyncio.sleep(TTL_S)
    for registry in (site.bearer.registry, site.basic.registry):
        registry.inner.fail(Disconnect())
    alice = Runtime(site.bearer, ALICE)
    assert await alice.pull(image.by_tag, image.blob()) == [200, 200, 200]
    assert await site.basic.pull(plain, ALICE) == [200, 200, 200]
    tokens.append(alice.token or "")

    secrets = {"M4RK", *tokens, runtime["X-Shoal-Node"]}
    for login in (ALICE, BOB, NODE, wrong):
        secrets.add(basic(*login)["Authorization"].removeprefix("Basic "))
        secrets.add(":".join(login))
    assert all(len(secret) > 3 for secret in secrets)
    exporter = json.loads(site.agent.noted('"exporter_listening"'))["port"]
    shown = {}
    for path in ("/metrics", "/", "/debug", "/healthz", "/readyz"):
        async with site.bearer.session.get(f"http://127.0.0.1:{exporter}{path}") as page:
            shown[path] = await page.read()
    assert b"shoal_front_requests_total" in shown["/metrics"]
    await asyncio.sleep(6)  # the memory is written within 5 s
    files = [path for path in site.folder.rglob("*") if path.is_file()]
    lie_there_by_intent = {site.folder / "config.json", site.agent.store / "node.header"}
    kinds = {file.name for file in files}
    assert {"access.json", "agent.log", "agent.yaml"} <= kinds
    assert any(site.folder / "trace" in file.parents for file in files)
    for file in files:
        if file not in lie_there_by_intent:
            with contextlib.suppress(FileNotFoundError):
                shown[str(file)] = file.read_bytes()
    for where, content in shown.items():
        for secret in secrets:
            assert secret.encode() not in content, where
    storage = [seen for seen in site.bearer.registry.inner.log if seen.route == "storage"]
    assert storage
    assert not any("Authorization" in seen.headers for seen in storage)
    for registry in (site.bearer.registry, site.basic.registry):
        assert not any("X-Shoal-Node" in seen.headers for seen in registry.inner.log)
