"""A process that is killed while it writes loses pieces and never invents any."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.adapters.store.disk import DiskStore
from shoal.core.blob import MIB
from shoal.testing.conformance_store import Sample, read

SAMPLE = Sample(24 * MIB)

# Writes and marks pieces from two threads without end, saying so for each mark that was returned
# from; commits and discards a second blob as well, so that the kill may hit those too.
WRITER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shoal.adapters.store.disk import DiskStore
from shoal.core.blob import MIB
from shoal.testing.conformance_store import Sample

big, small = Sample(24 * MIB), Sample(3 * MIB, seed=1)
store = DiskStore(Path(sys.argv[1]), quota_bytes=1 << 30, reserve_bytes=0)
partial = store.partial(big.spec)

def pieces(first):
    while True:
        for piece in range(first, big.spec.pieces, 2):
            big.put_piece(partial, piece)
            sys.stdout.write(f"{piece}\\n")
            sys.stdout.flush()

def blobs():
    while True:
        other = store.partial(small.spec)
        for piece in range(small.spec.pieces):
            small.put_piece(other, piece)
        other.commit().close()
        other.close()
        again = store.partial(small.spec)
        again.discard()
        again.close()

with ThreadPoolExecutor(3) as threads:
    for work in (threads.submit(pieces, 0), threads.submit(pieces, 1), threads.submit(blobs)):
        work.result()
"""


def write_until_killed(root: Path, *, after_marks: int) -> set[int]:
    """Run the writer, kill it, and return the pieces that it said were marked."""
    said = b""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE) as (
        writer
    ):
        assert writer.stdout is not None
        try:
            while said.count(b"\n") < after_marks:
                block = os.read(writer.stdout.fileno(), 4096)
                assert block, "the writer ended by itself"
                said += block
        finally:
            writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read()
    return {int(line) for line in said.split(b"\n")[:-1]}


@pytest.mark.parametrize("after_marks", [1, 7, 30, 61, 100, 150])
def test_every_piece_reported_after_a_kill_is_right_and_none_is_lost(
    tmp_path: Path, after_marks: int
) -> None:
    said = write_until_killed(tmp_path, after_marks=after_marks)
    store = DiskStore(tmp_path, quota_bytes=1 << 30, reserve_bytes=0)
    try:
        partial = store.partial(SAMPLE.spec)
        try:
            held = partial.held()
            assert held.items() <= SAMPLE.hashes().items()
            # A piece that was being written anew may be torn; one by each of the two threads.
            assert len(said - held.keys()) <= 2
            for piece in held:
                offset, size_bytes = SAMPLE.spec.offset(piece), SAMPLE.spec.size(piece)
                assert os.pread(partial.fd, size_bytes, offset) == SAMPLE.piece(piece)
        finally:
            partial.close()
        for digest, length_bytes in store.digests():
            assert store.verify(digest)
            blob = store.open(digest)
            assert blob is not None
            assert read(blob, length_bytes) == Sample(3 * MIB, seed=1).content
            blob.close()
    finally:
        store.close()
