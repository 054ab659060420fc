"""Fuzzes one target until libFuzzer ends the process: `python -m fuzz.one TARGET [libFuzzer's]`."""

import sys

import atheris

with atheris.instrument_imports(include=["shoal"], enable_loader_override=False):
    from fuzz.targets import TARGETS


def main() -> None:
    """Hand the target over to libFuzzer; does not return."""
    name, *arguments = sys.argv[1:]
    atheris.Setup([f"fuzz {name}", *arguments], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
