"""`shoal setup prepare|install|farewell|test`: what runs on each node."""

import asyncio
import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from shoal.setup.node.identity import Identity

AGENT_USER = 65532  # that the chart's agent runs as
_TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def prepare() -> None:
    """Make the store's folder the agent's, and have a certificate for this node.

    The key is made here and never leaves. Ends at once where the certificate is
    still good and the controller away; without one it waits for the controller.

    Exit codes:
    0 the agent can start;
    1 the store's folder cannot be changed;
    75 ended by SIGTERM before there was a certificate;
    78 a variable is missing.
    """
    from shoal.adapters.telemetry.logs import logs_to
    from shoal.setup.node.prepare import give_store, see_to_certificate
    from shoal.setup.node.told import variable

    identity, store = _identity(), Path(variable("STORE"))
    stop = until_terminated()
    with logs_to(2, level="info", format_="json"):
        give_store(store, user=AGENT_USER, group=AGENT_USER)
        see_to_certificate(identity, stop=stop)
    if not identity.is_good:
        raise typer.Exit(_TRY_AGAIN)


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
    from shoal.agent.front.node_header import FILE_NAME, NODE_HEADER
    from shoal.setup.node.identity import Renewing
    from shoal.setup.node.install import Reporting, keep_installed
    from shoal.setup.node.installer import Installer
    from shoal.setup.node.runtimes import runtime_at
    from shoal.setup.node.told import read_agent, runtime_place, variable

    runtime = runtime_at(runtime_place())
    settings = Path(variable("AGENT_CONFIG"))
    identity = _identity()
    header = (NODE_HEADER, Path(variable("STORE")) / FILE_NAME)
    installer = Installer(
        runtime, read=lambda: read_agent(settings, node_header=header), agent_user=AGENT_USER
    )
    reporting = Reporting(identity.controller, installer.know_runtime)
    with logs_to(2, level="info", format_="json"):
        keep_installed(
            installer,
            reporting,
            settings=settings,
            stop=until_terminated(),
            also=Renewing(identity).look,
        )


def farewell() -> None:
    """Leave this node as it was before Shoal, after an uninstallation.

    Waits for the agent's pod to end, restores the runtime's files, deletes the
    store, takes the node's name off ConfigMap NAME-farewell, and waits to be
    ended.

    Exit codes:
    0 ended by SIGTERM;
    78 a variable is missing.
    """
    from shoal.adapters.telemetry.logs import logs_to

    with logs_to(2, level="info", format_="json"):
        asyncio.run(_say_farewell())


async def _say_farewell() -> None:
    from shoal.adapters.kube.api import KubeAccess, connected, in_cluster_server
    from shoal.setup.farewell.node import NodeFarewell
    from shoal.setup.node.runtimes import runtime_at
    from shoal.setup.node.told import runtime_place, variable

    place = runtime_place()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with connected(KubeAccess(in_cluster_server())) as kube, asyncio.TaskGroup() as group:
        node = NodeFarewell(
            kube=kube,
            namespace=variable("NAMESPACE"),
            node=variable("NODE"),
            runtime=runtime_at(place),
            store=Path(variable("STORE")),
        )
        work = group.create_task(node.run())
        await stop.wait()
        work.cancel()


def _identity() -> "Identity":
    from shoal.setup.node.controller import Controller
    from shoal.setup.node.identity import Identity
    from shoal.setup.node.told import variable

    authority = Path(variable("AGENT_CONFIG")).with_name("ca.crt")
    revoked = authority.with_name("revoked.crl")
    return Identity(
        Path(variable("STORE")) / "identity",
        Controller(namespace=variable("NAMESPACE"), authority=authority),
        address=variable("HOST_IP"),
        authority=authority,
        revoked=revoked,
        owner=(AGENT_USER, AGENT_USER),
    )


def check() -> None:
    """Tell whether the agent of this node serves: what `helm test` runs.

    Exit codes:
    0 it does;
    1 it does not, and the text says what to do;
    78 the chart's settings cannot be read.
    """
    from shoal.setup.node.check import check_until_well, read_served

    findings = check_until_well(read_served())
    for finding in findings:
        todo = "" if finding.ok else f"; {finding.todo}"
        print(f"{'ok   ' if finding.ok else 'WRONG'} {finding.subject}: {finding.text}{todo}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def until_terminated() -> Event:
    """Return what SIGTERM and SIGINT set."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
