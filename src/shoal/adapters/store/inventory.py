"""What a disk store finds in its folder when it starts; leftovers are removed on the way.

Files whose names are not ours are left alone and not counted.
"""

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shoal.adapters.store.files import store_error
from shoal.adapters.store.layout import Layout
from shoal.adapters.store.piece_map import read_spec
from shoal.core.blob import BlobSpec, BlobTag
from shoal.core.digest import HEX_LENGTHS, Digest
from shoal.core.errors import BadInput

_log = logging.getLogger("shoal.adapters.store")


@dataclass(frozen=True, slots=True)
class Found:
    """A blob in the folder: `key` is its digest if it is verified, its tag if it is arriving.

    `proven` is False for a verified blob whose length is not on record.
    """

    key: Digest | BlobTag
    size_bytes: int
    used_ns: int
    proven: bool


def take_inventory(
    layout: Layout, *, lengths: Mapping[Digest, int], stale_after_s: float
) -> list[Found]:
    """Return what is in the folder, the longest unused first.

    Removes verified blobs that are not as long as `lengths` says, partial blobs that were not
    written to for `stale_after_s`, and halves of partial blobs.

    Raises:
        StoreError: the folder cannot be read or changed.
    """
    found = [*_verified(layout, lengths), *_arriving(layout, stale_after_s)]
    found.sort(key=lambda item: item.used_ns)
    return found


def _verified(layout: Layout, lengths: Mapping[Digest, int]) -> Iterator[Found]:
    for algorithm in HEX_LENGTHS:
        for shard in _listing(layout.blobs / algorithm):
            if not shard.is_dir(follow_symlinks=False):
                continue
            for file in _listing(Path(shard.path)):
                try:
                    digest = Digest.parse(f"{algorithm}:{file.name}")
                except BadInput:
                    continue
                path = Path(file.path)
                if layout.blob(digest) != path or (status := _status(path)) is None:
                    continue
                recorded = lengths.get(digest)
                if recorded is not None and recorded != status.st_size:
                    _log.warning(
                        "damaged_blob_dropped",
                        extra={
                            "path": str(path),
                            "size_bytes": status.st_size,
                            "expected_bytes": recorded,
                        },
                    )
                    _unlink(path)
                    continue
                yield Found(digest, status.st_size, status.st_mtime_ns, proven=recorded is not None)


def _arriving(layout: Layout, stale_after_s: float) -> Iterator[Found]:
    oldest_ns = int((datetime.now(UTC).timestamp() - stale_after_s) * 1e9)
    tags = set()
    for file in _listing(layout.partials):
        name = Path(file.name)
        if name.suffix in (".data", ".map") and len(name.stem) == 32:
            try:
                tags.add(BlobTag(bytes.fromhex(name.stem)))
            except ValueError:
                continue
    for tag in sorted(tags):
        spec = _intact(layout, tag)
        status = _status(layout.data(tag)) if spec is not None else None
        if spec is None or status is None or status.st_mtime_ns < oldest_ns:
            _log.info("partial_blob_dropped", extra={"path": str(layout.data(tag))})
            _unlink(layout.data(tag))
            _unlink(layout.map(tag))
            continue
        yield Found(tag, spec.length_bytes, status.st_mtime_ns, proven=False)


def _intact(layout: Layout, tag: BlobTag) -> BlobSpec | None:
    """Return what `tag` stands for, or None if its files do not belong together."""
    path = layout.map(tag)
    try:
        spec = read_spec(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, path) from error
    if spec is None or spec.tag != tag:  # also where pieces were cut differently then
        return None
    status = _status(layout.data(tag))
    return spec if status is not None and status.st_size == spec.length_bytes else None


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise store_error(error, folder) from error


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file, or None if there is none at `path`."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, path) from error
    return status if stat.S_ISREG(status.st_mode) else None


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise store_error(error, path) from error
