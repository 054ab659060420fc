"""Versions and tokens; the Job's tests have the rest."""

from pathlib import Path

import pytest

from shoal.adapters.kube.api import connected
from shoal.setup.cluster.prerequisites import check_rrsa, check_version, token_issuer
from shoal.setup.cluster.steps import StepFailed
from unit.setup.cluster.world import PLAIN, world


@pytest.mark.parametrize(
    ("version", "is_fine"),
    [
        ("v1.26.3", True),
        ("v1.26.3-aliyun.1", True),
        ("v1.31.2+k3s1", True),
        ("v1.26.2", False),
        ("v1.9.11", False),
        ("", False),
    ],
)
async def test_the_oldest_version_is_the_page_s(
    tmp_path: Path, version: str, is_fine: bool
) -> None:
    async with world(tmp_path) as here, connected(here.access) as kube:
        here.server.version = version
        if is_fine:
            assert await check_version(kube) == version
        else:
            with pytest.raises(StepFailed, match="upgrade it to 1"):
                await check_version(kube)


def test_without_rrsa_no_token_is_looked_at(tmp_path: Path) -> None:
    assert check_rrsa(PLAIN, token=tmp_path / "none") == ""
    assert token_issuer(tmp_path / "none") == ""
