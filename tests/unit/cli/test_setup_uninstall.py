"""`shoal setup uninstall`: what it says where the chart's variables are missing."""

import pytest

from shoal.cli.setup_uninstall import uninstall
from shoal.core.errors import SettingsError


def test_outside_of_the_chart_it_says_so() -> None:
    with pytest.raises(SettingsError, match="for the chart's containers"):
        uninstall()
