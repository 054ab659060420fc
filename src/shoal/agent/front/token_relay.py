"""Relays tokens between clients and the realms that registries name, and stands in for a realm.

A registry's Bearer challenge goes to the client with this front's own `/token/<id>` as its realm.
Whoever asks there is asked about at the real realm, with just what they sent, and its answer goes
back unchanged. So the front learns which account a token belongs to, by keyed fingerprints, and
what the registry says to one token counts for the account's next one (core/trust/sessions.py).

| the realm | the client gets | the front remembers |
|---|---|---|
| 200 | its answer | the account as accepted, the token as the account's |
| 401, 403 | its answer | that the account was refused: nothing that it was allowed counts |
| other 4xx | its answer | nothing |
| no answer, 408, 429, 5xx | a local token if this realm accepted the account lately, else 404 | |

A client whose token cannot be had here goes on to the registry, whose own challenge names the real
realm: it is no worse off than without the front.
"""

import asyncio
import json
import secrets
from collections.abc import Callable
from urllib.parse import urljoin

from aiohttp import web

from shoal.adapters.origin.client import OriginAnswer
from shoal.adapters.origin.config import RegistryConfig
from shoal.agent.front.answers import API_VERSION, Cause, Code, Refusal, error_response
from shoal.agent.front.asking import Exchange, RealmClient, is_unreachable
from shoal.agent.front.journal import Journal
from shoal.agent.front.memory import Memory, boot_clock_s
from shoal.agent.front.token_asking import MAX_FORM_BYTES, TokenRequest, given
from shoal.core.errors import BadInput, OriginError
from shoal.core.oci.challenges import Challenge, parse_challenges, pull_scope, token_url
from shoal.core.trust.credentials import Fingerprint, fingerprint
from shoal.core.trust.realms import Realm
from shoal.core.trust.sessions import Session

TOKEN_PATH = "/token/"  # noqa: S105 - a path

# So that one that is no longer known, after a restart, is not shown to a registry.
LOCAL_PREFIX = "shoal-local-"
# Long enough for a pull of some layers to begin; then the realm is asked again.
# Source: token.md, "expires_in": at least 60 s, for compatibility with older clients.
LOCAL_LIFETIME_S = 60
# For how long clients are sent to the realm itself, after it did not answer this node.
SILENT_S = 60.0

_BUSY = (408, 429)


