"""The header by which this node's runtime shows that it is the runtime.

In node mode whoever asks the front has what the node's own credential may read. Other users of the
machine and pods on its network reach loopback as well; what they cannot do is read a hosts.toml of
mode 0600, into which `shoal containerd install --header` writes this header. It is derived from the
node's key, so that a lost file comes back the same and containerd's settings stay right.
"""

import hmac
import os
from contextlib import suppress
from pathlib import Path

from shoal.core.errors import StoreError

NODE_HEADER = "X-Shoal-Node"
FILE_NAME = "node.header"


def node_header_value(key: bytes) -> str:
    """Return the value that this node's runtime sends, by the node's key."""
    return hmac.digest(key, b"header of the node's runtime", "sha256").hex()


def is_runtime(given: str | None, *, key: bytes) -> bool:
    """Return whether a request with this value of the header is the runtime's."""
    expected = node_header_value(key).encode()
    return hmac.compare_digest((given or "").encode("utf-8", "surrogateescape"), expected)


def write_node_header(path: Path, key: bytes) -> None:
    """Put the value into the file at `path`, readable by its owner only. Blocks on the disk.

    Raises:
        StoreError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "w", encoding="ascii") as file:
            file.write(f"{node_header_value(key)}\n")
        beside.rename(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
