"""Which of an index's manifests is for a platform."""

import platform as machine_platform
from collections.abc import Sequence

from shoal.core.errors import BadInput
from shoal.core.oci.manifests import Descriptor, Platform

# `uname -m` -> Go's name, which manifests use. Source: containerd/platforms database.go.
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "amd64": ("amd64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "aarch64": ("arm64", "v8"),
    "arm64": ("arm64", "v8"),
    "armv8l": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "armv5tel": ("arm", "v5"),
    "loongarch64": ("loong64", ""),
    "mips64": ("mips64le", ""),
}
# What a machine runs if there is nothing newer, best first; "" is what says nothing.
# Source: containerd/platforms compare.go, platformVector.
_VARIANTS = {
    "amd64": ("v4", "v3", "v2", "v1"),
    "arm": ("v8", "v7", "v6", "v5"),
    "arm64": ("v9", "v8"),
}
# A variant that the specification takes for granted where none is given.
_IMPLIED = {"amd64": "v1", "arm": "v7", "arm64": "v8"}


def parse_platform(text: str) -> Platform:
    """Return the platform that `os/architecture[/variant]` spells; `uname -m` names are known too.

    Raises:
        BadInput: not two or three words with slashes between.
    """
    words = text.strip().lower().split("/")
    if not 2 <= len(words) <= 3 or not all(word.isascii() and word.isprintable() for word in words):
        raise BadInput(
            f"not a platform: {text[:80]!r}; expected such as linux/arm64 or linux/arm/v7"
        )
    if not all(words):
        raise BadInput(f"not a platform: {text[:80]!r}; a part of it is empty")
    architecture, implied = _ARCHITECTURES.get(words[1], (words[1], ""))
    return Platform(words[0], architecture, words[2] if len(words) == 3 else implied)


def this_platform() -> Platform:
    """Return the platform for whose containers this machine is: always Linux's."""
    machine = machine_platform.machine().lower()
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return Platform("linux", architecture, variant)


def choose(listed: Sequence[Descriptor], wanted: Platform) -> Descriptor | None:
    """Return the entry of an index that suits `wanted` best, or None if none does.

    An entry for a lesser variant suits a better machine (v6 on v7), never the other way round.
    The first of equals wins, as in every runtime.
    """
    best: tuple[int, Descriptor] | None = None
    for entry in listed:
        rank = None if entry.platform is None else fitness(entry.platform, wanted)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, entry)
    return best[1] if best is not None else None


def fitness(offered: Platform, wanted: Platform) -> int | None:
    """Return how many variants `offered` is behind `wanted`, or None if it does not run there."""
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return None
    variants = _VARIANTS.get(wanted.architecture, ())
    implied = _IMPLIED.get(wanted.architecture, "")
    have, want = offered.variant or implied, wanted.variant or implied
    if have == want:
        return 0
    if have not in variants or want not in variants:
        return None
    behind = variants.index(have) - variants.index(want)
    return behind if behind > 0 else None
