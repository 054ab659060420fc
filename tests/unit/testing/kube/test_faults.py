"""Which request meets which fault."""

from shoal.testing.kube.faults import Cut, Faults, Refuse


def test_a_fault_is_met_as_often_as_it_was_added_for_and_by_its_verb_only() -> None:
    faults = Faults()
    faults.add(Refuse(500), verb="list", times=2)
    assert faults.meet("watch") is None
    assert [faults.meet("list") for _ in range(3)] == [Refuse(500), Refuse(500), None]


def test_a_fault_of_a_while_is_met_by_all_until_then() -> None:
    faults = Faults()
    with faults.during(Cut()):
        assert faults.meet("get") == faults.meet("watch") == Cut()
    assert faults.meet("get") is None
