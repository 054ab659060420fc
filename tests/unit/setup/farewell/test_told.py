"""What the Job that uninstalls is told, and what of it is refused."""

from pathlib import Path

import pytest
import yaml

from shoal.core.errors import SettingsError
from shoal.setup.farewell.told import read_uninstall
from unit.setup.farewell.site import MANIFESTS

SETUP = {"uninstall": {"waitSeconds": 7}, "webhook": True}


def _environment(folder: Path, setup: object) -> dict[str, str]:
    (folder / "setup.yaml").write_text(yaml.safe_dump(setup))
    (folder / "farewell.yaml").write_text(yaml.safe_dump_all(MANIFESTS))
    return {"SHOAL_SETUP_CONFIG": f"{folder}/setup.yaml", "SHOAL_SETUP_NAMESPACE": "ns"}


def test_both_files_are_read(tmp_path: Path) -> None:
    told = read_uninstall(_environment(tmp_path, SETUP))
    assert (told.namespace, told.wait_s, told.webhook) == ("ns", 7, True)
    assert told.manifests == MANIFESTS


@pytest.mark.parametrize("setup", [{}, {"uninstall": 3}, [], {"uninstall": {"waitSeconds": "x"}}])
def test_a_file_of_another_chart_is_refused(tmp_path: Path, setup: object) -> None:
    with pytest.raises(SettingsError, match="lacks what this image expects"):
        read_uninstall(_environment(tmp_path, setup))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    environment = _environment(tmp_path, SETUP)
    (tmp_path / "farewell.yaml").unlink()
    with pytest.raises(SettingsError, match=r"farewell\.yaml"):
        read_uninstall(environment)
