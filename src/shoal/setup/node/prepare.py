"""`shoal setup prepare`: makes the store's folder the agent's, and sees to the certificate."""

import logging
import os
from pathlib import Path
from threading import Event

from shoal.core.errors import ShoalError
from shoal.setup.node.backoff import Backoff
from shoal.setup.node.identity import Identity

_log = logging.getLogger("shoal.setup")


def give_store(store: Path, *, user: int, group: int) -> None:
    """Make the store's folder, and all that is in it, the agent's and nobody else's to read.

    Raises:
        ShoalError: the file system refuses.
    """
    try:
        store.chmod(0o700)
        for folder, _, names in os.walk(store):
            for path in (Path(folder), *(Path(folder) / name for name in names)):
                was = path.lstat()
                if (was.st_uid, was.st_gid) != (user, group):
                    os.lchown(path, user, group)
    except OSError as exc:
        raise ShoalError(f"{store}: {exc.strerror or exc}") from exc


def see_to_certificate(identity: Identity, *, stop: Event) -> None:
    """Return once there is a certificate that is good, or `stop` is set.

    A certificate that is to be renewed and still good is asked for once: the controller may be
    away, and then only new nodes wait for it.
    """
    backoff = Backoff(identity.jitter)
    while identity.is_due and not stop.is_set():
        try:
            identity.renew()
        except ShoalError as exc:
            if identity.is_good:
                _log.warning("certificate_not_renewed", extra={"error": str(exc)})
                return
            pause_s = backoff.failed(getattr(exc, "retry_after_s", 0.0))
            extra = {"error": str(exc), "again_in_s": round(pause_s)}
            _log.warning("no_certificate_yet", extra=extra)
            stop.wait(pause_s)
            continue
        if identity.is_good:
            return
        # Signed by an authority that the mounted ca.crt does not have yet.
        stop.wait(backoff.failed())
