"""What the chart tells the Job that uninstalls: setup.yaml, and farewell.yaml beside it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shoal.core.errors import SettingsError
from shoal.setup.farewell.objects import read_manifests
from shoal.setup.node.told import variable

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class UninstallTold:
    """One release that is to go."""

    namespace: str
    wait_s: float
    webhook: bool
    manifests: Sequence[dict[str, Any]]


def read_uninstall(environment: Mapping[str, str] = os.environ) -> UninstallTold:
    """Return what the chart says.

    Raises:
        SettingsError: a variable is not set, or a file is not the chart's.
    """
    path = Path(variable("CONFIG", environment))
    text = _read(path)
    try:
        setup = yaml.safe_load(text)
        wait_s, webhook = float(setup["uninstall"]["waitSeconds"]), bool(setup["webhook"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as exc:
        raise SettingsError(f"{path} lacks what this image expects of it: {exc!r}") from exc
    manifests = read_manifests(_read(path.with_name("farewell.yaml")))
    return UninstallTold(variable("NAMESPACE", environment), wait_s, webhook, manifests)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"cannot read {path}: {exc}") from exc
