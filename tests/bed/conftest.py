"""One bed for the whole run, on fast links; what a test breaks is mended after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bed.watching import Slow
from shoal.testing.bed.agents import PEER_PORT
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.image import BuiltImage, cached_image

CACHE = Path(__file__).parents[2] / ".cache" / "images"
NODES = 4


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The bed: four nodes, unshaped links, containerd going straight to the registry."""
    with Bed(nodes=NODES) as built:
        for node in built.nodes:
            node.use_registry()
        yield built


@pytest.fixture(autouse=True)
def mended(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test: no agents, every plug in, the registry in order."""
    yield
    if "bed" in request.fixturenames:
        built: Bed = request.getfixturevalue("bed")
        built.stop_agents()
        built.heal()


@pytest.fixture
def over_tls(bed: Bed) -> Iterator[None]:
    """Let agents show each other certificates: `pytestmark = pytest.mark.usefixtures(...)`."""
    bed.tls = True
    yield
    bed.tls = False


@pytest.fixture
def agents(request: pytest.FixtureRequest, bed: Bed) -> Bed:
    """The bed with an agent on every node, with empty stores, and containerd asking it first.

    With the mark `site(n)` only the first n nodes have one, and no others are members: each start
    takes more than half a second of the machine.
    """
    mark = request.node.get_closest_marker("site")
    nodes = bed.nodes[: mark.args[0]] if mark is not None else bed.nodes
    members = [f"{node.host.ipv4}:{PEER_PORT}" for node in nodes]
    bed.start_agents({"membership": {"static": members}}, nodes=nodes)
    return bed


@pytest.fixture
def fresh_image(bed: Bed, tmp_path: Path) -> FreshImages:
    """Call it to have an image that nobody has pulled yet in the registry."""
    return FreshImages(bed.registry, folder=tmp_path)


@pytest.fixture(scope="session")
def debian_image() -> BuiltImage:
    """The real image: a root file system that runs; 30 MB here, to be quick."""
    return cached_image(CACHE, size_bytes=30 << 20, layers=6)


@pytest.fixture
def slow(bed: Bed) -> Iterator[Slow]:
    """Call it with the name of a node (or `reg`) and a rate to shape that link for this test.

    What has to happen in the middle of a pull happens on a link so slow that a busy machine does
    not miss the middle; with the rate None the rest of the pull then takes no time.
    """
    names: set[str] = set()

    def shape(name: str, rate: str | None) -> None:
        names.add(name)
        bed.network.set_rate(name, rate)

    yield shape
    for name in names:
        bed.network.set_rate(name, None)
