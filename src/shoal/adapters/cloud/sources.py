"""Where credentials come from: one class for each method of the component's documentation."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shoal.adapters.cloud import sdk
from shoal.adapters.cloud.credentials import Credentials, Refresher, Source
from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.cloud.explain import explain
from shoal.core.cloud.failures import Attempt, Claims, CloudFailed, Failure, Stage
from shoal.core.console.chart_values import Method

METADATA_HOST = "100.100.100.200"
METADATA_TIMEOUT_MS = 1_000  # it answers from the host: what is slower is not there
SESSION_NAME = "ack-acr-acceleration-p2p"
MAX_FILE_BYTES = 32 * 1024  # a token has at most 20,000 characters
_HTTP_CODE = re.compile(r"HttpCode=(\d{3})")


def source_of(settings: CloudSettings) -> Source:
    """Return where credentials come from by the settings' method."""
    match settings.method:
        case Method.WORKER_ROLE:
            return WorkerRole(settings)
        case Method.ACCESS_KEY:
            return AccessKeyFiles(settings)
        case Method.RRSA if settings.assume_role_arn:
            return AssumedRole(settings, base=Refresher(PodToken(settings)))
        case Method.RRSA:
            return PodToken(settings)


class AccessKeyFiles:
    """Method 2: the files of a Secret. They are read each time, so a new pair is taken up."""

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings

    async def fetch(self) -> Credentials:
        """Return the pair.

        Raises:
            CloudFailed: a file is missing, or empty.
        """
        folder = self._settings.access_key_dir
        return Credentials(
            key_id=await asyncio.to_thread(self._read, folder / "accessKey"),
            secret=await asyncio.to_thread(self._read, folder / "accessKeySecret"),
        )

    def _read(self, path: Path) -> str:
        try:
            text = _read_text(path)
            why = "" if text else f"{path} is empty"
        except OSError as error:
            text, why = "", f"{path}: {error.strerror}"
        if not text:
            failure = Failure(stage=Stage.KEY_FILES, action="read", target=str(path), message=why)
            raise CloudFailed(explain(failure, self._settings.attempt()), failure)
        return text


class WorkerRole:
    """Method 1: the node's RAM role, from the metadata service.

    The SDK asks with a token, as hardened nodes demand, and without one where there are none.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings

    async def fetch(self) -> Credentials:
        """Return the role's credentials.

        Raises:
            CloudFailed: there is no metadata service here, or no role.
        """
        try:
            # The SDK's asynchronous half takes an empty role name for a given one.
            found = await asyncio.to_thread(self._ask)
        except Exception as error:
            failure = self._failure(error)
        else:
            return Credentials(
                key_id=found.get_access_key_id(),
                secret=found.get_access_key_secret(),
                token=found.get_security_token(),
                expires_at_s=found.get_expiration(),
            )
        # Not `from`: the SDK's error may quote what it was answered.
        raise CloudFailed(explain(failure, self._settings.attempt()), failure) from None

    def _ask(self) -> Any:
        sdk.quiet()
        from alibabacloud_credentials.http import HttpOptions
        from alibabacloud_credentials.provider import EcsRamRoleCredentialsProvider

        options = HttpOptions(
            proxy=self._settings.metadata_proxy or None,
            connect_timeout=METADATA_TIMEOUT_MS,
            read_timeout=METADATA_TIMEOUT_MS,
        )
        # Without its own refreshing, which is a thread that never ends.
        provider = EcsRamRoleCredentialsProvider(http_options=options, async_update_enabled=False)
        return provider.get_credentials()

    def _failure(self, error: Exception) -> Failure:
        found = _HTTP_CODE.search(str(getattr(error, "message", error)))
        reason = f"status {found[1]}" if found else "no answer"
        return Failure(
            stage=Stage.METADATA,
            action="security-credentials",
            target=self._settings.metadata_proxy or METADATA_HOST,
            code=found[1] if found else "",
            message=reason,
        )


class PodToken:
    """Method 3: the pod's projected token for a role. It is read each time, since it rotates."""

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings

    async def fetch(self) -> Credentials:
        """Return a session of the role.

        Raises:
            CloudFailed: there is no token, or STS does not accept it.
        """
        settings = self._settings
        token = await asyncio.to_thread(self._token)
        attempt = replace(settings.attempt(), claims=claims_of(token))
        client = sdk.sts_client(settings, None)
        from alibabacloud_sts20150401 import models

        request = models.AssumeRoleWithOIDCRequest(
            oidcprovider_arn=settings.provider_arn,
            oidctoken=token,
            role_arn=settings.role_arn,
            role_session_name=SESSION_NAME,
        )
        return await _session(
            settings,
            Stage.OIDC,
            "AssumeRoleWithOIDC",
            attempt,
            lambda: client.assume_role_with_oidcwith_options_async(request, sdk.runtime_options()),
        )

    def _token(self) -> str:
        path = self._settings.token_file
        try:
            text = _read_text(path)
            why = "" if text else "it is empty"
        except OSError as error:
            text, why = "", error.strerror or "cannot be read"
        if not text:
            failure = Failure(
                stage=Stage.OIDC, action="read", target=str(path), code="TokenFile", message=why
            )
            raise CloudFailed(explain(failure, self._settings.attempt()), failure)
        return text


class AssumedRole:
    """Method 3 across accounts: the role of the instance's account, by that of the cluster's."""

    def __init__(self, settings: CloudSettings, *, base: Refresher) -> None:
        self._settings = settings
        self._base = base

    async def fetch(self) -> Credentials:
        """Return a session of the other account's role.

        Raises:
            CloudFailed: one of the two roles cannot be had.
        """
        settings = self._settings
        credentials = await self._base.credentials()
        client = sdk.sts_client(settings, credentials)
        from alibabacloud_sts20150401 import models

        request = models.AssumeRoleRequest(
            role_arn=settings.assume_role_arn,
            role_session_name=SESSION_NAME,
            duration_seconds=settings.expire_s,
        )
        try:
            return await _session(
                settings,
                Stage.ASSUME,
                "AssumeRole",
                settings.attempt(),
                lambda: client.assume_role_with_options_async(request, sdk.runtime_options()),
            )
        except CloudFailed as failed:
            if failed.failure is not None and failed.failure.code.startswith("InvalidSecurity"):
                self._base.forget(credentials)
            raise


def claims_of(token: str) -> Claims | None:
    """Return what a JWT says of itself, or None if that cannot be read."""
    try:
        piece = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))
        audience = found.get("aud", "")
        audiences = audience if isinstance(audience, list) else [audience]
        return Claims(
            issuer=str(found.get("iss", "")),
            subject=str(found.get("sub", "")),
            audiences=tuple(str(one) for one in audiences),
        )
    except (ValueError, IndexError, AttributeError, RecursionError):
        return None


async def _session(
    settings: CloudSettings,
    stage: Stage,
    action: str,
    attempt: Attempt,
    ask: Callable[[], Awaitable[Any]],
) -> Credentials:
    _, host = sdk.address_of(settings, sdk.STS)
    try:
        answer = await sdk.call(stage, action, host, ask)
    except sdk.CallFailed as failed:
        raise CloudFailed(explain(failed.failure, attempt), failed.failure) from None
    made = answer.body.credentials
    expires = datetime.strptime(made.expiration, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return Credentials(
        key_id=made.access_key_id,
        secret=made.access_key_secret,
        token=made.security_token,
        expires_at_s=expires.timestamp(),
    )


def _read_text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES).decode(errors="replace").strip()
