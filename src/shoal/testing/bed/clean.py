"""`python -m shoal.testing.bed.clean [--all | ID...]`: remove what dead beds left behind.

Without arguments it touches only beds whose owner is gone. `--all` and an ID also take down live
ones, so that a run that hangs can be ended from another terminal.
"""

import argparse
from collections.abc import Sequence

from shoal.testing.bed.processes import run
from shoal.testing.bed.record import PREFIX, Record, all_namespaces, beds_folder, kill_all_in


def clean_dead() -> list[str]:
    """Remove every bed whose owner is gone; return their ids."""
    dead = [record for record in Record.every() if not record.owner_alive]
    for record in dead:
        record.remove()
    return [record.bed_id for record in dead]


def clean(bed_id: str) -> None:
    """Remove the bed `bed_id`, whoever owns it; a folder kept for its logs stays."""
    record = Record.load(beds_folder() / bed_id)
    if record is not None:
        record.remove()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m shoal.testing.bed.clean", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="remove this bed, live or dead")
    parser.add_argument("--all", action="store_true", help="remove every bed on this machine")
    options = parser.parse_args(arguments)
    removed = clean_dead() if not options.ids else []
    wanted = list(options.ids)
    if options.all:
        wanted += [record.bed_id for record in Record.every()]
    for bed_id in wanted:
        clean(bed_id)
        removed.append(bed_id)
    if options.all:
        for namespace in all_namespaces():  # of a bed whose folder was deleted by hand
            kill_all_in(namespace)
            run(["ip", "netns", "del", namespace], check=False)
            removed.append(namespace.removeprefix(PREFIX))
    print(f"removed: {' '.join(removed) or 'nothing'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
