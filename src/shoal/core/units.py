"""Sizes, rates and durations as people write them: `20GiB`, `512MB/s`, `100Mbit/s`, `500ms`.

A bare number is taken in the base unit: bytes, bytes a second, seconds.
"""

import math
import re

from shoal.core.errors import BadInput

# Source: IEC 80000-13 for Ki, Mi, Gi, Ti; SI for k, M, G, T. `K` is taken for `k`, as most tools
# do; a bare `M` or `Gi` means bytes, as in Kubernetes quantities.
_PREFIXES = {
    "": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_DURATIONS_S = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
# Twenty digits are more than any disk or link has, and bound the work on hostile text.
_NUMBER = r"(?P<number>[0-9]{1,20}(?:\.[0-9]{1,9})?)"
_SIZE = re.compile(rf"{_NUMBER} ?(?P<prefix>[kKMGT]i?|)(?P<unit>B|)", re.ASCII)
_RATE = re.compile(rf"{_NUMBER} ?(?P<prefix>[kKMGT]i?|)(?P<unit>B/s|bit/s|bps|)", re.ASCII)
_DURATION = re.compile(rf"{_NUMBER} ?(?P<unit>ms|s|min|m|h|d|)", re.ASCII)

SIZE_FORM = "a size in bytes, as 21474836480, 20GiB or 500MB"
RATE_FORM = "a rate in bytes a second, as 64000000, 512MB/s or 100Mbit/s"
DURATION_FORM = "a time in seconds, as 30, 1.5, 500ms, 2m or 1h"


def _scaled(match: re.Match[str]) -> float | int:
    # Whole numbers stay integers, so that no size loses its last bytes to a float.
    text = match["number"]
    return float(text) if "." in text else int(text)


def _factor(match: re.Match[str], form: str, text: str) -> int:
    factor = _PREFIXES.get(match["prefix"])
    if factor is None:  # `ki`: matched by the pattern, meant by nobody
        raise BadInput(f"expected {form}, got {text[:40]!r}")
    return factor


def parse_size(text: str) -> int:
    """Return the size that `text` spells, in bytes, rounded down.

    Raises:
        BadInput: not a number with an optional unit of bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"expected {SIZE_FORM}, got {text[:40]!r}")
    return int(_scaled(match) * _factor(match, SIZE_FORM, text))


def parse_rate(text: str) -> int:
    """Return the rate that `text` spells, in bytes a second, rounded down.

    Raises:
        BadInput: not a number with an optional unit of bytes or bits a second.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or (match["prefix"] and not match["unit"]):
        # `512M` is refused: megabytes or megabits differ by eight, and both are common.
        raise BadInput(f"expected {RATE_FORM}, got {text[:40]!r}")
    per_s = _scaled(match) * _factor(match, RATE_FORM, text)
    return int(per_s // 8 if match["unit"] in ("bit/s", "bps") else per_s)


def parse_duration(text: str) -> float:
    """Return the time that `text` spells, in seconds.

    Raises:
        BadInput: not a number with an optional unit of time.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"expected {DURATION_FORM}, got {text[:40]!r}")
    return float(match["number"]) * _DURATIONS_S[match["unit"]]


def format_size(size_bytes: int) -> str:
    """Return `size_bytes` for people: exact where a binary unit divides it, else one decimal."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        factor = _PREFIXES[unit[:2]]
        if size_bytes >= factor:
            whole, rest = divmod(size_bytes, factor)
            if not rest:
                return f"{whole} {unit}"
            return f"{math.floor(size_bytes / factor * 10) / 10:.1f} {unit}"
    return f"{size_bytes} B"
