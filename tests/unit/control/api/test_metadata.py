"""The metadata service of a node, in both modes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from shoal.control.api import metadata
from shoal.control.api.metadata import TOKEN_HEADER, TTL_HEADER, Node
from shoal.control.store import access, clusters
from shoal.control.store.changes import Change
from shoal.core.console.models import Cluster
from unit.control.api.served_cloud import Cloud

CREDENTIALS = "/latest/meta-data/ram/security-credentials/"
TRUST = json.dumps(
    {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": ["ecs.aliyuncs.com"]},
            }
        ],
    }
)


@asynccontextmanager
async def _asking(cloud: Cloud, *, token_only: bool) -> AsyncIterator[ClientSession]:
    def fill(change: Change) -> None:
        access.put_role(
            change, cloud.account, "worker", comment="", trust=TRUST, max_session_s=3600
        )
        clusters.create(
            change,
            Cluster(
                account=cloud.account,
                id="c1",
                name="edge",
                region="cn-hangzhou",
                vpc_id="vpc-1",
                edge=True,
                version="1.28.3",
                rrsa_enabled=False,
                rrsa_issuer="",
                created_at=0,
            ),
        )

    await cloud.change(fill)
    node = Node(cluster_id="c1", role="worker", token_only=token_only)
    runner = web.AppRunner(metadata.build(cloud.console, node), shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with ClientSession(base) as session:
            yield session
    finally:
        await runner.cleanup()


async def _get(session: ClientSession, path: str, **headers: str) -> tuple[int, str]:
    async with session.get(path, headers=headers) as answer:
        return answer.status, await answer.text()


async def _token(session: ClientSession, ttl: str = "60", **headers: str) -> tuple[int, str]:
    async with session.put("/latest/api/token", headers={TTL_HEADER: ttl, **headers}) as answer:
        return answer.status, await answer.text()


async def test_an_ordinary_node_answers_anybody_on_it(cloud: Cloud) -> None:
    async with _asking(cloud, token_only=False) as session:
        assert await _get(session, CREDENTIALS) == (200, "worker")
        status, text = await _get(session, f"{CREDENTIALS}worker")
        made = json.loads(text)
        assert (status, made["Code"]) == (200, "Success")
        assert made["AccessKeyId"].startswith("STS.")
        assert (await _get(session, "/latest/meta-data/region-id")) == (200, "cn-hangzhou")
        assert (await _get(session, "/latest/meta-data/hostname"))[0] == 404
        assert (await _get(session, f"{CREDENTIALS}other"))[0] == 404


async def test_a_hardened_node_wants_a_token_that_lives(cloud: Cloud) -> None:
    async with _asking(cloud, token_only=True) as session:
        assert (await _get(session, CREDENTIALS))[0] == 403
        status, token = await _token(session)
        assert status == 200
        assert await _get(session, CREDENTIALS, **{TOKEN_HEADER: token}) == (200, "worker")
        assert (await _get(session, CREDENTIALS, **{TOKEN_HEADER: "x"}))[0] == 403
        later = cloud.console.now_s + 61
        cloud.console.changes.clock = lambda: later
        assert (await _get(session, CREDENTIALS, **{TOKEN_HEADER: token}))[0] == 403


@pytest.mark.parametrize("ttl", ["0", "21601", "x", "", "9" * 30])
async def test_a_token_lasts_as_long_as_the_cloud_allows(cloud: Cloud, ttl: str) -> None:
    async with _asking(cloud, token_only=True) as session:
        assert (await _token(session, ttl))[0] == 400


async def test_a_token_is_not_given_through_a_proxy(cloud: Cloud) -> None:
    async with _asking(cloud, token_only=True) as session:
        assert (await _token(session, **{"X-Forwarded-For": "10.0.0.1"}))[0] == 403


async def test_tokens_are_bounded(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "MAX_TOKENS", 1)
    async with _asking(cloud, token_only=True) as session:
        _, first = await _token(session)
        _, second = await _token(session)
        assert (await _get(session, CREDENTIALS, **{TOKEN_HEADER: first}))[0] == 403
        assert (await _get(session, CREDENTIALS, **{TOKEN_HEADER: second}))[0] == 200


async def test_a_role_that_does_not_trust_nodes_is_not_theirs(cloud: Cloud) -> None:
    async with _asking(cloud, token_only=False) as session:
        await cloud.change(
            lambda change: access.put_role(
                change,
                cloud.account,
                "worker",
                comment="",
                trust='{"Version":"1"}',
                max_session_s=3600,
            )
        )
        assert (await _get(session, CREDENTIALS))[0] == 404
