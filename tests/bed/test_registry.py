"""The registry can be made to fail in each of the ways that matter, and is well again after."""

import pytest

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.processes import BedError


def status(bed: Bed, *, timeout_s: float = 20.0) -> str:
    """Ask the registry from a node; return the HTTP status, or curl's exit code as `exit N`."""
    done = bed.nodes[0].run(
        "curl", "-so", "/dev/null", "-w", "%{http_code}", "-m", f"{timeout_s:g}",
        f"{bed.registry.url()}/v2/", check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else f"exit {done.returncode}"


def pulls(bed: Bed, pushed: Pushed) -> bool:
    """Whether a node can fetch the image now."""
    try:
        bed.nodes[0].containerd.fetch(pushed.reference(), timeout_s=60)
    except BedError:
        return False
    return True


def test_a_stopped_registry_refuses_connections(bed: Bed, fresh_image: FreshImages) -> None:
    pushed = fresh_image()
    bed.registry.stop()
    assert status(bed) == "exit 7"
    assert not pulls(bed, pushed)
    bed.registry.heal()
    assert status(bed) == "200"
    assert pulls(bed, pushed)


@pytest.mark.parametrize("fault", ["cut", "pause"])
def test_a_registry_that_is_cut_off_or_hangs_says_nothing(bed: Bed, fault: str) -> None:
    getattr(bed.registry, fault)()
    assert status(bed, timeout_s=0.3) == "exit 28"
    bed.registry.heal()
    assert status(bed) == "200"


def test_a_registry_can_answer_everything_with_one_status(bed: Bed) -> None:
    bed.registry.answer_always(503, retry_after_s=7)
    assert status(bed) == "503"
    bed.registry.answer_always(429)
    assert status(bed) == "429"
    bed.registry.heal()
    assert status(bed) == "200"
