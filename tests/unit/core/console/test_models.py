"""The console's records."""

from shoal.core.console.models import Edition


def test_editions_are_called_what_people_call_them() -> None:
    assert [edition.label for edition in Edition] == ["Basic", "Standard", "Advanced"]
