"""Parameters as an action reads them."""

import pytest

from shoal.control.api.actions import required, stamp, whole
from shoal.control.api.faults import Fault


def test_a_parameter_that_is_needed_is_asked_for_by_name() -> None:
    assert required({"A": "1"}, "A") == "1"
    for given in ({}, {"A": ""}):
        with pytest.raises(Fault, match="A is mandatory"):
            required(given, "A")


@pytest.mark.parametrize("text", ["0", "11", "-1", "x", "1.5", "٣", "9" * 30])
def test_a_number_out_of_its_range_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(Fault, match="1 to 10"):
        whole({"A": text}, "A", default=5, low=1, high=10)


def test_a_number_has_a_default_and_times_are_the_clouds() -> None:
    assert whole({}, "A", default=5, low=1, high=10) == 5
    assert stamp(1_800_000_000) == "2027-01-15T08:00:00Z"
