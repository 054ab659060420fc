"""A console with its API on loopback, and the cloud's own SDKs as its clients."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alibabacloud_cr20181201.client import Client as RegistryClient
from alibabacloud_sts20150401.client import Client as StsClient
from alibabacloud_tea_openapi.utils_models import Config
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from shoal.control.console import Console
from shoal.control.store.changes import Author, Change
from shoal.core.console.documents import SERVICE_ACCOUNTS

ISSUER = "https://oidc.example/c1"
INSTANCE = "cri-aaaaaaaaaaaaaaaa"
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
    """A served console, with a user, two roles and an instance."""

    console: Console
    endpoint: str
    account: str
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)

    def arn(self, role: str) -> str:
        """Return a role's ARN."""
        return f"acs:ram::{self.account}:role/{role}"

    @property
    def provider(self) -> str:
        """The ARN of the cluster's OIDC provider."""
        return f"acs:ram::{self.account}:oidc-provider/ack-rrsa-c1"

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


async def refused(call: Callable[..., object], *arguments: object) -> Any:
    """Return the error that an SDK's call ends with."""
    try:
        await asyncio.to_thread(call, *arguments)
    except Exception as error:  # the SDK has several roots
        return error
    raise AssertionError("the call was not refused")
