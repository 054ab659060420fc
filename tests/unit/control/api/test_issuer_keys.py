"""Keys that an issuer is asked for, over loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from alibabacloud_sts20150401 import models

from shoal.control.api import issuer_keys
from shoal.control.api.faults import Fault
from shoal.control.api.issuer_keys import ASK_AGAIN_S, KEEP_S, IssuerKeys
from shoal.control.store import access
from shoal.core.console.documents import trust_document
from shoal.core.console.models import OidcProvider
from unit.control.api.served_cloud import Cloud, id_token, jwks


class Issuer:
    """What an issuer answers, and how often it was asked for keys."""

    def __init__(self) -> None:
        self.url = ""
        self.configuration: dict[str, Any] = {}
        self.keys: object = json.loads(jwks())
        self.asked = 0

    async def configured(self, request: web.Request) -> web.Response:
        """Answer the first question."""
        del request
        told = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.configuration}
        return web.json_response(told)

    async def told_keys(self, request: web.Request) -> web.Response:
        """Answer the second."""
        del request
        self.asked += 1
        return web.json_response(self.keys)


@asynccontextmanager
async def _serving() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", issuer.configured)
    app.router.add_get("/keys", issuer.told_keys)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()


class Clock:
    """Seconds that a test moves."""

    now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


async def test_many_tokens_at_once_ask_the_issuer_once() -> None:
    async with _serving() as issuer:
        keys = IssuerKeys()
        found = await asyncio.gather(*(keys.of(issuer.url, key_id="k1") for _ in range(50)))
        assert issuer.asked == 1
        assert len(set(found)) == 1


async def test_a_key_that_is_not_kept_is_asked_for_but_not_for_every_token() -> None:
    clock = Clock()
    async with _serving() as issuer:
        keys = IssuerKeys(clock=clock)
        await keys.of(issuer.url, key_id="k1")
        for _ in range(20):
            await keys.of(issuer.url, key_id="made up")
        assert issuer.asked == 1
        clock.now_s += ASK_AGAIN_S
        await keys.of(issuer.url, key_id="k2")
        assert issuer.asked == 2


async def test_older_keys_are_used_while_the_issuer_is_away() -> None:
    clock = Clock()
    keys = IssuerKeys(clock=clock)
    async with _serving() as issuer:
        url = issuer.url
        before = await keys.of(url, key_id="k1")
    clock.now_s += KEEP_S
    assert await keys.of(url, key_id="k1") == before


async def test_an_issuer_that_was_never_reached_is_left_alone_for_a_while() -> None:
    clock = Clock()
    keys = IssuerKeys(clock=clock)
    for _ in range(2):
        with pytest.raises(Fault, match="cannot be had"):
            await keys.of("http://127.0.0.1:9", key_id="k1")


@pytest.mark.parametrize(
    ("configuration", "keys", "said"),
    [
        ({"issuer": "https://other"}, {}, "another name"),
        ({"jwks_uri": "ftp://x/keys"}, {}, "no HTTPS address"),
        ({"jwks_uri": 5}, {}, "no HTTPS address"),
        ({}, {"keys": 5}, "not a JWK set"),
        ({}, [], "not an object"),
        ({}, {"keys": ["x" * 70_000]}, "longer than"),
    ],
)
async def test_what_does_not_answer_as_an_issuer_is_refused(
    configuration: dict[str, Any], keys: object, said: str
) -> None:
    async with _serving() as issuer:
        issuer.configuration, issuer.keys = configuration, keys
        with pytest.raises(Fault, match=said):
            await IssuerKeys().of(issuer.url, key_id="k1")


async def test_silence_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuer_keys, "TIMEOUT_S", 0.05)
    done = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Fault, match="TimeoutError"):
            await IssuerKeys().of(f"http://127.0.0.1:{port}", key_id="k1")
        done.set()


async def test_a_role_is_assumed_by_a_token_whose_keys_only_the_issuer_has(cloud: Cloud) -> None:
    async with _serving() as issuer:

        def register(change: Any) -> None:
            access.put_provider(
                change,
                OidcProvider(
                    account=cloud.account,
                    name="ack-rrsa-c1",
                    issuer=issuer.url,
                    audiences=("sts.aliyuncs.com",),
                    keys="",
                    created_at=change.now_s,
                ),
            )
            trust = trust_document(provider_arn=cloud.provider, issuer=issuer.url)
            access.put_role(
                change, cloud.account, "cluster", comment="", trust=trust, max_session_s=3600
            )

        await cloud.change(register)
        ask = models.AssumeRoleWithOIDCRequest(
            oidcprovider_arn=cloud.provider,
            oidctoken=id_token(cloud.console.now_s, iss=issuer.url),
            role_arn=cloud.arn("cluster"),
            role_session_name="p2p",
        )
        body = (await asyncio.to_thread(cloud.sts().assume_role_with_oidc, ask)).body
        assert body.credentials.access_key_id.startswith("STS.")
