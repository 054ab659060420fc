"""Whether the agent is alive and ready, and the answers that say so."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# `/healthz` is for people and older probes; the other two are Kubernetes' names.
LIVE_PATHS = ("/healthz", "/livez")
READY_PATH = "/readyz"


@dataclass(frozen=True, slots=True)
class Health:
    """What the parts of the agent say of themselves at one moment.

    `checks` has a part's name and None if it is well, else the reason why it is not, as a sentence
    that names neither credentials nor content.
    """

    checks: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def ready(self) -> bool:
        """Whether a runtime may be sent here."""
        return all(reason is None for reason in self.checks.values())


# Answers a path with status and JSON body.
HealthAnswers = Callable[[str], tuple[int, bytes]]


def health_routes(status: Callable[[], Health]) -> HealthAnswers:
    """Return what answers the paths of health, for every server that offers them.

    - `/healthz`, `/livez`: 200 whenever they are answered at all: the event loop turns. A probe
      that restarts the agent belongs here; nothing that a restart would not cure is looked at.
    - `/readyz`: 200 if every check is well, else 503 with the reasons: docs/health.md.

    Args:
        status: asked at each request of `/readyz`, in the event loop; must be cheap.
    """

    def answer(path: str) -> tuple[int, bytes]:
        if path in LIVE_PATHS:
            return 200, _body(status="ok")
        if path != READY_PATH:
            return 404, _body(status="unknown path")
        health = status()
        checks = {name: reason or "ok" for name, reason in health.checks.items()}
        word = "ready" if health.ready else "not ready"
        return (200 if health.ready else 503), _body(status=word, checks=checks)

    return answer


def _body(**content: object) -> bytes:
    return json.dumps(content).encode() + b"\n"
