"""An issuer's public keys, asked of the issuer where its provider was given none.

Source: OpenID Connect Discovery 1.0, section 4: the issuer's `/.well-known/openid-configuration`
names its `jwks_uri`. Anybody may send a token, so what that can make the console do is bounded: one
question of an issuer at a time, none more often than every 30 s, and only of issuers that an
administrator has registered.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import aiohttp

from shoal.control.api.faults import Fault

TIMEOUT_S = 5.0
MAX_BYTES = 64 * 1024
KEEP_S = 600.0
# A token may name a key that is newer than what is kept; but so may a token that somebody made up.
ASK_AGAIN_S = 30.0
_PATH = "/.well-known/openid-configuration"


@dataclass(slots=True)
class _Kept:
    jwks: str = ""
    fault: Fault | None = None
    asked_at_s: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class IssuerKeys:
    """Keeps what issuers answered."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            clock: seconds that only grow.
        """
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    async def of(self, issuer: str, *, key_id: str) -> str:
        """Return an issuer's JWK set, asked anew if it is old or lacks `key_id`.

        Raises:
            Fault: The issuer cannot be reached, or does not answer as one.
        """
        kept = self._kept.setdefault(issuer, _Kept())
        async with kept.asking:
            age_s = self._clock() - kept.asked_at_s
            is_enough = age_s < KEEP_S and bool(kept.jwks) and _has(kept.jwks, key_id)
            if not is_enough and age_s >= ASK_AGAIN_S:
                kept.asked_at_s = self._clock()
                try:
                    kept.jwks, kept.fault = await _ask(issuer), None
                except Fault as fault:
                    kept.fault = fault
            if kept.jwks:
                return kept.jwks  # also older ones, while the issuer is away
            raise kept.fault or _fault("it was not asked yet")


def _has(jwks: str, key_id: str) -> bool:
    return any(key.get("kid") == key_id for key in json.loads(jwks)["keys"])


async def _ask(issuer: str) -> str:
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            aiohttp.ClientSession(auto_decompress=False) as session,
        ):
            told = await _get(session, issuer.rstrip("/") + _PATH)
            if told.get("issuer") != issuer:
                raise _fault("it calls itself by another name")
            uri = told.get("jwks_uri")
            if not isinstance(uri, str) or urlsplit(uri).scheme not in (
                "https",
                urlsplit(issuer).scheme,
            ):
                raise _fault("its jwks_uri is no HTTPS address")
            found = await _get(session, uri)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
        raise _fault(str(error)[:200] or type(error).__name__) from error
    keys = found.get("keys")
    if not isinstance(keys, list):
        raise _fault("its keys are not a JWK set")
    return json.dumps({"keys": [key for key in keys if isinstance(key, dict)]})


async def _get(session: aiohttp.ClientSession, url: str) -> dict[str, object]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        if answer.status != 200:
            raise _fault(f"{urlsplit(url).path} answers {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > MAX_BYTES:
                raise _fault(f"{urlsplit(url).path} is longer than {MAX_BYTES} bytes")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise _fault(f"{urlsplit(url).path} is not an object")
    return found


def _fault(why: str) -> Fault:
    return Fault(
        401,
        "AuthenticationFail.OIDCToken.HttpsUrlInvalid",
        f"The keys of the issuer cannot be had: {why}.",
    )
