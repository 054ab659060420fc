"""containerd on four nodes pulls through Shoal."""

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.measure import check_complete, rollout


def test_nodes_that_start_together_cost_the_registry_one_copy(
    agents: Bed, fresh_image: FreshImages
) -> None:
    pushed = fresh_image()
    rolled = rollout(agents, pushed.image, pushed.reference())
    check_complete(rolled, agents, pushed.image)
    assert 1 <= pushed.copies <= 1.1
