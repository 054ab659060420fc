"""The tools, fetched once, and the chart as rendered for each method."""

from collections.abc import Iterator

import pytest

from chart.rendering import EVERYTHING, METHODS, Helm, Manifest
from shoal.testing.chart_tools import ChartTools, KubernetesSchemas, chart_tools


@pytest.fixture(scope="session")
def tools() -> ChartTools:
    """Helm, kubectl and schemas."""
    return chart_tools()


@pytest.fixture(scope="session")
def helm(tools: ChartTools, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm, with a home of its own."""
    return Helm(tools.helm, home=tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> dict[str, list[Manifest]]:
    """The chart for each method, plain and with every option; rendered once for all tests."""
    return {
        f"{method}{name}": helm.render({**values, **options})
        for method, values in METHODS.items()
        for name, options in (("", {}), (", everything", EVERYTHING))
    }


@pytest.fixture(scope="session")
def schemas(tools: ChartTools) -> Iterator[KubernetesSchemas]:
    """Kubernetes' schemas."""
    found = KubernetesSchemas(tools.schemas)
    yield found
    found.close()
