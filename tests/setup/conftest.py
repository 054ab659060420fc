"""The real helm, and a registry."""

from collections.abc import Iterator

import pytest

from agent.conftest import Registry
from chart.rendering import Helm
from shoal.testing.chart_tools import chart_tools


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm, with a home of its own."""
    return Helm(chart_tools().helm, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture
def registry() -> Iterator[Registry]:
    """A registry on loopback."""
    serving = Registry()
    serving.start()
    try:
        yield serving
    finally:
        serving.stop()
