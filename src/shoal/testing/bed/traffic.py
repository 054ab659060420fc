"""What the registry sent, read from the lines that nginx logs."""

import json
from dataclasses import dataclass
from enum import IntEnum


class Door(IntEnum):
    """A way into the registry, by its port."""

    OPEN = 5000
    BASIC = 5001
    TOKEN = 5002
    REDIRECTING = 5003
    REALM = 5009  # the token server
    STORAGE = 5010  # what stands for object storage


@dataclass(frozen=True, slots=True)
class Request:
    """One request as nginx logged it when it ended."""

    at_s: float  # seconds since 1970, at its end
    door: int
    client: str
    method: str
    path: str  # without the query
    query: str
    status: int
    body_bytes: int
    total_bytes: int  # with the response's headers
    range: str
    seconds: float
    user_agent: str

    @property
    def blob_digest(self) -> str | None:
        """The digest if this is a GET of a blob's bytes, also from the storage."""
        if self.method != "GET" or self.status not in (200, 206):
            return None
        parts = self.path.split("/")
        if self.door == Door.STORAGE:
            return f"{parts[-4]}:{parts[-2]}"  # .../blobs/sha256/ab/abcd.../data
        return parts[-1] if parts[-2] == "blobs" else None


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the registry sent for one image, or in all."""

    blob_bytes: int  # bodies of blob GETs
    manifest_bytes: int  # bodies of everything else
    header_bytes: int
    requests: int


def parse_request(line: bytes) -> Request:
    """Return the request that one line of nginx's log tells of."""
    entry = json.loads(line)
    path, _, query = entry["uri"].partition("?")
    return Request(
        at_s=float(entry["at"]),
        door=int(entry["door"] or 0),
        client=entry["client"].removeprefix("::ffff:"),
        method=entry["method"],
        path=path,
        query=query,
        status=int(entry["status"]),
        body_bytes=int(entry["body"]),
        total_bytes=int(entry["total"]),
        range=entry["range"],
        seconds=float(entry["seconds"]),
        user_agent=entry["user_agent"],
    )
