"""The registry's limits."""

from shoal.sim.network import Link
from shoal.sim.registry import RegistryModel


def model(**options: float) -> RegistryModel:
    return RegistryModel(Link(1e6), 0.001, 0.0, **options)  # type: ignore[arg-type]


def test_a_registry_without_limit_serves_everybody() -> None:
    registry = model()
    assert all(registry.admit(0.0) for _ in range(1000))


def test_a_burst_is_served_and_then_so_many_a_second() -> None:
    registry = model(requests_per_s=2.0, burst=3)
    assert [registry.admit(0.0) for _ in range(4)] == [True, True, True, False]
    assert [registry.admit(1.0) for _ in range(3)] == [True, True, False]
    assert (registry.requests, registry.refused) == (7, 2)
    assert [registry.admit(100.0) for _ in range(4)] == [True, True, True, False]


def test_what_is_sent_is_counted_by_tenths_of_a_second() -> None:
    registry = model()
    registry.count(5, 0.05)
    registry.count(7, 0.06)
    registry.count(9, 0.31)
    assert (registry.sent_bytes, registry.bins) == (21, {0: 12, 3: 9})
