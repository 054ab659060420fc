"""The least that passing bytes on costs here: `bare_relay.py serve|relay|drain ...`, run by path.

`relay` does what an agent must do with each byte that it receives from a peer, verifies, stores and
sends on, and nothing else: no protocol, no swarm, no event loop. One thread receives into a buffer,
hashes each piece (BLAKE3), writes it and sends it on from the file; another hashes the whole
(SHA-256) from the file, as it must where pieces come in any order. It prints its processor time.

    serve ADDRESS PORT FILE                 send FILE to one client
    relay ADDRESS PORT FROM PORT FILE SIZE  receive SIZE bytes into FILE, send them on to one client
    drain FROM PORT SIZE                    receive SIZE bytes and drop them

With `--tls FILE` as last words, a certificate with its key, all of it goes through TLS 1.3: what
the agent does about bytes is then the same, but that they must be read from the file to be sent.
"""

import hashlib
import os
import queue
import socket
import ssl
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


def serve(address: str, port: int, path: Path, *, tls: str | None) -> None:
    """Send a file to the first client."""
    with _accept(address, port, tls=tls) as client, path.open("rb") as file:
        client.sendfile(file)


def drain(address: str, port: int, size_bytes: int, *, tls: str | None) -> None:
    """Receive so many bytes and drop them."""
    buffer = bytearray(_BUFFER_BYTES)
    with _connect(address, port, tls=tls) as source:
        while size_bytes > 0 and (received := source.recv_into(buffer)):
            size_bytes -= received
    if size_bytes:
        raise ConnectionError(f"{size_bytes} bytes did not come")


def relay(
    address: str, port: int, source: socket.socket, path: Path, size_bytes: int, *, tls: str | None
) -> str:
    """Receive, hash, store and send on; return the whole digest."""
    ready: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    digest = hashlib.sha256()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.posix_fallocate(fd, 0, size_bytes)
    hasher = threading.Thread(target=_hash, args=(fd, ready, digest), daemon=True)
    hasher.start()
    with _accept(address, port, tls=tls) as client:
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
            _send(client, fd, at, filled)
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


_chunk = memoryview(bytearray(64 * 1024))


def _send(client: socket.socket, fd: int, offset: int, count: int) -> None:
    end = offset + count
    while offset < end:
        if isinstance(client, ssl.SSLSocket):
            chunk = _chunk[: min(len(_chunk), end - offset)]
            chunk = chunk[: os.preadv(fd, [chunk], offset)]
            client.sendall(chunk)
            offset += len(chunk)
        else:
            offset += os.sendfile(client.fileno(), fd, offset, end - offset)


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


def _accept(address: str, port: int, *, tls: str | None) -> socket.socket:
    with socket.create_server((address, port)) as listener:
        listener.settimeout(_TIMEOUT_S)
        client, _ = listener.accept()
    client.settimeout(None)  # a timeout would cost a poll for each call
    if tls is None:
        return client
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(tls)
    return context.wrap_socket(client, server_side=True)


def _connect(address: str, port: int, *, tls: str | None) -> socket.socket:
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
            return source if tls is None else _unverified().wrap_socket(source)


def _unverified() -> ssl.SSLContext:
    """Return a client's context; who answers is no question here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def main(words: list[str]) -> None:
    """Do what the words say."""
    tls = None
    if words[-2] == "--tls":
        *words, _, tls = words
    if words[0] == "serve":
        serve(words[1], int(words[2]), Path(words[3]), tls=tls)
    elif words[0] == "drain":
        drain(words[1], int(words[2]), int(words[3]), tls=tls)
    else:
        address, port, source, source_port, path, size = words[1:]
        with _connect(source, int(source_port), tls=tls) as connection:
            before = os.times()
            digest = relay(address, int(port), connection, Path(path), int(size), tls=tls)
            after = os.times()
        print(digest, after.user - before.user, after.system - before.system)


if __name__ == "__main__":
    main(sys.argv[1:])