class TokenRelay:
    """The front's `/token`, and the challenges that lead there."""

    def __init__(
        self,
        client: RealmClient,
        memory: Memory,
        *,
        key: bytes,
        journal: Journal,
        ask_s: float,
        form_s: float,
        clock_s: Callable[[], float] = boot_clock_s,
    ) -> None:
        """Relay nothing yet.

        Args:
            client: asks realms.
            memory: what registries and realms have said.
            key: the node's key for fingerprints.
            journal: told of what fails.
            ask_s: how long a realm has for an answer.
            form_s: how long a client has for its form.
            clock_s: the gate's clock.
        """
        self._client = client
        self._memory = memory
        self._key = key
        self._journal = journal
        self._ask_s = ask_s
        self._form_s = form_s
        self._clock_s = clock_s

    def session(self, authorization: str | None, *, registry: str) -> Session | None:
        """Return what a client's token stands for at this registry, if that is known."""
        if authorization is None or authorization[:7].lower() != "bearer ":
            return None
        token = fingerprint(authorization, key=self._key)
        return self._memory.sessions.find(token, registry=registry, now_s=self._clock_s())

    def lead_here(self, response: web.StreamResponse, config: RegistryConfig, host: str) -> None:
        """Let the Bearer challenges of a registry's 401 name this front as their realm.

        Args:
            response: the registry's answer as it goes to the client; changed in place.
            config: the registry.
            host: the front as the client calls it: its Host header, which was checked.
        """
        headers = response.headers.getall("WWW-Authenticate", ())
        try:
            challenges = parse_challenges(headers)
            changed = [self._leading_here(challenge, config, host) for challenge in challenges]
        except BadInput:
            return  # the client may understand it
        if changed and list(challenges) != changed:
            del response.headers["WWW-Authenticate"]
            for challenge in changed:
                response.headers.add("WWW-Authenticate", str(challenge))

    def stand_in(self, exchange: Exchange, host: str) -> web.Response | None:
        """Return the challenge of a registry that is away, if it may help the client.

        Clients show their credential only to who asks for it.
        """
        if exchange.session is not None or exchange.login is not None:
            return None
        registry, sent = exchange.config.name, exchange.sent
        realm = self._memory.realms.of(registry)
        basic = self._memory.realms.basic_of(registry)
        if realm is not None and (sent is None or sent[:7].lower() == "bearer "):
            repository = exchange.holder.repository
            parameters = [("realm", _here(host, realm)), ("service", realm.service)]
            parameters += [("scope", pull_scope(repository))] if repository else []
            challenge = Challenge("bearer", tuple((k, v) for k, v in parameters if v))
        elif basic is not None and sent is None:
            challenge = Challenge("basic", (("realm", basic),))
        else:
            return None
        return error_response(
            401,
            Code.UNAVAILABLE,
            f"{registry} cannot be reached; what it allowed this credential lately may be had",
            headers={**API_VERSION, "WWW-Authenticate": str(challenge)},
        )

    async def answer(self, request: web.BaseRequest, path: str, query: str) -> web.Response:
        """Answer a request for a token.

        Raises:
            Refusal: there is none, and why.
        """
        realm = self._memory.realms.get(path.removeprefix(TOKEN_PATH))
        config = self._client.registry_for(realm.registry) if realm is not None else None
        if realm is None or config is None:
            raise Refusal("no registry has named this realm", cause=Cause.TOKEN)
        asked = await self._read(request, query)
        account = asked.account(key=self._key)
        try:
            repositories = asked.repositories
        except BadInput as error:
            raise Refusal(
                str(error), cause=Cause.BAD_REQUEST, status=400, code=Code.UNSUPPORTED
            ) from error
        try:
            answer = await self._ask(config, realm, asked)
        except OriginError as error:
            if is_unreachable(error):
                self._memory.realms.silent(realm, until_s=self._clock_s() + SILENT_S)
                local = self._local(realm, account, repositories)
                if local is not None:
                    self._journal.refused(
                        Cause.REGISTRY_UNAVAILABLE,
                        f"gave a token in place of the token server of {realm.registry}: {error}",
                        fields={"registry": realm.registry},
                    )
                    return local
            raise Refusal(str(error), cause=Cause.TOKEN) from error
        self._learn(realm, account, repositories, asked, answer)
        return _passed(answer, url=realm.url)

    async def _read(self, request: web.BaseRequest, query: str) -> TokenRequest:
        values = request.headers.getall("Authorization", ())
        if len(values) > 1:
            raise _malformed("several Authorization headers in one request")
        authorization = values[0] if values else None
        if request.method != "POST":
            return TokenRequest("GET", query, None, authorization)
        body = bytearray()
        try:
            async with asyncio.timeout(self._form_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        raise _malformed(f"a form of more than {MAX_FORM_BYTES} bytes", status=413)
        except TimeoutError as error:
            raise _malformed(f"no whole form within {self._form_s:g} s", status=408) from error
        return TokenRequest("POST", query, bytes(body), authorization)

    async def _ask(self, config: RegistryConfig, realm: Realm, asked: TokenRequest) -> OriginAnswer:
        try:
            async with asyncio.timeout(self._ask_s):
                answer = await self._client.ask_realm(
                    config,
                    asked.method,
                    asked.url(realm.url),
                    headers=asked.headers,
                    body=asked.form,
                )
        except TimeoutError as error:
            raise OriginError(
                f"the token server of {realm.registry} gave no answer within {self._ask_s:g} s"
            ) from error
        if answer.status in _BUSY or answer.status >= 500:
            raise OriginError(
                f"the token server of {realm.registry} answered {answer.status}",
                status=answer.status,
            )
        return answer

    def _learn(
        self,
        realm: Realm,
        account: Fingerprint | None,
        repositories: frozenset[str],
        asked: TokenRequest,
        answer: OriginAnswer,
    ) -> None:
        if account is None:
            return
        now_s = self._clock_s()
        found = given(answer.body) if answer.status == 200 else None
        if found is not None:
            if asked.form is not None:
                self._memory.realms.form_taken(realm)
            self._memory.realms.accepted(realm, account, now_s=now_s)
            # As in origin/auth.py: a registry whose clock is ahead must not look as if it refused.
            until_s = now_s + 0.9 * found.lifetime_s
            session = Session(realm.registry, account, repositories, until_s)
            for token in found.tokens:
                self._memory.sessions.begin(self._token(token), session)
        elif answer.status in (401, 403):
            # Some answer so to every form, and take the same name and password by GET: a client
            # that gets this asks so next, and is refused then.
            if asked.form is not None and not self._memory.realms.takes_forms(realm):
                return
            self._memory.realms.refused(realm, account)
            self._memory.sessions.end(realm.registry, account)
            self._memory.access.refuse_everywhere(realm.registry, account, now_s=now_s)

    def _local(
        self, realm: Realm, account: Fingerprint | None, repositories: frozenset[str]
    ) -> web.Response | None:
        now_s = self._clock_s()
        if account is None or not self._memory.realms.is_accepted(realm, account, now_s=now_s):
            return None
        token = LOCAL_PREFIX + secrets.token_urlsafe(32)
        until_s = now_s + LOCAL_LIFETIME_S
        session = Session(realm.registry, account, repositories, until_s, is_local=True)
        self._memory.sessions.begin(self._token(token), session)
        body = {"token": token, "access_token": token, "expires_in": LOCAL_LIFETIME_S}
        return web.Response(
            body=json.dumps(body).encode(),
            headers={
                **API_VERSION,
                "Content-Type": "application/json",
                "Cache-Control": "no-store",
            },
        )

    def _leading_here(self, challenge: Challenge, config: RegistryConfig, host: str) -> Challenge:
        if challenge.scheme == "basic":
            self._memory.realms.wants_basic(config.name, challenge.get("realm") or "")
        if challenge.scheme != "bearer":
            return challenge
        token_url(challenge)  # raises for a realm that is no URL
        realm = Realm(config.name, challenge.get("realm") or "", challenge.get("service") or "")
        self._memory.realms.named(realm)
        if not self._memory.realms.is_worth_relaying(realm, now_s=self._clock_s()):
            return challenge
        return challenge.replace(realm=_here(host, realm))

    def _token(self, token: str) -> Fingerprint:
        return fingerprint(f"Bearer {token}", key=self._key)


def is_local(authorization: str | None) -> bool:
    """Return whether this is a token that a front gave in place of a realm."""
    if authorization is None:
        return False
    scheme, _, token = authorization.partition(" ")
    return scheme.lower() == "bearer" and token.strip().startswith(LOCAL_PREFIX)


def _here(host: str, realm: Realm) -> str:
    return f"http://{host}{TOKEN_PATH}{realm.id}"


def _passed(answer: OriginAnswer, *, url: str) -> web.Response:
    headers = {**API_VERSION, "Cache-Control": "no-store"}
    for name in ("Content-Type", "WWW-Authenticate"):
        if name in answer.headers:
            headers[name] = answer.headers[name]
    if "Location" in answer.headers:  # as without the relay, the client goes there by itself
        headers["Location"] = urljoin(url, answer.headers["Location"])
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _malformed(message: str, *, status: int = 400) -> Refusal:
    return Refusal(
        message, cause=Cause.BAD_REQUEST, status=status, code=Code.UNSUPPORTED, closes=True
    )
