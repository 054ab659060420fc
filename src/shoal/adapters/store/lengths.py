"""The lengths of verified blobs, so that a file that was cut short is noticed at the next start.

One line a blob, `<digest> <length>`, added when the blob gets its final name. A line that is lost
only means that the blob's digest is checked again before it is used.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from shoal.adapters.store.files import OpenFile, store_error
from shoal.core.digest import Digest
from shoal.core.errors import BadInput

_LINE = re.compile(r"(?P<digest>[a-z0-9]+:[0-9a-f]+) (?P<length>[0-9]{1,15})", re.ASCII)

# Some hundred thousand lines; a store that has more checks the rest by their digests.
_MAX_BYTES = 32 * 1024 * 1024


def read_lengths(path: Path) -> dict[Digest, int]:
    """Return what the file at `path` records, leaving out what is torn; nothing if it is missing.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_BYTES).decode("ascii", "replace")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise store_error(error, path) from error
    found = {}
    for line in text.split("\n")[:-1]:  # what follows the last newline is torn, or nothing
        if match := _LINE.fullmatch(line):
            try:
                found[Digest.parse(match["digest"])] = int(match["length"])
            except BadInput:
                continue
    return found


class LengthsFile:
    """The file, open for adding lines."""

    def __init__(self, path: Path, lengths: Mapping[Digest, int]) -> None:
        """Write the file anew with `lengths`.

        Raises:
            StoreFull, StoreError: the disk is full or failed.
        """
        new = path.with_suffix(".new")
        text = "".join(_line(digest, length) for digest, length in lengths.items()).encode()
        try:
            self._file = OpenFile.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                self._file.write_at(0, text)
                os.fsync(self._file.fd)
                new.rename(path)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise store_error(error, path) from error
        self._end = len(text)
        self.lines = len(lengths)

    def add(self, digest: Digest, length_bytes: int) -> None:
        """Add a blob. Not for several threads at once.

        Raises:
            StoreFull, StoreError: the disk is full or failed.
        """
        line = _line(digest, length_bytes).encode()
        self._file.write_at(self._end, line)
        self._end += len(line)
        self.lines += 1

    def sync(self) -> None:
        """Make the lines survive a power cut.

        Raises:
            OSError: as os.fdatasync.
            StoreError: the file is closed.
        """
        os.fdatasync(self._file.fd)

    def close(self) -> None:
        """Release the descriptor. Idempotent."""
        self._file.close()


def _line(digest: Digest, length_bytes: int) -> str:
    return f"{digest} {length_bytes}\n"
