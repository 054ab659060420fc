"""Targets for what carries credentials or stands for them: tokens, forms, files, headers."""

import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from shoal.adapters.origin.auth import Authenticator
from shoal.adapters.origin.client import OriginAnswer
from shoal.adapters.origin.docker_config import DockerConfig
from shoal.agent.front.memory import Memory
from shoal.agent.front.memory_file import as_document, take_over
from shoal.agent.front.node_header import is_runtime
from shoal.agent.front.token_asking import TokenRequest, given
from shoal.core.errors import BadInput, OriginError, SettingsError
from shoal.core.trust.credentials import KEY_BYTES, fingerprint
from shoal.core.trust.moments import Moment

_KEY = bytes(KEY_BYTES)
_NOW = Moment("boot", 10_000.0, 1_800_000_000.0)
_REALM = "https://auth.example.com/token?a=b"
_CHALLENGE = f'Bearer realm="{_REALM}",service="s"'


def token_asked(data: bytes) -> None:
    """A client's question to the front's `/token`: query, Authorization, and perhaps a form."""
    query, authorization, *rest = [*data.decode("latin-1").split("\n"), "", ""]
    form = "\n".join(rest).encode("latin-1") if "\n" in rest else None
    for body in (None, form):
        asked = TokenRequest("POST" if body else "GET", query, body, authorization or None)
        with contextlib.suppress(BadInput):
            assert all(isinstance(name, str) for name in asked.repositories)
            asked.account(key=_KEY)
        assert urlsplit(asked.url(_REALM)).netloc == "auth.example.com"
        assert asked.headers


def token_given(data: bytes) -> None:
    """A token server's answer: relayed to a client, and to this node itself."""
    found = given(data)
    if found is not None:
        assert found.tokens
        assert 0 < found.lifetime_s < 1e9
        for token in found.tokens:
            fingerprint(f"Bearer {token}", key=_KEY)
    answer = OriginAnswer(200, CIMultiDictProxy(CIMultiDict()), data)

    async def realm(*_: object, **__: object) -> OriginAnswer:
        return answer

    own = Authenticator(None, ask_realm=realm, now_s=lambda: 0.0)
    with contextlib.suppress(OriginError):
        header = _at_once(own.answer([_CHALLENGE], scope="repository:a:pull"))
        assert header.isprintable()


def docker_config(data: bytes) -> None:
    """The file of the node's own credentials; what is wrong with it is told without a secret."""
    with contextlib.suppress(SettingsError):
        config = DockerConfig.parse(data, source="config.json")
        with contextlib.suppress(BadInput):
            config.credentials_for("registry.example.com", repository="team/app")


def access_file(data: bytes) -> None:
    """The file of what registries have said; what was taken from it is written the same again."""
    memory = Memory()
    try:
        take_over(json.loads(data), memory, now=_NOW)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return  # as `load` passes over
    memory.access.check()
    document = json.loads(json.dumps(as_document(memory, now=_NOW)))
    again = Memory()
    take_over(document, again, now=_NOW)
    assert as_document(again, now=_NOW) == as_document(memory, now=_NOW)


def node_header(data: bytes) -> None:
    """X-Shoal-Node: whatever it holds, only the node's own value is the runtime's."""
    assert not is_runtime(data.decode("utf-8", "surrogateescape"), key=_KEY)
    assert not is_runtime(data.decode("latin-1"), key=_KEY)


def _at_once(coroutine: Coroutine[Any, Any, str]) -> str:
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return str(done.value)
    coroutine.close()
    raise AssertionError("it waits")


CREDENTIAL_TARGETS: tuple[Callable[[bytes], None], ...] = (
    token_asked,
    token_given,
    docker_config,
    access_file,
    node_header,
)
