"""Node mode: the registry is shown this node's own credential in place of the client's.

For runtimes that keep pull secrets from mirrors. A client that sends a credential is in client mode
all the same: its own counts. What the credential cannot do, because its file is not usable or its
realm refuses it, leaves a request as it would be without node mode, so the runtime can still
authenticate by itself.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from shoal.adapters.origin.auth import Authenticator
from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.docker_config import Credentials
from shoal.agent.front.asking import FrontClient
from shoal.agent.front.credentials_file import CredentialsFile
from shoal.core.errors import OriginDenied, OriginError
from shoal.core.oci.challenges import pull_scope
from shoal.core.trust.credentials import Fingerprint, account_fingerprint

# Entries of a credentials file that are in use: one for each registry and path in it.
MAX_ACCOUNTS = 256
# A registry that does not say how it wants to be shown who asks is asked that again after this.
SILENT_S = 5.0


class _Account:
    """One credential at one registry, and how that registry wants to be shown it."""

    def __init__(
        self,
        client: FrontClient,
        config: RegistryConfig,
        credentials: Credentials,
        *,
        clock_s: Callable[[], float],
    ) -> None:
        self._client = client
        self._config = config
        self._clock_s = clock_s
        self._challenges: tuple[str, ...] | None = None
        self._silent_until_s = float("-inf")
        self._finding = asyncio.Lock()
        ask_realm = partial(client.ask_realm, config, only_listed=True)
        self._authenticator = Authenticator(credentials, ask_realm=ask_realm)

    async def header(self, scope: str) -> str | None:
        """Return the header to send, or None if the registry wants none or none can be had now."""
        known = self._authenticator.header_for(scope)
        if known is not None or self._clock_s() < self._silent_until_s:
            return known
        try:
            async with self._finding:
                if self._challenges is None:
                    self._challenges = await self._first_challenges()
            if not self._challenges:
                return None
            return await self._authenticator.answer(self._challenges, scope=scope)
        except OriginDenied:
            return None  # the registry's own 401 says so, to whom it concerns
        except OriginError:
            self._silent_until_s = self._clock_s() + SILENT_S
            return None

    async def again(
        self, challenges: Sequence[str], *, scope: str, refused: str | None
    ) -> str | None:
        """Return another header than the one that was refused, or None if there is none.

        Raises:
            OriginError: the realm gave no answer.
        """
        self._challenges = tuple(challenges)
        try:
            return await self._authenticator.answer(challenges, scope=scope, refused=refused)
        except OriginDenied:
            return None

    async def _first_challenges(self) -> tuple[str, ...]:
        answer = await self._client.ask(self._config, "GET", "/v2/", headers={})
        if answer.status == 401:
            return tuple(answer.headers.getall("WWW-Authenticate", ()))
        if answer.status >= 300:
            raise OriginError(f"{self._config.name} answered {answer.status}", status=answer.status)
        return ()


@dataclass(slots=True)
class NodeLogin:
    """This node's credential for one request; fulfils `shoal.agent.front.asking.Login`."""

    account: Fingerprint
    _at_registry: _Account = field(repr=False)
    _scope: str
    header: str | None = field(repr=False)

    async def again(self, challenges: Sequence[str]) -> bool:
        """Find another header, since the registry answered 401; False if there is none.

        Raises:
            OriginError: the token realm gave no answer.
        """
        header = await self._at_registry.again(challenges, scope=self._scope, refused=self.header)
        if header is None or header == self.header:
            return False
        self.header = header
        return True


class NodeLogins:
    """The credentials of this node, by file, registry and repository."""

    def __init__(
        self,
        client: FrontClient,
        *,
        key: bytes,
        ask_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read no file yet.

        Args:
            client: asks registries and realms.
            key: the node's key for fingerprints.
            ask_s: how long finding a header may take.
            clock_s: a clock that nobody sets.
        """
        self._client = client
        self._key = key
        self._ask_s = ask_s
        self._clock_s = clock_s
        self._files: dict[Path, CredentialsFile] = {}  # bounded: those that the settings name
        self._accounts: OrderedDict[tuple[RegistryConfig, Credentials], _Account] = OrderedDict()

    async def login(
        self, config: RegistryConfig, repository: str, *, path: Path
    ) -> NodeLogin | None:
        """Return this node's credential for a repository ("" for none), if the file has one."""
        file = self._files.setdefault(path, CredentialsFile(path))
        credentials = await file.credentials_for(config.name, repository=repository)
        if credentials is None:
            return None
        account = self._account(config, credentials)
        scope = pull_scope(repository) if repository else ""
        try:
            async with asyncio.timeout(self._ask_s):
                header = await account.header(scope)
        except TimeoutError:
            header = None
        return NodeLogin(self._fingerprint(credentials), account, scope, header)

    def _account(self, config: RegistryConfig, credentials: Credentials) -> _Account:
        key = (config, credentials)
        account = self._accounts.get(key)
        if account is None:
            account = _Account(self._client, config, credentials, clock_s=self._clock_s)
            self._accounts[key] = account
        self._accounts.move_to_end(key)
        while len(self._accounts) > MAX_ACCOUNTS:
            self._accounts.popitem(last=False)
        return account

    def _fingerprint(self, credentials: Credentials) -> Fingerprint:
        secret = "\n".join((credentials.username, credentials.password, credentials.identity_token))
        return account_fingerprint("node", secret, key=self._key)
