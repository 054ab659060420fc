"""A name server for the bed: the A and AAAA records that a file holds, read at every question.

python -m shoal.testing.bed.names ADDRESS RECORDS.json, where the file maps names to lists of
addresses. It answers over UDP what a headless service's name is asked for, and nothing else.
"""

import contextlib
import ipaddress
import json
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PORT = 53
# Source: RFC 1035 sections 3.2 and 4.1, RFC 3596 section 2.1 (AAAA).
_A, _AAAA, _IN = 1, 28, 1
_HEADER = struct.Struct(">6H")
_ANSWER = struct.Struct(">HHHIH")
_IS_ANSWER, _AUTHORITATIVE, _NO_SUCH_NAME = 0x8000, 0x0400, 3
_NAME_OF_QUESTION = 0xC00C  # a pointer to where the question's name begins
_TTL_S = 1
_QUESTION_BYTES_MOST = 512


def answer(question: bytes, records: Mapping[str, Sequence[str]]) -> bytes:
    """Return the answer to a question.

    Raises:
        ValueError, IndexError, struct.error: the question is none.
    """
    number, flags, _, _, _, _ = _HEADER.unpack_from(question)
    labels, at = [], _HEADER.size
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind, _ = struct.unpack_from(">HH", question, at + 1)
    asked = question[_HEADER.size : at + 5]
    addresses = records.get(".".join(labels).lower())
    found = [
        address.packed
        for address in map(ipaddress.ip_address, addresses or ())
        if kind == {4: _A, 6: _AAAA}[address.version]
    ]
    state = _IS_ANSWER | _AUTHORITATIVE | (flags & 0x0100)
    if addresses is None:
        state |= _NO_SUCH_NAME
    head = _HEADER.pack(number, state, 1, len(found), 0, 0)
    rows = (_ANSWER.pack(_NAME_OF_QUESTION, kind, _IN, _TTL_S, len(row)) + row for row in found)
    return head + asked + b"".join(rows)


def serve(address: str, records: Path) -> None:
    """Answer questions until killed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, PORT))
        print("ready", flush=True)
        while True:
            question, client = server.recvfrom(_QUESTION_BYTES_MOST)
            # What is no question gets no answer.
            with contextlib.suppress(ValueError, IndexError, struct.error):
                server.sendto(answer(question, json.loads(records.read_text())), client)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
