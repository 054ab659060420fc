"""FrontLimits: the bounds agree with each other."""

from shoal.agent.front.limits import FrontLimits


def test_asking_peers_and_then_the_registry_stays_within_a_clients_patience() -> None:
    limits = FrontLimits()
    assert limits.swarm_manifest_s + limits.ask_s < limits.progress_s


def test_nothing_goes_longer_than_ten_seconds_without_progress() -> None:
    limits = FrontLimits()
    assert limits.progress_s <= 10.0
    assert limits.request_s <= 10.0
