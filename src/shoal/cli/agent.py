"""`shoal agent`: the process that runs on every node, in two parts.

The first part is the supervisor, which loads nothing else. It runs the same command line again
with a pipe in the environment; that second part loads the settings and the agent.
"""

import os
import signal
from collections.abc import Sequence

from shoal.agent.supervisor import Heartbeat, supervise_this_command


def agent_command(arguments: Sequence[str]) -> int:
    """Run `shoal agent` with `arguments`; return its exit code.

    Raises:
        SettingsError: flags, environment or file are wrong.
    """
    heartbeat = Heartbeat.from_environment(os.environ)
    asks_for_help = any(word in ("--help", "-h") for word in arguments)
    if heartbeat is None and not asks_for_help:
        return supervise_this_command()
    if heartbeat is not None:
        heartbeat.die_with_parent()
        # Until the agent has a handler for it; the supervisor had it blocked from the first moment.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    return _run_agent(arguments, heartbeat)


def _run_agent(arguments: Sequence[str], heartbeat: Heartbeat | None) -> int:
    from shoal.agent.settings_load import load_settings, parse_flags, settings_path

    flags = parse_flags(arguments)
    if flags.help:
        from shoal.agent.settings_docs import help_text

        print(help_text(), end="")
        return 0
    environment = dict(os.environ)
    settings = load_settings(environment=environment, flags=flags)
    if heartbeat is not None and not settings.supervisor.enabled:
        heartbeat.stand_down()
        heartbeat = None
    if heartbeat is not None:
        heartbeat.watch(
            timeout_s=settings.supervisor.heartbeat_timeout_s,
            drain_timeout_s=settings.drain_timeout_s,
            log_format=settings.log.format,
        )

    import asyncio

    from shoal.adapters.telemetry.logs import logs_to
    from shoal.agent.app import run

    beat = None if heartbeat is None else heartbeat.beat
    with logs_to(2, level=settings.log.level, format_=settings.log.format):
        return asyncio.run(
            run(
                settings,
                heartbeat=beat,
                read=lambda: load_settings(environment=environment, flags=flags),
                file=settings_path(environment=environment, flags=flags),
            )
        )
