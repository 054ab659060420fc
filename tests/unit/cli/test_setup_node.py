"""`shoal setup install|...`: what it says where the chart's variables are missing, and its end."""

import os
import signal
from collections.abc import Callable

import pytest

from shoal.cli.setup_node import check, farewell, install, prepare, until_terminated
from shoal.core.errors import SettingsError


@pytest.mark.parametrize("command", [prepare, install, farewell, check])
def test_outside_of_the_chart_it_says_so(command: Callable[[], None]) -> None:
    with pytest.raises(SettingsError, match="for the chart's containers"):
        command()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: signal.Signals) -> None:
    before = {it: signal.getsignal(it) for it in (signal.SIGTERM, signal.SIGINT)}
    try:
        stop = until_terminated()
        os.kill(os.getpid(), number)
        assert stop.wait(30)
    finally:
        for it, handler in before.items():
            signal.signal(it, handler)
