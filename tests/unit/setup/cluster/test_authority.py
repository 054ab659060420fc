"""The authority's Secret, and servers' certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.kube.api import connected
from shoal.core.errors import SettingsError
from shoal.setup.cluster.authority import (
    find_authority,
    is_due,
    make_authority,
    server_certificate,
)
from unit.setup.cluster.world import AUTHORITY, NAMESPACE, world


async def test_it_is_made_once_and_found_afterwards(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        assert await find_authority(kube, NAMESPACE) is None
        made = await make_authority(kube, NAMESPACE)
        assert (await make_authority(kube, NAMESPACE)).certificate == made.certificate
        found = await find_authority(kube, NAMESPACE)
        assert found is not None
        assert found.cluster == made.cluster


async def test_a_secret_without_a_key_is_named(tmp_path: Path) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.put(AUTHORITY, {"data": {}})
        with pytest.raises(SettingsError, match="delete it and run this again"):
            await make_authority(kube, NAMESPACE)


def test_a_server_s_certificate_is_for_its_service_and_due_after_two_thirds() -> None:
    now = datetime.now(UTC)
    made = server_certificate(Authority.make("c"), "svc", "ns", now=now)
    assert not is_due(made, now=now + timedelta(days=55))
    assert is_due(made, now=now + timedelta(days=65))
    assert "PRIVATE" not in repr(made)
    made.load_into(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
