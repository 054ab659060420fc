"""The cloud's SDKs: how they are set up here, and what their errors mean.

They are imported when something is asked and not before: together they take some 0.4 s and 50 MB.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from shoal.adapters.cloud.credentials import Credentials
from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.cloud.failures import Failure, Stage
from shoal.core.errors import SettingsError, ShoalError

CONNECT_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 10_000
CALL_TIMEOUT_S = 20.0  # name resolution is in none of the SDK's own limits
REGISTRY, STS = "cr", "sts"
STS_WITHOUT_REGION = "sts.aliyuncs.com"
_MAX_MESSAGE_CHARS = 500
_LINE_OF_SDK = re.compile(r"code: \d{3}, (?P<said>.*?)(?: request id: \S+)?", re.DOTALL)

T = TypeVar("T")


class CallFailed(ShoalError):
    """A call came to nothing; what to tell a person depends on what it was made for."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.action}: {failure.code or 'no answer'}")
        self.failure = failure


def address_of(settings: CloudSettings, product: str) -> tuple[str, str]:
    """Return protocol and host of a product's API.

    Source: the endpoints' names in the SDKs, `cr.REGION.aliyuncs.com` and with `-vpc` behind the
    product for who comes from a VPC.
    """
    if settings.endpoint:
        parts = urlsplit(settings.endpoint)
        return parts.scheme, parts.netloc
    if product == STS and not settings.region:
        return "https", STS_WITHOUT_REGION
    private = "-vpc" if settings.private_network else ""
    return "https", f"{product}{private}.{settings.region}.aliyuncs.com"


def registry_client(settings: CloudSettings, credentials: Credentials) -> Any:
    """Return Container Registry's client."""
    quiet()
    try:
        from alibabacloud_cr20181201.client import Client
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from missing
    return Client(_config(settings, REGISTRY, credentials))


def sts_client(settings: CloudSettings, credentials: Credentials | None) -> Any:
    """Return STS's client; without credentials for the one call that is not signed."""
    quiet()
    try:
        from alibabacloud_sts20150401.client import Client
    except ModuleNotFoundError as missing:
        raise _not_installed(missing) from missing
    return Client(_config(settings, STS, credentials))


def runtime_options() -> Any:
    """Return the options of one call. The SDK tries once: when to try again is decided here."""
    from darabonba.runtime import RuntimeOptions

    return RuntimeOptions()


async def call(stage: Stage, action: str, target: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Return what a call of the SDK answers.

    Raises:
        CallFailed: it was refused, or nobody answered in time.
    """
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            return await ask()
    except TimeoutError:
        message = f"no answer within {CALL_TIMEOUT_S:.0f} s"
        failure = Failure(stage=stage, action=action, target=target, message=message)
    except OSError as error:
        failure = Failure(stage=stage, action=action, target=target, message=str(error))
    except Exception as error:
        if not is_of_sdk(error):
            raise
        failure = failure_of(error, stage=stage, action=action, target=target)
    # Not `from`: the SDK's error holds the whole answer, and a traceback would show it.
    raise CallFailed(failure) from None


def is_of_sdk(error: Exception) -> bool:
    """Return whether an SDK raised it: the SDKs share the class that all of theirs derive from."""
    from Tea.exceptions import TeaException

    return isinstance(error, TeaException)


def failure_of(error: Exception, *, stage: Stage, action: str, target: str) -> Failure:
    """Return what an SDK's error says."""
    data = getattr(error, "data", None)
    data = data if isinstance(data, Mapping) else {}
    denied = data.get("AccessDeniedDetail")
    denied = denied if isinstance(denied, Mapping) else {}
    code = _text(getattr(error, "code", None))
    message = _text(data.get("Message") or getattr(error, "message", None) or str(error))
    if not code and "parse" in message:
        # Somebody answered, and not the cloud: a proxy's page, as it may stand before the API.
        code, message = "UnreadableAnswer", "the answer is not the API's"
    found = _LINE_OF_SDK.fullmatch(message)
    retry_after_ms = getattr(error, "retry_after", None)
    return Failure(
        stage=stage,
        action=action,
        target=target,
        code=code,
        message=(found["said"] if found else message)[:_MAX_MESSAGE_CHARS],
        denied_action=_text(denied.get("AuthAction")),
        denied_principal=_text(denied.get("AuthPrincipalDisplayName")),
        denied_policy_type=_text(denied.get("PolicyType")),
        denied_explicitly=denied.get("NoPermissionType") == "ExplicitDeny",
        retry_after_s=retry_after_ms / 1000 if isinstance(retry_after_ms, int | float) else None,
    )


def _config(settings: CloudSettings, product: str, credentials: Credentials | None) -> Any:
    from alibabacloud_tea_openapi.utils_models import Config

    protocol, host = address_of(settings, product)
    return Config(
        access_key_id=credentials.key_id if credentials else None,
        access_key_secret=credentials.secret if credentials else None,
        security_token=(credentials.token or None) if credentials else None,
        endpoint=host,
        protocol=protocol,
        region_id=settings.region or None,
        connect_timeout=CONNECT_TIMEOUT_MS,
        read_timeout=READ_TIMEOUT_MS,
        ca=str(settings.ca_file) if settings.ca_file else None,
        user_agent="shoal",
    )


def _not_installed(missing: ModuleNotFoundError) -> SettingsError:
    return SettingsError(f"{missing.name} is not installed: pip install 'shoal[cloud]'")


def quiet() -> None:
    """Keep the SDK's credentials from the log: it writes whole answers, to a handler of its own."""
    logging.getLogger("credentials").disabled = True


def _text(value: object) -> str:
    return value if isinstance(value, str) and value != "None" else ""
