"""`shoal setup install`: looks after a node's runtime for as long as the pod runs."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from shoal.adapters.mounts.state import Changes
from shoal.setup.node.backoff import Backoff
from shoal.setup.node.controller import Condition, Controller, ControllerError
from shoal.setup.node.installer import Installer

_log = logging.getLogger("shoal.setup")

# Between looks: until the agent answers, and afterwards, since k3s writes its folder anew at every
# start. Whether the settings have changed is seen in between.
UNSETTLED_INTERVAL_S = 2.0
SETTLED_INTERVAL_S = 60.0
TICK_S = 1.0
# A report is made again, so that a Node that was deleted and made anew has its condition.
REPORT_INTERVAL_S = 600.0


@dataclass(slots=True)
class Reporting:
    """Tells the controller what changes, and again from time to time; never in anybody's way."""

    controller: Controller
    know_runtime: Callable[[str], None]
    now: Callable[[], float] = time.monotonic
    backoff: Backoff = field(default_factory=Backoff)
    _told: Condition | None = None
    _due_s: float = 0.0
    _seen: Condition | None = None

    def tell(self, condition: Condition) -> None:
        """Tell the node's state, if it has changed or was not told for long."""
        if condition != self._seen:
            self._seen = condition
            level = logging.INFO if condition.status == "True" else logging.WARNING
            _log.log(
                level, "node_state", extra={"reason": condition.reason, "found": condition.message}
            )
        is_news = condition != self._told and not self.backoff.failures
        if not is_news and self.now() < self._due_s:
            return
        try:
            version = self.controller.report(condition)
        except ControllerError as exc:
            if not self.backoff.failures:
                _log.warning("not_reported", extra={"error": str(exc)})
            self._due_s = self.now() + self.backoff.failed(exc.retry_after_s)
            return
        self.backoff.succeeded()
        self._told = condition
        self._due_s = self.now() + REPORT_INTERVAL_S
        self.know_runtime(version)


def keep_installed(
    installer: Installer,
    reporting: Reporting,
    *,
    settings: Path,
    stop: Event,
    also: Callable[[], None] = lambda: None,
    tick_s: float = TICK_S,
) -> None:
    """Look, again and again, until `stop` is set.

    Args:
        installer: what looks.
        reporting: what tells.
        settings: the agent's; a look follows their change at once.
        stop: ends it, within a look.
        also: called at each look; what else there is to renew.
        tick_s: seconds between two looks at whether the settings are others.
    """
    changes = Changes(settings)
    reporting.tell(Condition("Unknown", "Starting", "waiting for the agent to answer"))
    while not stop.is_set():
        reporting.tell(installer.look())
        also()
        interval_s = SETTLED_INTERVAL_S if installer.is_settled else UNSETTLED_INTERVAL_S
        until_s = reporting.now() + interval_s
        while reporting.now() < until_s and not changes.seen():
            if stop.wait(tick_s):
                return
