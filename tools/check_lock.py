"""Fails if the lock files are not what pyproject.toml asks for.

Each must hold every package that is named there, in a version that it allows; a hash for every
package; and no address, since a lock that names a package index ties everyone to it.
"""

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def pins(lock: str) -> dict[str, str]:
    """Return the version that a lock pins, by canonical package name."""
    found = (PIN.match(line) for line in lock.splitlines())
    return {canonicalize_name(pin["name"]): pin["version"] for pin in found if pin}


def problems(lock: str, wanted: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the text of a lock that has to satisfy `wanted`."""
    held = pins(lock)
    for text in wanted:
        requirement = Requirement(text)
        version = held.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"lacks {requirement.name}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"has {requirement.name} {version}, and pyproject.toml asks for {text}"

    # An entry is a pin and the indented lines after it, of which at least one is a hash.
    for entry in re.split(r"\n(?=\S)", lock):
        pin = PIN.match(entry)
        if pin and "--hash=sha256:" not in entry:
            yield f"has no hash for {pin['name']}"
    for number, line in enumerate(lock.splitlines(), start=1):
        if "://" in line or line.lstrip().startswith(("--index", "--extra-index", "--find-links")):
            yield f"names an address in line {number}"


def main(root: Path = ROOT) -> int:
    """Print the problems of both locks; return 1 if there is one."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    product: list[str] = project["project"]["dependencies"]
    extras: dict[str, list[str]] = project["project"].get("optional-dependencies", {})
    image = [*product, *extras.get("cloud", [])]
    development: list[str] = project["dependency-groups"]["dev"]
    code = 0
    for name, wanted in (
        ("requirements.lock", image),
        ("requirements-dev.lock", [*image, *development]),
    ):
        for problem in problems((root / name).read_text(encoding="utf-8"), wanted):
            print(f"{name} {problem}. ./dev lock writes it anew.")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
