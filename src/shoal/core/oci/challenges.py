"""`WWW-Authenticate` challenges of registries: Basic, and Bearer with a token realm.

Source: RFC 9110 section 11, and distribution's token authentication specification
(distribution/docs/content/spec/auth/token.md) for the Bearer parameters.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from shoal.core.errors import BadInput

MAX_CHALLENGE_CHARACTERS = 8192
MAX_CHALLENGES = 16
MAX_PARAMETERS = 32

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a run of letters
_PARAMETER = re.compile(
    rf'(?P<key>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))',
    re.ASCII | re.DOTALL,
)
_SCHEME = re.compile(rf"(?P<scheme>{_TOKEN})(?:[ \t]+|(?=,)|$)", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))", re.ASCII)
_SEPARATOR = re.compile(r"[ \t]*(?:,[ \t]*)*", re.ASCII)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: a lower-case scheme and its parameters, names in lower case, in order."""

    scheme: str
    parameters: tuple[tuple[str, str], ...] = ()

    def get(self, name: str) -> str | None:
        """Return the first parameter called `name`, or None."""
        return next((value for key, value in self.parameters if key == name), None)

    def replace(self, **parameters: str) -> "Challenge":
        """Return a copy in which `parameters` have these values: a relay names its own realm."""
        kept = [(key, parameters.pop(key, value)) for key, value in self.parameters]
        return Challenge(self.scheme, (*kept, *parameters.items()))

    def __str__(self) -> str:
        """Return it as a header spells it."""
        pairs = ",".join(f'{key}="{_escape(value)}"' for key, value in self.parameters)
        return f"{self.scheme.capitalize()} {pairs}".rstrip()


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Return every challenge of an answer's `WWW-Authenticate` headers, in order.

    A header may hold several, and a comma separates both challenges and parameters; a word that is
    not followed by `=` begins the next challenge.

    Raises:
        BadInput: malformed, or more than the module's bounds allow.
    """
    challenges = [challenge for header in headers for challenge in _parse_header(header)]
    if len(challenges) > MAX_CHALLENGES:
        raise BadInput(f"{len(challenges)} challenges in one answer")
    return tuple(challenges)


def token_url(challenge: Challenge, *, scopes: Iterable[str] = (), account: str = "") -> str:
    """Return the URL at which to ask for a token: the realm with service and scopes as its query.

    Args:
        challenge: a Bearer challenge; its own scope is asked for unless `scopes` are given.
        scopes: such as `repository:library/nginx:pull`; each becomes a parameter of its own.
        account: the user name, where one is known: some servers log it.

    Raises:
        BadInput: no Bearer challenge, or its realm is no http or https URL.
    """
    realm = challenge.get("realm")
    if challenge.scheme != "bearer" or not realm:
        raise BadInput(f"no Bearer challenge with a realm: {challenge.scheme!r}")
    try:
        parts = urlsplit(realm)
    except ValueError as exc:  # a bracket that is not closed: "Invalid IPv6 URL"
        raise BadInput(f"realm is not a URL: {realm[:160]!r}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise BadInput(f"realm is not an http or https URL: {realm[:160]!r}")
    # Some registries put several scopes, separated by spaces, into the one parameter.
    wanted = list(scopes) or (challenge.get("scope") or "").split()
    query = [("service", service)] if (service := challenge.get("service")) else []
    query += [("scope", scope) for scope in wanted]
    query += [("account", account)] if account else []
    joined = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", joined, ""))


def pull_scope(repository: str) -> str:
    """Return the scope that lets one read `repository`."""
    return f"repository:{repository}:pull"


def _parse_header(header: str) -> Iterator[Challenge]:
    if len(header) > MAX_CHALLENGE_CHARACTERS:
        raise BadInput(f"challenge of {len(header)} characters")
    at = _skip(header, 0)
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            raise BadInput(f"malformed challenge at character {at}: {header[:160]!r}")
        at = scheme.end()
        parameters: list[tuple[str, str]] = []
        if not _PARAMETER.match(header, at) and (token68 := _TOKEN68.match(header, at)):
            at = _skip(header, token68.end())  # as in `Negotiate YII...`: of no use here
        while found := _PARAMETER.match(header, at):
            quoted = found["quoted"]
            value = found["plain"] if quoted is None else _ESCAPE.sub(r"\1", quoted)
            parameters.append((found["key"].lower(), value))
            at = _skip(header, found.end())
            if len(parameters) > MAX_PARAMETERS:
                raise BadInput("too many parameters in one challenge")
        at = _skip(header, at)
        yield Challenge(scheme["scheme"].lower(), tuple(parameters))


def _skip(header: str, at: int) -> int:
    match = _SEPARATOR.match(header, at)
    return match.end() if match else at


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
