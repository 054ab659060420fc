"""The ways in which a pull can fail are told apart by scripts."""

from shoal.cli.pulling.failures import DataWrong, NotFound, Unavailable
from shoal.core.errors import OriginDenied


def test_every_failure_has_an_exit_code_of_its_own() -> None:
    codes = [kind.exit_code for kind in (DataWrong, NotFound, Unavailable, OriginDenied)]
    assert codes == [65, 66, 69, 77]
