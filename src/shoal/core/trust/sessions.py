"""Whose token is whose: a Bearer token is new at every pull, the account behind it is not.

What the registry said to a token is remembered for the account that the realm gave it to, but only
in the repositories that were asked for with it, and only while the token lasts: a token for one
repository, or an old one, must not open what its account may have elsewhere.

A local token is one that this node gave itself, while the realm did not answer, to an account that
the realm had accepted. It is never shown to a registry.
"""

from collections import OrderedDict
from dataclasses import dataclass

from shoal.core.trust.credentials import Fingerprint

# Tokens of five minutes, some for each pull: thousands a minute are no node's pulls.
MAX_SESSIONS = 4_096


@dataclass(frozen=True, slots=True)
class Session:
    """What one token stands for, until `until_s`."""

    registry: str
    account: Fingerprint
    repositories: frozenset[str]
    until_s: float
    is_local: bool = False


class Sessions:
    """The tokens that went through this node, by their fingerprints, the oldest going first."""

    def __init__(self, *, capacity: int = MAX_SESSIONS) -> None:
        self._sessions: OrderedDict[Fingerprint, Session] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, token: Fingerprint, session: Session) -> None:
        """This token was given out."""
        self._sessions[token] = session
        self._sessions.move_to_end(token)
        while len(self._sessions) > self._capacity:
            self._sessions.popitem(last=False)

    def end(self, registry: str, account: Fingerprint) -> None:
        """The account was refused: its tokens stand for it no more."""
        for token, session in list(self._sessions.items()):
            if (session.registry, session.account) == (registry, account):
                del self._sessions[token]

    def find(self, token: Fingerprint, *, registry: str, now_s: float) -> Session | None:
        """Return what this token stands for at this registry now, or None."""
        session = self._sessions.get(token)
        if session is None or session.registry != registry or now_s > session.until_s:
            return None
        return session
