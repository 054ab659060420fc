"""Content digests as the OCI image specification writes them."""

import re
from dataclasses import dataclass
from functools import lru_cache
from sys import intern

from shoal.core.errors import BadInput

# Source: OCI image-spec v1.1 descriptor.md, "Registered Algorithms": sha256 and sha512, lower-case
# hex of exactly these lengths. (blake3 is registered for removal of ambiguity only; no registry
# serves it.)
HEX_LENGTHS = {"sha256": 64, "sha512": 128}
# The same few digests come again and again while an image is pulled: by its manifest, in requests,
# in peers' messages. Whoever remembers one for long had better remember the same object.
_KEPT = 256
_DIGEST = re.compile(r"(?P<algorithm>sha256|sha512):(?P<hex>[0-9a-f]{64,128})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm and the lower-case hex of its hash; `str()` gives `sha256:...`."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Return the digest that `text` spells.

        Raises:
            BadInput: not `sha256:` or `sha512:` followed by its exact number of lower-case hex.
        """
        return _parsed(text)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@lru_cache(maxsize=_KEPT)
def _parsed(text: str) -> Digest:
    match = _DIGEST.fullmatch(text)
    if match is None or HEX_LENGTHS[match["algorithm"]] != len(match["hex"]):
        raise BadInput(f"not a sha256 or sha512 digest: {text[:160]!r}")
    return Digest(intern(match["algorithm"]), match["hex"])
