"""A console with its API on loopback, and the cloud's own SDKs as its clients."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from alibabacloud_cr20181201.client import Client as RegistryClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from darabonba.runtime import RuntimeOptions

from shoal.control.api.accounts import VERSION
from shoal.control.api.app import mount
from shoal.control.app import build
from shoal.control.console import Console
from shoal.control.store import access, accounts, administrators, instances
from shoal.control.store.changes import Author, Change
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from shoal.core.console.documents import PERMISSIONS, SERVICE_ACCOUNTS, trust_document
from shoal.core.console.models import (
    Edition,
    Instance,
    InstanceStatus,
    OidcProvider,
    PrincipalKind,
    ram_arn,
)

ISSUER = "https://oidc.example/c1"
INSTANCE = "cri-aaaaaaaaaaaaaaaa"
REMOTE = "cri-bbbbbbbbbbbbbbbb"  # of the other account
_ISSUER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def encoded(raw: bytes) -> str:
    """Return Base64 as a JWT has it."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwks() -> str:
    """Return the issuer's public keys."""
    numbers = _ISSUER_KEY.public_key().public_numbers()
    key = {
        "kty": "RSA",
        "kid": "k1",
        "n": encoded(numbers.n.to_bytes(256)),
        "e": encoded(numbers.e.to_bytes(3)),
    }
    return json.dumps({"keys": [key]})


def id_token(now_s: int, *, head: Mapping[str, object] | None = None, **claims: object) -> str:
    """Return a service account's token as the issuer signs it."""
    whole = {
        "iss": ISSUER,
        "aud": ["sts.aliyuncs.com"],
        "sub": SERVICE_ACCOUNTS[0],
        "iat": now_s - 10,
        "exp": now_s + 600,
        **claims,
    }
    parts = [{"alg": "RS256", "kid": "k1", **(head or {})}, whole]
    signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    signature = _ISSUER_KEY.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{encoded(signature)}"


@dataclass(slots=True)
class Cloud:
    """A served console with two accounts.

    The first has users, a cluster's role and an instance; the other has an instance too, and the
    role `registry`, which trusts the cluster's.
    """

    console: Console
    endpoint: str
    account: str
    other_account: str = ""
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)

    def arn(self, role: str) -> str:
        """Return a role's ARN; `registry` is the other account's."""
        return ram_arn(self.other_account if role == "registry" else self.account, "role", role)

    @property
    def provider(self) -> str:
        """The ARN of the cluster's OIDC provider."""
        return ram_arn(self.account, "oidc-provider", "ack-rrsa-c1")

    def config(self, key: tuple[str, str], *, token: str = "", version: str = "") -> Config:
        """Return an SDK's configuration."""
        return Config(
            access_key_id=key[0],
            access_key_secret=key[1],
            security_token=token or None,
            endpoint=self.endpoint,
            protocol="http",
            region_id="cn-hangzhou",
            signature_algorithm=version or None,
        )

    def registry(self, user: str = "reader", **options: str) -> Any:
        """Return Container Registry's own client for a user."""
        return RegistryClient(self.config(self.keys[user], **options))

    def sts(self, user: str = "reader", **options: str) -> Any:
        """Return STS's own client for a user."""
        return StsClient(self.config(self.keys[user], **options))

    async def change(self, work: Callable[[Change], None]) -> None:
        """Change the console's records."""
        await self.console.change(Author("admin", "", "R-0"), work)


def rpc(client: Any, action: str, version: str = VERSION, **parameters: str) -> Any:
    """Call an action for which the cloud's SDKs have no method, by one of their clients."""
    params = Params(
        action=action,
        version=version,
        protocol="HTTP",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    return client.call_api(params, OpenApiRequest(query=parameters), RuntimeOptions())["body"]


async def refused(call: Callable[..., object], *arguments: object) -> Any:
    """Return the error that an SDK's call ends with."""
    try:
        await asyncio.to_thread(call, *arguments)
    except Exception as error:  # the SDK has several roots
        return error
    raise AssertionError("the call was not refused")


@asynccontextmanager
async def serve_cloud(database: Database, vault: Vault) -> AsyncIterator[Cloud]:
    """Serve a console on loopback that has all that the documentation's steps make."""
    console = Console(database, vault, "code")
    runner = web.AppRunner(build(console, mounts=[mount]), shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Cloud(console, f"127.0.0.1:{runner.addresses[0][1]}", "")

    def fill(change: Change) -> None:
        administrators.first_administrator(change, "admin", hash_="x")
        made.account = accounts.management(change.connection).id
        made.other_account = accounts.create(change, "registry").id
        for account in (made.account, made.other_account):
            access.put_policy(change, account, "p2p", comment="", document=PERMISSIONS)
        for name, policies in (
            ("reader", ["AliyunContainerRegistryReadOnlyAccess", "AliyunSTSAssumeRoleAccess"]),
            ("owner", ["AliyunContainerRegistryFullAccess"]),
            ("nobody", []),
        ):
            access.create_user(change, made.account, name, comment="")
            key, secret = access.create_key(change, vault, made.account, name)
            made.keys[name] = (key.id, secret)
            for policy in policies:
                access.attach(change, made.account, policy, PrincipalKind.USER, name)
        trust = trust_document(provider_arn=made.provider, issuer=ISSUER)
        access.put_role(
            change, made.account, "cluster", comment="", trust=trust, max_session_s=3600
        )
        access.attach(
            change, made.account, "AliyunSTSAssumeRoleAccess", PrincipalKind.ROLE, "cluster"
        )
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"RAM": [made.arn("cluster"), ram_arn(made.account, "user", "reader")]},
        }
        trust = json.dumps({"Version": "1", "Statement": [statement]})
        access.put_role(
            change, made.other_account, "registry", comment="", trust=trust, max_session_s=43_200
        )
        access.attach(change, made.other_account, "p2p", PrincipalKind.ROLE, "registry")
        access.put_provider(
            change,
            OidcProvider(
                account=made.account,
                name="ack-rrsa-c1",
                issuer=ISSUER,
                audiences=("sts.aliyuncs.com",),
                keys=jwks(),
                created_at=change.now_s,
            ),
        )
        for id_, account, name in (
            (INSTANCE, made.account, "demo"),
            (REMOTE, made.other_account, "remote"),
        ):
            instances.create(
                change,
                Instance(
                    id=id_,
                    account=account,
                    name=name,
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

    try:
        await made.change(fill)
        yield made
    finally:
        await runner.cleanup()
