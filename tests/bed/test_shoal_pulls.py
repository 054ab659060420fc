"""containerd on four nodes pulls through Shoal."""

import pytest

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


def test_it_does_so_between_nodes_that_show_each_other_certificates(
    bed: Bed, fresh_image: FreshImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bed, "tls", True)
    bed.start_agents()
    pushed = fresh_image()
    rolled = rollout(bed, pushed.image, pushed.reference())
    check_complete(rolled, bed, pushed.image)
    assert 1 <= pushed.copies <= 1.1
    for node in bed.nodes:
        assert node.agent.metrics()["shoal_peer_certificate_expiry_timestamp_seconds"] > 0
