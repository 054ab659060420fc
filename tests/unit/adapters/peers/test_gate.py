"""What a link may send now, by its own rate and by what the peer allows."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from shoal.adapters.peers.gate import Gate


@dataclass(slots=True)
class Pace:
    """A rate whose turns the test gives."""

    rate_bytes_per_s: int | None = 1000
    stretch_bytes: int = 100
    asked: list[tuple[Hashable, int, Callable[[], None]]] = field(default_factory=list)

    def ask(self, flow: Hashable, size_bytes: int, told: Callable[[], None]) -> None:
        """Note it."""
        self.asked.append((flow, size_bytes, told))

    def withdraw(self, flow: Hashable, told: Callable[[], None]) -> None:
        """Forget it."""
        self.asked = [entry for entry in self.asked if (entry[0], entry[2]) != (flow, told)]

    def give(self) -> None:
        """It is the turn of whoever asked first."""
        self.asked.pop(0)[2]()


def gate(pace: Pace | None) -> tuple[Gate, list[None]]:
    resumed: list[None] = []
    return Gate(pace, lambda: resumed.append(None)), resumed


def test_without_a_rate_and_a_word_from_the_peer_all_may_go() -> None:
    for pace in (None, Pace(rate_bytes_per_s=None)):
        it, _ = gate(pace)
        assert it.room("a", 5000) == 5000
        it.sent(5000)
        assert not it.holds


def test_what_the_rate_grants_may_go_and_no_more() -> None:
    pace = Pace()
    it, resumed = gate(pace)
    assert it.room("a", 5000) == 0
    assert it.holds
    assert it.room("a", 5000) == 0  # asked already
    assert [entry[:2] for entry in pace.asked] == [("a", 100)]
    pace.give()
    assert (it.holds, len(resumed)) == (False, 1)
    assert it.room("a", 5000) == 100
    it.sent(60)
    assert it.room("b", 5000) == 40
    it.sent(40)
    assert it.room("b", 30) == 0
    assert [entry[:2] for entry in pace.asked] == [("b", 30)]


def test_a_rate_that_is_lifted_holds_nothing_back() -> None:
    pace = Pace()
    it, resumed = gate(pace)
    assert it.room("a", 5000) == 0
    pace.rate_bytes_per_s = None
    pace.give()  # as a throttle does for all that wait
    assert resumed
    assert it.room("a", 5000) == 5000
    it.sent(5000)
    assert it.room("a", 5000) == 5000


def test_what_the_peer_allows_may_go_and_no_more() -> None:
    it, resumed = gate(None)
    it.allow(0)
    assert it.room("a", 5000) == 0
    assert it.holds
    assert not resumed
    it.allow(300)
    it.allow(200)
    assert resumed
    assert it.room("a", 5000) == 500
    it.sent(400)
    assert it.room("a", 5000) == 100
    it.sent(100)
    assert it.room("a", 5000) == 0
    it.allow(None)
    assert it.room("a", 5000) == 5000


def test_nothing_is_asked_of_the_rate_while_the_peer_allows_nothing() -> None:
    pace = Pace()
    it, _ = gate(pace)
    it.allow(0)
    assert it.room("a", 5000) == 0
    assert pace.asked == []
    it.allow(50)
    assert it.room("a", 5000) == 0
    assert [entry[:2] for entry in pace.asked] == [("a", 50)]


def test_a_link_that_is_gone_asks_for_nothing() -> None:
    pace = Pace()
    it, resumed = gate(pace)
    it.room("a", 5000)
    told = pace.asked[0][2]
    it.close()
    it.close()
    assert pace.asked == []
    told()
    assert not resumed
