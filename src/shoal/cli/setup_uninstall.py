"""`shoal setup uninstall`: the Job before `helm uninstall` takes away what the chart has made."""

import asyncio


def uninstall() -> None:
    """Take Shoal off the cluster and off every node that is up.

    Nodes that are down are cleaned when they return, by ConfigMap NAME-farewell
    and what it owns, which goes with the last of them. Safe to repeat.

    Exit codes:
    0 done, or done but for nodes that are named;
    69 the API server could not be had;
    77 it refuses: the account lacks a right;
    78 the chart's settings cannot be read.
    """
    from shoal.adapters.telemetry.logs import logs_to

    with logs_to(2, level="info", format_="text"):
        asyncio.run(_uninstall())


async def _uninstall() -> None:
    from shoal.adapters.kube.api import KubeAccess, connected, in_cluster_server
    from shoal.setup.farewell.job import Uninstall, summary
    from shoal.setup.farewell.told import read_uninstall

    told = read_uninstall()
    async with connected(KubeAccess(in_cluster_server()), most=8) as kube:
        job = Uninstall(
            kube=kube,
            namespace=told.namespace,
            manifests=told.manifests,
            wait_s=told.wait_s,
            webhook=told.webhook,
            say=_say,
        )
        for line in summary(await job.run()):
            _say(line)


def _say(line: str) -> None:
    print(line, flush=True)
