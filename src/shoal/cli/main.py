"""The command `shoal`: finds the sub-command, and turns errors into one sentence and a code.

`shoal agent` goes its own way, past typer and rich: its parent process stays on every node and
its child has no use for them either. The other commands are imported when they are named.
"""

import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (by default the process's own) name; return its exit code.

    Exit codes: 0, done; 2, wrong use; 69, the registry or agent cannot be had; 77, the registry
    refuses; 78, wrong settings; 130, interrupted; 1, anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["agent"]:
            from shoal.cli.agent import agent_command

            return agent_command(words[1:])
        if words in (["--version"], ["-V"]):
            words = ["version"]
        from shoal.cli.commands import run

        return run(words)
    except KeyboardInterrupt:
        return 130  # as shells report an end by SIGINT
    except Exception as exc:
        # Imported here, since with it comes `typing`, a tenth of the supervisor's memory.
        from shoal.core.errors import ShoalError

        if not isinstance(exc, ShoalError) or os.environ.get("SHOAL_DEBUG"):
            raise
        print(f"shoal: {exc}", file=sys.stderr)
        return exc.exit_code
