"""A client that authenticates as containerd does, against a front.

Source: containerd 1.6, remotes/docker/authorizer.go: at a 401 with a Bearer challenge it asks the
realm, by an OAuth2 form if it has a password and by GET if that is not taken or it has none, and
sends the request once more.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import aiohttp
from yarl import URL

from shoal.core.oci.challenges import Challenge, parse_challenges, token_url
from unit.agent.front.conftest import Answer, basic


class Asked(Protocol):
    """A front, and the connections to it."""

    @property
    def session(self) -> aiohttp.ClientSession:
        """Keeps connections."""
        ...

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        ns: str | None = None,
    ) -> Answer:
        """Ask as containerd's mirror does, with `ns`."""
        ...


@dataclass(slots=True)
class Runtime:
    """One client; `login` is a name and a password, or None."""

    world: Asked
    login: tuple[str, str] | None = None
    sends_forms: bool = True
    token: str | None = None
    is_basic: bool = False
    realms: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, *, ns: str | None = None) -> Answer:
        """Ask, authenticate if that is wanted, and ask once more."""
        answer = await self.world.ask(method, path, headers=self._headers(), ns=ns)
        if answer.status != 401:
            return answer
        challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", ()))
        if not await self._authenticate(challenges[0]):
            return answer
        return await self.world.ask(method, path, headers=self._headers(), ns=ns)

    async def get(self, path: str) -> Answer:
        """GET."""
        return await self.ask("GET", path)

    async def pull(self, path_by_tag: str, layer: str) -> list[int]:
        """Do what a pull of an image of one layer does; return the statuses."""
        return [
            (await self.ask("HEAD", path_by_tag)).status,
            (await self.ask("GET", path_by_tag)).status,
            (await self.ask("GET", layer)).status,
        ]

    def _headers(self) -> dict[str, str]:
        if self.is_basic and self.login is not None:
            return basic(*self.login)
        return {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}

    async def _authenticate(self, challenge: Challenge) -> bool:
        if challenge.scheme == "basic":
            was_basic, self.is_basic = self.is_basic, self.login is not None
            return self.is_basic and not was_basic
        realm = challenge.get("realm") or ""
        self.realms.append(realm)
        if self.login is not None and self.sends_forms:
            name, password = self.login
            form = {
                "grant_type": "password",
                "service": challenge.get("service") or "",
                "client_id": "containerd-client",
                "scope": challenge.get("scope") or "",
                "username": name,
                "password": password,
            }
            status, body = await self._send("POST", realm, data=urlencode(form))
            if status == 200:
                return self._take(body)
            if status not in (401, 404, 405):
                return False
        status, body = await self._send("GET", token_url(challenge))
        return status == 200 and self._take(body)

    async def _send(self, method: str, url: str, *, data: str | None = None) -> tuple[int, bytes]:
        assert urlsplit(url).hostname == "127.0.0.1"
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if data else {}
        if self.login is not None and data is None:
            headers |= basic(*self.login)
        async with self.world.session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.read()

    def _take(self, body: bytes) -> bool:
        document = json.loads(body)
        self.token = document.get("token") or document["access_token"]
        return True
