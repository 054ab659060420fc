"""`shoal setup ...`: the commands of the chart's set-up containers; docs/kubernetes.md lists them.

They take no arguments: what they are told is in files and variables that the chart mounts and sets.
"""

import typer

from shoal.cli.setup_cluster import controller, job, webhook
from shoal.cli.setup_node import check, farewell, install, prepare
from shoal.cli.setup_uninstall import uninstall

setup_app = typer.Typer(
    help="What the Helm chart's containers run; not meant for people.", no_args_is_help=True
)
setup_app.command()(prepare)
setup_app.command()(install)
setup_app.command()(job)
setup_app.command()(controller)
setup_app.command()(webhook)
setup_app.command()(uninstall)
setup_app.command()(farewell)
setup_app.command("test")(check)
