"""Registries by name."""

from pathlib import Path

import pytest

from shoal.adapters.origin.config import RegistryConfig
from shoal.adapters.origin.known import KnownRegistries
from shoal.core.errors import SettingsError


def test_a_registry_is_known_by_all_its_names() -> None:
    registry = RegistryConfig("r.example", aliases=("vpc.example",))
    hub = RegistryConfig("docker.io")
    known = KnownRegistries([registry, hub])
    assert known.by_name["r.example"] is known.by_name["vpc.example"] is registry
    assert known.by_name["index.docker.io"] is hub
    assert known.tls["r.example"] is known.tls["docker.io"]


def test_a_name_belongs_to_one_registry() -> None:
    with pytest.raises(SettingsError, match="both claim the name"):
        KnownRegistries(
            [RegistryConfig("a.example", aliases=("b.example",)), RegistryConfig("b.example")]
        )


def test_a_file_of_certificates_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(SettingsError, match=r"ca\.pem"):
        KnownRegistries([RegistryConfig("r.example", ca_file=missing)])
