"""What a rollout on the bed tells: who was lost, what each part cost, what was sent when."""

from collections.abc import Callable

from shoal.testing.bed.bed import Bed
from shoal.testing.bed.fresh import FreshImages
from shoal.testing.bed.measure import check_complete, counting, rollout
from shoal.testing.bed.race import Happening


def test_a_node_that_is_lost_is_told_apart_from_one_that_fails(
    agents: Bed, fresh_image: FreshImages, slow: Callable[[str, str], None]
) -> None:
    pushed = fresh_image()
    lost = agents.nodes[3]
    slow(lost.name, "3mbit")  # it would take 8 s

    def lose() -> None:
        lost.agent.kill()
        lost.containerd.kill()
        agents.network.cut(lost.name)

    rolled = rollout(
        agents,
        pushed.image,
        pushed.reference(),
        delays={"n2": 0.5},
        happenings=[
            Happening(1.0, "n4 loses power", lose, loses=lost.name),
            Happening(3600.0, "never", lambda: None),
        ],
    )
    check_complete(rolled, agents, pushed.image)
    assert [fetch.node for fetch in rolled.done] == ["n1", "n2", "n3"]
    (gone,) = set(rolled.fetches) - set(rolled.done)
    assert gone.lost
    assert gone.seconds >= 1.0
    assert next(fetch for fetch in rolled.done if fetch.node == "n2").seconds > 0.5
    assert all(rolled.costs.agents[fetch.node] > 0 for fetch in rolled.done)
    assert all(fetch.cpu_s >= 0 for fetch in rolled.fetches)
    assert rolled.site_copies == {1: rolled.copies}
    assert rolled.copies >= 1
    assert rolled.lost_share is None
    sent = [size for _, size in rolled.sent]
    assert sent == sorted(sent)
    assert sent[-1] >= pushed.image.layer_bytes


def test_a_copy_can_be_counted_by_some_of_an_images_layers(
    agents: Bed, fresh_image: FreshImages
) -> None:
    pushed = fresh_image()
    counted = counting(pushed.image, pushed.image.layers[2:])
    rolled = rollout(agents, counted, pushed.reference())
    check_complete(rolled, agents, pushed.image)
    assert 1 <= rolled.copies < 1.1
    assert rolled.lost_share is not None
    assert 0 <= rolled.lost_share < 0.5
