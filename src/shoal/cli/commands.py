"""The commands for people, built on typer: everything but `shoal agent`, which is only listed."""

import importlib
import platform
from collections.abc import Sequence
from typing import Any

import typer

from shoal import __version__

# Name of a command -> where it is: a typer.Typer, or a function for one command. Imported when
# named, so that `shoal version` loads neither a registry client nor containerd's files.
_ELSEWHERE = {
    "certs": ("shoal.cli.certs", "certs_app"),
    "pull": ("shoal.cli.pull", "pull_command"),
    "containerd": ("shoal.cli.containerd", "containerd_app"),
    "console": ("shoal.cli.console", "console_app"),
    "doctor": ("shoal.cli.doctor", "doctor_command"),
    "policy": ("shoal.cli.policy", "policy_app"),
    "setup": ("shoal.cli.setup", "setup_app"),
    "sim": ("shoal.cli.sim", "sim_command"),
}
_HELP = "Pull container images through the other nodes of your site, each byte once from afar."


def run(words: Sequence[str]) -> int:
    """Run the command line `words`; return its exit code, 2 for wrong use."""
    named = next((word for word in words if not word.startswith("-")), None)
    app = build_app(only=named if named in (*_ELSEWHERE, "version") else None)
    try:
        app(args=list(words) or ["--help"], prog_name="shoal")
    except SystemExit as exc:  # how typer ends; it has printed what is wrong with the use
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return 0


def build_app(*, only: str | None = None) -> typer.Typer:
    """Return the command line with all its commands, or with `only` the one that was named."""
    app = typer.Typer(
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,  # errors of ours are sentences, and bugs plain tracebacks
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    # Also makes a group of it, when only one command is loaded.
    app.callback()(_no_common_options)
    app.command("agent", add_help_option=False)(_agent)
    for name, (module, attribute) in _ELSEWHERE.items():
        if only in (None, name):
            found: Any = getattr(importlib.import_module(module), attribute)
            if isinstance(found, typer.Typer):
                app.add_typer(found, name=name)
            else:
                app.command(name)(found)
    app.command("version")(_version)
    return app


def _no_common_options() -> None:
    # What stands before a command's name: only --help.
    pass


def _agent() -> None:
    """Run the agent of this node. `shoal agent --help` lists its settings."""
    raise AssertionError("main() takes `shoal agent` before it comes here")


def _version() -> None:
    """Print the version of Shoal and of the Python that runs it."""
    print(f"shoal {__version__} (Python {platform.python_version()})")
