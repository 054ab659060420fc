"""One TCP stream: `stream.py send ADDRESS PORT` and `stream.py receive ADDRESS PORT SECONDS`.

Run by path and not as a module, so that nothing is imported that it does not need. The receiver
prints the payload bytes a second that arrived after the first half second, by when the token
buckets have given their first burst and TCP has found the rate.
"""

import socket
import sys
import time

_BLOCK = 1 << 20
_WARM_UP_S = 0.5
_TIMEOUT_S = 10.0


def send(address: str, port: int) -> None:
    """Serve one receiver until it goes away."""
    with socket.create_server((address, port), family=_family(address)) as listener:
        listener.settimeout(_TIMEOUT_S)
        connection, _ = listener.accept()
    block = bytes(_BLOCK)
    with connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            while True:
                connection.sendall(block)
        except ConnectionError:
            return


def receive(address: str, port: int, seconds: float) -> float:
    """Receive for that many seconds after the warm-up; return bytes a second."""
    block = bytearray(_BLOCK)
    with _connect(address, port) as connection:
        warm_s = time.monotonic() + _WARM_UP_S
        while time.monotonic() < warm_s:
            connection.recv_into(block)
        began_s = now_s = time.monotonic()
        received = 0
        while now_s - began_s < seconds:
            received += connection.recv_into(block)
            now_s = time.monotonic()
    return received / (now_s - began_s)


def _connect(address: str, port: int) -> socket.socket:
    give_up_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return socket.create_connection((address, port), timeout=_TIMEOUT_S)
        except ConnectionRefusedError:
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.02)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]))
    else:
        print(receive(sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
