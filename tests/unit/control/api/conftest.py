"""The served console, for every test of the API."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from shoal.control.api.app import mount
from shoal.control.app import build
from shoal.control.console import Console
from shoal.control.store import access, accounts, instances
from shoal.control.store.changes import Change
from shoal.control.store.database import Database
from shoal.control.store.system_policies import add_system_policies
from shoal.control.store.vault import Vault
from shoal.core.console.documents import PERMISSIONS, trust_document
from shoal.core.console.models import (
    Edition,
    Instance,
    InstanceStatus,
    OidcProvider,
    PrincipalKind,
)
from unit.control.api.served_cloud import INSTANCE, ISSUER, Cloud, jwks


@pytest.fixture
async def cloud(database: Database, vault: Vault) -> AsyncIterator[Cloud]:
    """Return a console that is served on loopback."""
    console = Console(database, vault, "code")
    runner = web.AppRunner(build(console, mounts=[mount]), shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Cloud(console, f"127.0.0.1:{runner.addresses[0][1]}", "")

    def fill(change: Change) -> None:
        add_system_policies(change)
        accounts.first_administrator(change, "admin", hash_="x")
        made.account = accounts.account_id(change.connection)
        access.put_policy(change, "p2p", comment="", document=PERMISSIONS)
        for name, policies in (
            ("reader", ["AliyunContainerRegistryReadOnlyAccess", "AliyunSTSAssumeRoleAccess"]),
            ("owner", ["AliyunContainerRegistryFullAccess"]),
            ("nobody", []),
        ):
            access.create_user(change, name, comment="")
            key, secret = access.create_key(change, vault, name)
            made.keys[name] = (key.id, secret)
            for policy in policies:
                access.attach(change, policy, PrincipalKind.USER, name)
        trust = trust_document(provider_arn=made.provider, issuer=ISSUER)
        access.put_role(change, "cluster", comment="", trust=trust, max_session_s=3600)
        access.attach(change, "AliyunSTSAssumeRoleAccess", PrincipalKind.ROLE, "cluster")
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"RAM": [made.arn("cluster"), f"acs:ram::{made.account}:user/reader"]},
        }
        trust = json.dumps({"Version": "1", "Statement": [statement]})
        access.put_role(change, "registry", comment="", trust=trust, max_session_s=43_200)
        access.attach(change, "p2p", PrincipalKind.ROLE, "registry")
        access.put_provider(
            change,
            OidcProvider(
                name="ack-rrsa-c1",
                issuer=ISSUER,
                audiences=("sts.aliyuncs.com",),
                keys=jwks(),
                created_at=change.now_s,
            ),
        )
        instances.create(
            change,
            Instance(
                id=INSTANCE,
                name="demo",
                region="cn-hangzhou",
                edition=Edition.STANDARD,
                status=InstanceStatus.RUNNING,
                registry_url="http://127.0.0.1:5000",
                p2p_enabled=False,
                p2p_generation=0,
                p2p_changed_at=None,
                created_at=change.now_s,
                modified_at=change.now_s,
            ),
        )

    await made.change(fill)
    yield made
    await runner.cleanup()
