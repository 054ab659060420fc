"""The documentation's page, done by heart: every step, and each of them undone at will."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from shoal.adapters.cloud.lookup import AcrLookup, LookedUp
from shoal.adapters.cloud.settings import CloudSettings
from shoal.control.api.metadata import Node, build
from shoal.control.store import access, clusters, instances
from shoal.control.store.changes import Change
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from shoal.core.console.chart_values import Method
from shoal.core.console.models import Cluster, LinkStatus, PrincipalKind, VpcLink
from unit.control.api.served_cloud import INSTANCE, ISSUER, REMOTE, Cloud, id_token, serve_cloud

VPC = "vpc-1"
WORKER_ROLE = "KubernetesWorkerRole-1"
DOMAIN = "demo-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
REMOTE_DOMAIN = "remote-registry-vpc.cn-hangzhou.cr.aliyuncs.com"  # of the other account


@dataclass(slots=True)
class Page:
    """A console where every step of the page was done, and a pod's files."""

    cloud: Cloud
    folder: Path
    metadata: str
    node: Node

    def settings(self, method: Method) -> CloudSettings:
        """Return the settings of one method; the files that it needs are written."""
        self.write_key("reader")
        self.write_token()
        rrsa = method is Method.RRSA
        return CloudSettings(
            method=method,
            region="" if method is Method.WORKER_ROLE else "cn-hangzhou",
            vpc_id="" if method is Method.WORKER_ROLE else VPC,
            access_key_dir=self.folder,
            token_file=self.folder / "token",
            role_arn=self.cloud.arn("cluster") if rrsa else "",
            provider_arn=self.cloud.provider if rrsa else "",
            endpoint=f"http://{self.cloud.endpoint}",
            metadata_proxy=self.metadata,
        )

    def across(self) -> CloudSettings:
        """Return the settings of the third method, for the instance of the other account."""
        return replace(
            self.settings(Method.RRSA), assume_role_arn=self.cloud.arn("registry"), expire_s=7200
        )

    def write_key(self, user: str, *, secret: str = "") -> None:
        """Write a user's access key, as a Secret is mounted."""
        key_id, right = self.cloud.keys[user]
        (self.folder / "accessKey").write_text(key_id)
        (self.folder / "accessKeySecret").write_text(f"{secret or right}\n")

    def write_token(self, **claims: Any) -> None:
        """Write the pod's projected token."""
        token = id_token(self.cloud.console.now_s, **claims)
        (self.folder / "token").write_text(token)

    async def change(self, work: Callable[[Change], object]) -> None:
        """Change the console's records."""

        def done(change: Change) -> None:
            work(change)
            change.is_routine()

        await self.cloud.change(done)

    async def look_up(self, settings: CloudSettings, id_: str = INSTANCE) -> LookedUp:
        """Look up one instance, as the set-up Job does."""
        return await AcrLookup(settings, pause=_no_pause).look_up([id_])


async def _no_pause(seconds: float) -> None:
    del seconds


def trust_of(principal: dict[str, list[str]]) -> str:
    """Return a trust policy for one kind of principal."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    return json.dumps({"Version": "1", "Statement": [statement]})


@asynccontextmanager
async def serve_page(database: Database, vault: Vault, folder: Path) -> AsyncIterator[Page]:
    """Serve the console and a node's metadata service."""
    async with serve_cloud(database, vault) as cloud:
        node = Node(cluster_id="c1", role=WORKER_ROLE, token_only=True)
        runner = web.AppRunner(build(cloud.console, node), shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            page = Page(cloud, folder, address, node)
            await page.change(lambda change: _all_steps(change, cloud.account))
            yield page
        finally:
            await runner.cleanup()


def _all_steps(change: Change, account: str) -> None:
    for id_ in (INSTANCE, REMOTE):
        instances.switch(change, id_, enable=True, confirmed=True)
        instances.add_link(change, link(id_, LinkStatus.RUNNING))
    clusters.create(
        change,
        Cluster(
            id="c1",
            account=account,
            name="edge",
            region="cn-hangzhou",
            vpc_id=VPC,
            edge=True,
            version="1.28.3",
            rrsa_enabled=True,
            rrsa_issuer=ISSUER,
            created_at=change.now_s,
        ),
    )
    trust = trust_of({"Service": ["ecs.aliyuncs.com"]})
    access.put_role(change, account, WORKER_ROLE, comment="", trust=trust, max_session_s=3600)
    for role in (WORKER_ROLE, "cluster"):
        access.attach(change, account, "p2p", PrincipalKind.ROLE, role)


def link(instance_id: str, status: LinkStatus) -> VpcLink:
    """Return the cluster's VPC as an entry of an instance's VPC ACL."""
    return VpcLink(
        instance_id=instance_id,
        vpc_id=VPC,
        vswitch_id="vsw-1",
        ip="10.0.0.9",
        status=status,
        default_access=False,
    )
