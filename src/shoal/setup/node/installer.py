"""Points a node's runtime at the agent once the agent answers, and says what came of it."""

import logging
import re
from collections.abc import Callable

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.front_probe import FrontAnswer, probe_front
from shoal.core.errors import SettingsError
from shoal.setup.node.controller import Condition
from shoal.setup.node.ports import listeners
from shoal.setup.node.runtimes import Release, Runtime
from shoal.setup.node.told import AgentTold

_log = logging.getLogger("shoal.setup")

# The supervisor replaces an agent that is silent for 3 s; at two seconds a look this is well after.
SILENT_LOOKS = 5
_MAX_MESSAGE_CHARS = 1024
_VERSION = re.compile(r"\A[a-z0-9.-]+://v?(\d{1,4})\.(\d{1,4})\.", re.ASCII)


class Installer:
    """What is decided at each look; `look` may be called at any time, and twice changes nothing."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        read: Callable[[], AgentTold],
        probe: Callable[[str], FrontAnswer] = probe_front,
        listening: Callable[[int], frozenset[int]] = listeners,
        agent_user: int,
    ) -> None:
        """Know the parts.

        Args:
            runtime: whose files are written.
            read: returns what the agent is told. Raises SettingsError.
            probe: asks the front at a URL.
            listening: returns the users that listen on a port.
            agent_user: the user that the agent runs as.
        """
        self.release: Release | None = None
        self.is_settled = False
        """Whether the next look can wait: the runtime is as it is to be."""
        self._runtime = runtime
        self._read = read
        self._probe = probe
        self._listening = listening
        self._agent_user = agent_user
        self._silent = 0

    def know_runtime(self, version: str) -> None:
        """Take note of what the Node says of its runtime, as `containerd://1.7.28`."""
        found = _VERSION.match(version)
        release = (int(found[1]), int(found[2])) if found else None
        if release not in (None, self.release):
            self.release = release
            self.is_settled = False

    def look(self) -> Condition:
        """Do what is to be done now, and return how this node stands."""
        self.is_settled = False
        try:
            told = self._read()
        except SettingsError as exc:
            return Condition("False", "NoSettings", str(exc))
        answer = self._probe(told.front_url)
        self._silent = self._silent + 1 if answer is FrontAnswer.SILENT else 0
        match answer:
            case FrontAnswer.ANSWERS:
                return self._installed(told)
            case FrontAnswer.FOREIGN:
                return self._withdrawn("PortInUse", _in_use("p2p.port", told.front_port))
            case FrontAnswer.SILENT if self._silent >= SILENT_LOOKS:
                if taken := self._taken(told):
                    return self._withdrawn("PortInUse", taken)
                return self._withdrawn(
                    "AgentSilent",
                    f"the agent accepts connections at {told.front_url} and does not answer; "
                    "see the log of container agent",
                )
        if taken := self._taken(told):
            return Condition("False", "PortInUse", taken)
        return Condition(
            "False",
            "AgentDown",
            f"the agent does not answer at {told.front_url}; until it does, images come from "
            "their registries. See the log of container agent",
        )

    def _installed(self, told: AgentTold) -> Condition:
        findings = self._runtime.apply(told.names, front_url=told.front_url, release=self.release)
        self.is_settled = True
        wrong = [finding for finding in findings if not finding.ok]
        if wrong:
            return Condition("False", "RuntimeNotReady", _sentences(wrong))
        notes = _sentences([finding for finding in findings if finding.ok])
        return Condition("True", "Installed", notes or "no registry is configured")

    def _withdrawn(self, reason: str, message: str) -> Condition:
        """Take the runtime's files back: it must not be sent where nobody of ours answers."""
        removed = self._runtime.remove()
        if removed:
            _log.warning("withdrawn", extra={"reason": reason, "found": _sentences(removed)})
        return Condition("False", reason, message[:_MAX_MESSAGE_CHARS])

    def _taken(self, told: AgentTold) -> str | None:
        for value, port in told.ports:
            if self._listening(port) - {self._agent_user}:
                return _in_use(value, port)
        return None


def _in_use(value: str, port: int) -> str:
    return (
        f"port {port} of this node is in use by another program: stop it (on the node, "
        f"`ss -ltnp 'sport = :{port}'` names it), or set {value} to a free port"
    )


def _sentences(findings: list[Finding]) -> str:
    texts = [
        f"{it.subject}: {it.text}" + (f". To do: {' '.join(it.todo.split())}" if it.todo else "")
        for it in findings
    ]
    return "; ".join(texts)[:_MAX_MESSAGE_CHARS]
