"""The least that passing bytes on costs here: `bare_relay.py serve|relay|drain ...`, run by path.

`relay` does what an agent must do with each byte that it receives from a peer, verifies, stores and
sends on, and nothing else: no protocol, no swarm, no event loop. One thread receives into a buffer,
hashes each piece (BLAKE3), writes it and sends it on from the file; another hashes the whole
(SHA-256) from the file, as it must where pieces come in any order. It prints its processor time.

    serve ADDRESS PORT FILE                 send FILE to one client
    relay ADDRESS PORT FROM PORT FILE SIZE  receive SIZE bytes into FILE, send them on to one client
    drain FROM PORT SIZE                    receive SIZE bytes and drop them
"""

import hashlib
import os
import queue
import socket
import sys
import threading
import time
from pathlib import Path

from blake3 import blake3

_BUFFER_BYTES = 1 << 20
_PIECE_BYTES = 1 << 22  # as of a blob of 1 GiB
_HASH_BYTES = 1 << 18
_STRETCH_BYTES = 1 << 23
_TIMEOUT_S = 60.0


def serve(address: str, port: int, path: Path) -> None:
    """Send a file to the first client."""
    with _accept(address, port) as client, path.open("rb") as file:
        client.sendfile(file)


def drain(address: str, port: int, size_bytes: int) -> None:
    """Receive so many bytes and drop them."""
    buffer = bytearray(_BUFFER_BYTES)
    with _connect(address, port) as source:
        while size_bytes > 0 and (received := source.recv_into(buffer)):
            size_bytes -= received
    if size_bytes:
        raise ConnectionError(f"{size_bytes} bytes did not come")


def relay(address: str, port: int, source: socket.socket, path: Path, size_bytes: int) -> str:
    """Receive, hash, store and send on; return the whole digest."""
    ready: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.posix_fallocate(fd, 0, size_bytes)
    hasher = threading.Thread(target=_hash, args=(fd, ready, digest), daemon=True)
    hasher.start()
    with _accept(address, port) as client:
        view = memoryview(bytearray(_BUFFER_BYTES))
        at = hashed = 0
        piece = blake3()
        while at < size_bytes:
            filled = 0
            while filled < len(view) and at + filled < size_bytes:
                received = source.recv_into(view[filled:])
                if not received:
                    raise ConnectionError(f"ended at byte {at + filled} of {size_bytes}")
                filled += received
            piece.update(view[:filled])
            os.pwrite(fd, view[:filled], at)
            sent = 0
            while sent < filled:
                sent += os.sendfile(client.fileno(), fd, at + sent, filled - sent)
            at += filled
            if at % _PIECE_BYTES == 0:
                piece.digest()
                piece = blake3()
            if at - hashed >= _STRETCH_BYTES or at == size_bytes:
                ready.put((hashed, at))
                hashed = at
    ready.put(None)
    hasher.join()
    os.fsync(fd)
    os.close(fd)
    return digest.hexdigest()


def _hash(
    fd: int, ready: "queue.SimpleQueue[tuple[int, int] | None]", digest: "hashlib._Hash"
) -> None:
    view = memoryview(bytearray(_HASH_BYTES))
    while (stretch := ready.get()) is not None:
        at, end = stretch
        while at < end:
            read = os.preadv(fd, [view[: end - at]], at)
            digest.update(view[:read])
            at += read


def _accept(address: str, port: int) -> socket.socket:
    with socket.create_server((address, port)) as listener:
        listener.settimeout(_TIMEOUT_S)
        client, _ = listener.accept()
    client.settimeout(None)  # a timeout would cost a poll for each call
    return client


def _connect(address: str, port: int) -> socket.socket:
    give_up_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            source = socket.create_connection((address, port), timeout=_TIMEOUT_S)
        except ConnectionRefusedError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.02)
        else:
            source.settimeout(None)
            return source


def main(words: list[str]) -> None:
    """Do what the words say."""
    if words[0] == "serve":
        serve(words[1], int(words[2]), Path(words[3]))
    elif words[0] == "drain":
        drain(words[1], int(words[2]), int(words[3]))
    else:
        address, port, source, source_port, path, size = words[1:]
        with _connect(source, int(source_port)) as connection:
            before = os.times()
            digest = relay(address, int(port), connection, Path(path), int(size))
            after = os.times()
        print(digest, after.user - before.user, after.system - before.system)


if __name__ == "__main__":
    main(sys.argv[1:])
