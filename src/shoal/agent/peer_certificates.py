"""This node's certificate for its peers: found by the settings, watched, and told of in time."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from shoal.adapters.certificates.credentials import CredentialFiles, Credentials
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.certificates.peer_credentials import PeerCredentials
from shoal.agent.settings import PeerSettings
from shoal.core.errors import SettingsError, ShoalError
from shoal.core.peer import PeerId
from shoal.core.trust.identity import Refused

_log = logging.getLogger("shoal.agent.certificates")

# Looked at twice before it is taken, so that a revocation holds after twice as long: well within
# the minute that is promised, at four calls of stat() each time.
WATCH_INTERVAL_S = 2.0
# Files on storage that hangs must not end the watch.
READ_TIMEOUT_S = 30.0
WARN_BEFORE = timedelta(days=14)
WARN_INTERVAL_S = 86400.0


def load_credentials(
    settings: PeerSettings, *, me: PeerId, alpn: tuple[str, ...] = ()
) -> PeerCredentials | None:
    """Return this node's credentials; None where peers speak plain TCP. Blocks on the disk.

    Args:
        settings: where the files are.
        me: by which address the peers know this node.
        alpn: the protocols that connections may speak, best first.

    Raises:
        SettingsError: a file cannot be used; the message names its key.
    """
    tls = settings.tls
    if settings.plaintext or tls.certificate is None or tls.key is None or tls.ca is None:
        return None
    files = CredentialFiles(tls.certificate, tls.key, tls.ca, tls.revoked)
    try:
        credentials = PeerCredentials(files, alpn=alpn)
    except CertificateError as error:
        text = str(error)
        named = {name: getattr(tls, name) for name in ("certificate", "key", "ca", "revoked")}
        key = next((name for name, path in named.items() if text.startswith(f"{path}:")), None)
        raise SettingsError(f"peer.tls{f'.{key}' if key else ''}: {text}") from error
    try:
        credentials.identity.require_member(me)
    except Refused as refused:
        raise SettingsError(f"peer.tls.certificate: {files.certificate}: {refused}") from refused
    return credentials


class CertificateWatch:
    """Puts new files into force, and warns before the certificate ends."""

    def __init__(
        self,
        credentials: PeerCredentials,
        *,
        me: PeerId,
        count: Callable[[str], None],
        interval_s: float = WATCH_INTERVAL_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare.

        Args:
            credentials: in force, as they were read at the start.
            me: by which address the peers know this node.
            count: told `ok` or `failed` for each new version of the files.
            interval_s: between two looks at the files, in seconds.
            now: the time, UTC.
        """
        self._credentials = credentials
        self._me = me
        self._count = count
        self._interval_s = interval_s
        self._now = now
        self._warned: datetime | None = None
        self._complained: str | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self.warn()
            await asyncio.sleep(self._interval_s)
            await self.look()

    async def look(self) -> None:
        """Look at the files once; what cannot be used changes nothing and is told of."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                found = await asyncio.to_thread(self._changed)
        except (ShoalError, TimeoutError) as error:
            reason = str(error) or f"the files were not read within {READ_TIMEOUT_S:g} s"
            if reason != self._complained:
                self._complained = reason
                _log.error(
                    "peer_certificate_not_renewed: the old one stays", extra={"error": reason}
                )
                self._count("failed")
            return
        if found is None:
            return
        self._credentials.use(found)
        self._warned = self._complained = None
        self._count("ok")
        _log.info(
            "peer_certificate_renewed",
            extra={
                "node": found.identity.node,
                "cluster": found.identity.cluster,
                "until": found.certificate.not_after.isoformat(),
                "authorities": [authority.name for authority in found.trust.authorities],
                "revoked": sum(len(list_.revoked) for list_ in found.trust.lists),
            },
        )

    def _changed(self) -> Credentials | None:
        found = self._credentials.changed()
        if found is not None:
            found.identity.require_member(self._me)
        return found

    def warn(self) -> None:
        """Say once a day that the certificate ends soon, has ended, or does not hold."""
        now = self._now()
        current = self._credentials.current
        if self._warned is not None and (now - self._warned).total_seconds() < WARN_INTERVAL_S:
            return
        try:
            current.require_valid(now=now)
        except Refused as refused:
            self._warned = now
            _log.error(
                "peer_certificate_refused: peers will not speak with this node",
                extra={"reason": str(refused)},
            )
            return
        ends = min([current.certificate, *current.trust.authorities], key=lambda c: c.not_after)
        if ends.not_after - now < WARN_BEFORE:
            self._warned = now
            _log.warning(
                "peer_certificate_ends_soon: give this node a new one",
                extra={"certificate": ends.name, "until": ends.not_after.isoformat()},
            )
