"""`shoal setup prepare|install|farewell`: what runs on each node."""

import signal
from threading import Event


def install() -> None:
    """Point this node's runtime at the agent once it answers, and keep it so.

    Runs until SIGTERM. Writes hosts.toml (containerd, k3s) or a file in
    registries.conf.d (CRI-O), looks again every minute and whenever the agent's
    settings change, and reports to the controller.

    Exit codes:
    0 ended by SIGTERM;
    78 a variable is missing.
    """
    from shoal.adapters.telemetry.logs import logs_to
    from shoal.setup.node.controller import Controller
    from shoal.setup.node.install import Reporting, keep_installed
    from shoal.setup.node.installer import Installer
    from shoal.setup.node.runtimes import runtime_at
    from shoal.setup.node.told import AGENT_SETTINGS_PATH, read_agent, runtime_place, variable

    installer = Installer(runtime_at(runtime_place()), read=read_agent)
    controller = Controller(namespace=variable("NAMESPACE"))
    reporting = Reporting(controller, installer.know_runtime)
    with logs_to(2, level="info", format_="json"):
        keep_installed(installer, reporting, settings=AGENT_SETTINGS_PATH, stop=until_terminated())


def until_terminated() -> Event:
    """Return what SIGTERM and SIGINT set."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
