"""Token exchange with a registry that has accounts, and with realms that misbehave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from shoal.adapters.origin.auth import Authenticator
from shoal.adapters.origin.client import OriginAnswer, OriginClient
from shoal.adapters.origin.docker_config import Credentials
from shoal.core.errors import OriginDenied, OriginError, OriginLied
from shoal.core.oci.challenges import pull_scope
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_auth import Account, AuthMode, RegistryAuth
from shoal.testing.registry_faults import Answer

SCOPE = pull_scope("team/app")
ME = Credentials("me", "secret")
ACCOUNTS = {
    "me": Account("secret", identity_token="refresh"),
    "other": Account("secret", repositories={"other/app"}),
}


class Puller:
    """Asks for a manifest as `shoal pull` does: once, and once more after a 401."""

    def __init__(self, registry: EmbeddedRegistry, credentials: Credentials | None) -> None:
        self.registry = registry
        self.config = registry.config()
        self.client = OriginClient([self.config])
        self.now_s = 0.0
        self.authenticator = Authenticator(
            credentials,
            ask_realm=partial(self.client.ask_realm, self.config),
            now_s=lambda: self.now_s,
        )

    async def pull(self, repository: str = "team/app") -> OriginAnswer:
        """Return the answer to the last request."""
        path, scope = f"/v2/{repository}/manifests/1", pull_scope(repository)
        sent = self.authenticator.header_for(scope)
        answer = await self._ask(path, sent)
        if answer.status == 401:
            challenges = answer.headers.getall("WWW-Authenticate")
            sent = await self.authenticator.answer(challenges, scope=scope, refused=sent)
            answer = await self._ask(path, sent)
        return answer

    async def _ask(self, path: str, authorization: str | None) -> OriginAnswer:
        headers = {} if authorization is None else {"Authorization": authorization}
        return await self.client.ask(self.config, "GET", path, headers=headers)


@asynccontextmanager
async def pulling(auth: RegistryAuth, credentials: Credentials | None) -> AsyncIterator[Puller]:
    async with EmbeddedRegistry(auth=auth) as registry:
        for repository in ("team/app", "other/app", "public/app"):
            registry.content.add_image(repository, "1", [b"layer"])
        puller = Puller(registry, credentials)
        async with puller.client:
            yield puller


async def test_a_basic_registry_is_challenged_once_and_then_known() -> None:
    async with pulling(RegistryAuth(AuthMode.BASIC, ACCOUNTS), ME) as puller:
        assert (await puller.pull()).status == 200
        assert (await puller.pull()).status == 200
        assert puller.registry.counters.requests["GET manifests"] == 3


async def test_a_bearer_token_is_used_until_it_is_nearly_expired() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS, token_lifetime_s=100)
    async with pulling(auth, ME) as puller:
        for now_s, tokens in ((0.0, 1), (89.0, 1), (91.0, 2)):
            puller.now_s = now_s
            assert (await puller.pull()).status == 200
            assert puller.registry.counters.requests["GET token"] == tokens


async def test_each_repository_has_a_token_of_its_own() -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        for repository in ("team/app", "other/app", "team/app"):
            assert (await puller.pull(repository)).status == 200
        assert puller.registry.counters.requests["GET token"] == 2


async def test_many_requests_at_once_fetch_one_token() -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        answers = await asyncio.gather(*(puller.pull() for _ in range(8)))
        assert {answer.status for answer in answers} == {200}
        assert puller.registry.counters.requests["GET token"] == 1


async def test_a_token_that_was_revoked_is_replaced() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS)
    async with pulling(auth, ME) as puller:
        await puller.pull()
        auth.revoke_tokens()
        assert (await puller.pull()).status == 200


async def test_an_anonymous_client_gets_a_token_for_what_is_public() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS, public={"public/app"})
    async with pulling(auth, None) as puller:
        assert (await puller.pull("public/app")).status == 200
        assert (await puller.pull("team/app")).status == 401
        assert all(
            "Authorization" not in s.headers for s in puller.registry.log if s.route == "token"
        )


async def test_an_identity_token_is_exchanged_by_post_and_never_sent_otherwise() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS)
    async with pulling(auth, Credentials("<token>", "", "refresh")) as puller:
        assert (await puller.pull()).status == 200
        assert puller.registry.counters.requests["POST token"] == 1
        assert all("refresh" not in str(seen.headers) for seen in puller.registry.log)


@pytest.mark.parametrize(
    ("mode", "credentials", "complaint"),
    [
        (AuthMode.BASIC, None, "none are set"),
        (AuthMode.BEARER, Credentials("me", "wrong"), "realm 127.0.0.1 refused 'me'"),
        (AuthMode.BEARER, Credentials("me", "", "stale"), "refused"),
    ],
)
async def test_credentials_that_do_not_do_are_denied_with_the_name_of_the_user(
    mode: AuthMode, credentials: Credentials | None, complaint: str
) -> None:
    async with pulling(RegistryAuth(mode, ACCOUNTS), credentials) as puller:
        with pytest.raises(OriginDenied, match=complaint) as caught:
            await puller.pull()
        assert "wrong" not in str(caught.value)


async def test_a_password_that_was_refused_is_not_sent_again() -> None:
    async with pulling(
        RegistryAuth(AuthMode.BASIC, ACCOUNTS), Credentials("me", "wrong")
    ) as puller:
        assert (await puller.pull()).status == 401
        with pytest.raises(OriginDenied, match="refused the password of 'me'"):
            await puller.pull()


async def test_a_user_without_rights_gets_a_token_that_opens_nothing() -> None:
    auth = RegistryAuth(AuthMode.BEARER, ACCOUNTS)
    async with pulling(auth, Credentials("other", "secret")) as puller:
        assert (await puller.pull("team/app")).status == 401
        assert (await puller.pull("other/app")).status == 200


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"<html>", "no JSON"),
        (b"[]", "without a token"),
        (b"{}", "without a token"),
        (b'{"token": 5}', "without a token"),
        (b'{"token": "a\\r\\nX-Evil: 1"}', "without a token"),
        (b'{"token": "\xc3\xa9"}', "without a token"),
    ],
)
async def test_a_realm_that_gives_no_token_is_an_error(body: bytes, complaint: str) -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        puller.registry.fail(Answer(200, body=body), route="token")
        with pytest.raises(OriginLied, match=complaint):
            await puller.pull()


async def test_a_busy_realm_hands_on_when_to_come_back() -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        puller.registry.fail(Answer(503, {"Retry-After": "4"}), route="token")
        with pytest.raises(OriginError) as caught:
            await puller.pull()
        assert (caught.value.status, caught.value.retry_after_s) == (503, 4.0)


@pytest.mark.parametrize("lifetime", [None, 0, -1, "soon", 1e12])
async def test_a_token_without_a_sensible_lifetime_is_kept_for_a_minute(lifetime: object) -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        body = json.dumps({"access_token": "abc", "expires_in": lifetime}).encode()
        puller.registry.fail(Answer(200, body=body), route="token")
        await puller.pull()
        assert puller.authenticator.header_for(SCOPE) == "Bearer abc"
        puller.now_s = 54.1
        assert puller.authenticator.header_for(SCOPE) is None


@pytest.mark.parametrize(
    ("challenge", "error", "complaint"),
    [
        ("Negotiate", OriginDenied, "offered: negotiate"),
        ("", OriginDenied, "offered: none"),
        ('Basic realm="open', OriginLied, "malformed"),
        ("Bearer", OriginLied, "no Bearer challenge with a realm"),
        ('Bearer realm="ftp://x/"', OriginLied, "not an http"),
        ('Bearer realm="http://127.0.0.2:1/"', OriginError, "loopback"),
    ],
)
async def test_a_challenge_that_cannot_be_answered_is_an_error(
    challenge: str, error: type[OriginError], complaint: str
) -> None:
    async with pulling(RegistryAuth(AuthMode.BEARER, ACCOUNTS), ME) as puller:
        with pytest.raises(error, match=complaint):
            await puller.authenticator.answer([challenge], scope=SCOPE)
