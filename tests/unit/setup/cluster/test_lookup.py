"""Registries by hand and looked up, together."""

from shoal.setup.cluster.lookup import ByHand, Registries, with_names


async def test_by_hand_there_is_nothing_to_look_up() -> None:
    assert await ByHand().look_up() == Registries()
    assert await ByHand().may_share()


def test_a_registry_that_is_given_by_hand_is_kept_as_it_is() -> None:
    by_hand = [{"name": "a", "aliases": ["b"], "plain_http": True}]
    assert with_names(by_hand, ["b", "a", "c"]) == [*by_hand, {"name": "c"}]
