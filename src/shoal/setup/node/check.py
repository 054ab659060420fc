"""`shoal setup test`, what `helm test` runs: whether the agent of this node serves."""

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shoal.adapters.runtime.containerd_check import Finding
from shoal.adapters.runtime.front_probe import FrontAnswer, probe_front
from shoal.core.errors import SettingsError
from shoal.setup.node.told import variable

# An installation that has just ended may take as long until its agents have looked around.
PATIENCE_S = 60.0
_PAUSE_S = 1.0
_TIMEOUT_S = 5.0
_MAX_FILE_BYTES = 1024 * 1024
_MAX_ANSWER_BYTES = 4 * 1024 * 1024
_LOG = "kubectl logs -l app.kubernetes.io/component=agent -c agent"


@dataclass(frozen=True, slots=True)
class Served:
    """Where a node's agent is to serve."""

    front: int
    exporter: int | None
    """None: it is off."""
    address: str
    """The node's, where the exporter listens."""


def read_served(environment: Mapping[str, str] = os.environ) -> Served:
    """Return what the chart says.

    Raises:
        SettingsError: a variable is not set, or setup.yaml is not the chart's.
    """
    path = Path(variable("CONFIG", environment))
    address = variable("HOST_IP", environment)
    try:
        with path.open("rb") as file:
            setup = yaml.safe_load(file.read(_MAX_FILE_BYTES))
        ports = setup["ports"]
        is_on = (setup["agent"].get("exporter") or {}).get("enabled", True)
        return Served(int(ports["front"]), int(ports["exporter"]) if is_on else None, address)
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise SettingsError(f"{path} lacks what this image expects of it: {exc!r}") from exc


def check_until_well(
    served: Served,
    *,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[Finding]:
    """Look until all is well, or for `patience_s` seconds; return what was found at last."""
    until_s = now() + patience_s
    while True:
        findings = _findings(served)
        if all(finding.ok for finding in findings) or now() >= until_s:
            return findings
        pause(_PAUSE_S)


def _findings(served: Served) -> list[Finding]:
    url = f"http://127.0.0.1:{served.front}"
    found = [_front(url, probe_front(url))]
    if found[0].ok:
        found.append(_readiness(served.front))
    return found if served.exporter is None else [*found, _metrics(served.address, served.exporter)]


def _front(url: str, answer: FrontAnswer) -> Finding:
    if answer is FrontAnswer.ANSWERS:
        return Finding("front", True, f"{url} answers")
    if answer is FrontAnswer.FOREIGN:
        text = f"another program than an agent answers at {url}"
        return Finding("front", False, text, "stop it, or set p2p.port to a free port")
    if answer is FrontAnswer.SILENT:
        return Finding("front", False, f"{url} accepts and does not answer", f"see {_LOG}")
    return Finding("front", False, f"nothing answers at {url}", f"see {_LOG}")


def _readiness(port: int) -> Finding:
    try:
        status, body = _get("127.0.0.1", port, "/readyz")
        checks: Any = json.loads(body).get("checks")
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as exc:
        return Finding("ready", False, f"/readyz: {exc}", f"see {_LOG}")
    if status == 200:
        return Finding("ready", True, "the agent is ready")
    said = checks if isinstance(checks, dict) else {}
    why = "; ".join(f"{name}: {text}" for name, text in said.items() if text != "ok")
    return Finding("ready", False, f"the agent is not ready: {why or status}", f"see {_LOG}")


def _metrics(address: str, port: int) -> Finding:
    at = f"{address}:{port}"
    try:
        status, body = _get(address, port, "/metrics")
    except (OSError, http.client.HTTPException) as exc:
        return Finding("exporter", False, f"{at}: {exc}", "set p2p.v2.exporter.port to a free port")
    if status != 200 or b"\nshoal_" not in body:
        return Finding(
            "exporter",
            False,
            f"{at} answers {status}, without an agent's metrics",
            "set p2p.v2.exporter.port to a free port",
        )
    return Finding("exporter", True, f"{at} has the agent's metrics")


def _get(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(_MAX_ANSWER_BYTES)
    finally:
        connection.close()
