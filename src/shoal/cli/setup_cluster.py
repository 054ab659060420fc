"""`shoal setup job|controller|webhook`: what runs once for a cluster."""

import asyncio
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shoal.adapters.kube.api import KubeAccess
    from shoal.setup.cluster.installation import Installation
    from shoal.setup.cluster.lookup import RegistryLookup


def job() -> None:
    """Set the cluster up: look whether Shoal can run here, and make what the pods wait for.

    Safe to repeat. Each failure is one sentence that begins with the step's name.

    Exit codes:
    0 done;
    1 a step could not be done;
    78 the chart's settings cannot be read.
    """
    from shoal.adapters.telemetry.logs import logs_to
    from shoal.setup.cluster.installation import read_installation
    from shoal.setup.cluster.job import JobTools, run_job

    installation = read_installation()
    tools = JobTools(
        access=_access(),
        lookup=_lookup(installation, installing=True),
        check_settings=check_agent_settings,
        say=lambda line: print(line, flush=True),
    )
    with logs_to(2, level="info", format_="text"):
        asyncio.run(run_job(installation, tools))


def controller() -> None:
    """Keep the agents' settings true, sign nodes' certificates, write down how nodes are.

    Runs until SIGTERM; health and metrics are at port 8081.

    Exit codes:
    0 ended by SIGTERM;
    78 the chart's settings cannot be read, or a port is taken.
    """
    from shoal.adapters.telemetry.logs import logs_to
    from shoal.setup.cluster.controller import Controller, ControllerTools
    from shoal.setup.cluster.installation import read_installation

    installation = read_installation()
    tools = ControllerTools(
        access=_access(), lookup=_lookup(installation), check_settings=check_agent_settings
    )
    with logs_to(2, level="info", format_="json"):
        asyncio.run(_until_terminated(lambda: Controller(installation, tools).run))


def webhook() -> None:
    """Rewrite the images of labelled pods, with their pull secrets copied first.

    Runs until SIGTERM; health and metrics are at port 8081.

    Exit codes:
    0 ended by SIGTERM;
    78 the chart's settings cannot be read, or a port is taken.
    """
    from shoal.adapters.telemetry.logs import logs_to
    from shoal.setup.cluster.webhook import Webhook, WebhookTools

    tools = WebhookTools(access=_access())
    with logs_to(2, level="info", format_="json"):
        asyncio.run(_until_terminated(lambda: Webhook(tools).run))


async def _until_terminated(
    make: "Callable[[], Callable[[asyncio.Event], Awaitable[None]]]",
) -> None:
    """Make what runs until an event, in the loop, and set that on SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await make()(stop)


def check_agent_settings(text: str) -> None:
    """Refuse settings that an agent would not start with.

    Raises:
        SettingsError: it names what is wrong.
    """
    from shoal.agent.settings_load import Flags, load_settings

    # What the chart gives each pod by variables.
    of_a_pod = {"SHOAL_PEER__ADDRESS": "192.0.2.1", "SHOAL_MEMBERSHIP__NODE": "node"}
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        file = Path(folder) / "agent.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_settings(environment=of_a_pod, flags=Flags(), config=file)
        except SettingsError as exc:
            # By the names that the values have: `registries`, `agentSettings`.
            raise SettingsError(str(exc).replace(f"{file} ", "")) from exc


def _access() -> "KubeAccess":
    from shoal.adapters.kube.api import KubeAccess, in_cluster_server

    try:
        return KubeAccess(in_cluster_server())
    except SettingsError:
        raise SettingsError(
            "KUBERNETES_SERVICE_HOST names no API server: this command is for the chart's pods"
        ) from None


def _lookup(installation: "Installation", *, installing: bool = False) -> "RegistryLookup":
    from shoal.setup.cluster.lookup import ByHand

    if installation.method == "none":
        return ByHand()
    # The cloud's SDKs take a second to import, and are not needed without it.
    from shoal.setup.cluster.cloud_lookup import lookup_of

    return lookup_of(installation, installing=installing)
