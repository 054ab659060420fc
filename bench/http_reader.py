"""A client that costs as little as one can: `http_reader.py ADDRESS PORT [--last-byte] PATH...`.

Gets the paths one after the other over one connection, reading each body with recv_into into one
buffer; of the last path only the last byte with `--last-byte`. Prints a JSON list with `[status,
body bytes, seconds]` for each; the first includes the time to connect. Run by path and not as a
module, so that nothing is imported that it does not need.
"""

import json
import socket
import sys
import time

_BUFFER_BYTES = 1 << 20
_TIMEOUT_S = 60.0  # without a byte
_MAX_HEAD_BYTES = 64 * 1024
_REQUEST = (
    "GET {path} HTTP/1.1\r\n"
    "Host: {host}\r\n"
    "Accept: application/vnd.oci.image.manifest.v1+json, */*\r\n"
    "{range}"
    "\r\n"
)


def read_all(
    address: str, port: int, paths: list[str], *, last_byte: bool = False
) -> list[tuple[int, int, float]]:
    """GET each path; return status, body bytes and seconds of each."""
    buffer = bytearray(_BUFFER_BYTES)
    results = []
    began_s = time.perf_counter()
    with socket.create_connection((address, port), timeout=_TIMEOUT_S) as connection:
        for number, path in enumerate(paths, 1):
            asked = "Range: bytes=-1\r\n" if last_byte and number == len(paths) else ""
            request = _REQUEST.format(path=path, host=f"{address}:{port}", range=asked)
            connection.sendall(request.encode())
            status, body_bytes = _read_answer(connection, buffer)
            now_s = time.perf_counter()
            results.append((status, body_bytes, now_s - began_s))
            began_s = now_s
    return results


def _read_answer(connection: socket.socket, buffer: bytearray) -> tuple[int, int]:
    head = b""
    while b"\r\n\r\n" not in head:
        count = connection.recv_into(buffer)
        if not count or len(head) > _MAX_HEAD_BYTES:
            raise SystemExit(f"no head of an answer in {head[:200]!r}")
        head += buffer[:count]
    head, _, early = head.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:])
    received, length = len(early), int(fields["content-length"])
    while received < length:
        count = connection.recv_into(buffer)
        if not count:
            raise SystemExit(f"cut after {received} of {length} bytes")
        received += count
    return int(lines[0].split()[1]), received


if __name__ == "__main__":
    _paths = [argument for argument in sys.argv[3:] if argument != "--last-byte"]
    _last_byte = "--last-byte" in sys.argv[3:]
    print(json.dumps(read_all(sys.argv[1], int(sys.argv[2]), _paths, last_byte=_last_byte)))
