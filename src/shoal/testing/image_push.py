"""Push an OCI layout to a registry with the upload API alone, so that no other tool is needed.

Source: OCI distribution-spec v1.1, "Pushing Blobs" (POST then PUT) and "Pushing Manifests".
"""

import base64
import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shoal.core.errors import OriginError

_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 20


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Pusher:
    """One connection to a registry, for pushing; a context manager."""

    def __init__(self, url: str, *, auth: tuple[str, str] | None = None) -> None:
        """Prepare to push to `url`: `http://host:port` or `unix:/path/of.sock`."""
        parts = urlsplit(url)
        self._url = url
        self._connection: http.client.HTTPConnection
        if parts.scheme == "unix":
            self._connection = _UnixConnection(Path(parts.path))
        elif parts.scheme == "http" and parts.netloc:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
        else:
            raise ValueError(f"not an http: or unix: address: {url!r}")
        self._headers: dict[str, str] = {}
        if auth is not None:
            basic = base64.b64encode(":".join(auth).encode()).decode()
            self._headers["Authorization"] = f"Basic {basic}"

    def __enter__(self) -> "Pusher":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def push(self, layout: Path, *, repository: str, tag: str) -> str:
        """Push the one image of an OCI layout; return its manifest's digest.

        Raises:
            OriginError: the registry refused something; the message holds its answer.
        """
        descriptor = json.loads((layout / "index.json").read_text())["manifests"][0]
        manifest = _blob(layout, descriptor["digest"]).read_bytes()
        parsed: dict[str, Any] = json.loads(manifest)
        pushed = set()
        for blob in [parsed["config"], *parsed["layers"]]:
            if blob["digest"] not in pushed and not blob.get("urls"):
                pushed.add(blob["digest"])
                self.push_blob(_blob(layout, blob["digest"]), repository, blob["digest"])
        self.push_manifest(manifest, repository, tag, media_type=descriptor["mediaType"])
        return str(descriptor["digest"])

    def push_blob(self, path: Path, repository: str, digest: str) -> None:
        """Push one blob, unless the registry has it.

        Raises:
            OriginError: the registry refused it.
        """
        status, _ = self._ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if status == http.HTTPStatus.OK:
            return
        status, headers = self._ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
        self._expect(status, 202, f"begin the upload of {digest}")
        place = urlsplit(headers["location"])
        query = f"{place.query}&digest={digest}" if place.query else f"digest={digest}"
        length = path.stat().st_size
        with path.open("rb") as body:
            self._connection.request(
                "PUT",
                f"{place.path}?{query}",
                iter(lambda: body.read(_CHUNK_BYTES), b""),
                self._headers
                | {"Content-Length": str(length), "Content-Type": "application/octet-stream"},
            )
            status, _ = self._answer()
        self._expect(status, 201, f"push {digest}")

    def push_manifest(
        self, manifest: bytes, repository: str, reference: str, *, media_type: str
    ) -> None:
        """Push a manifest or index under a tag or digest.

        Raises:
            OriginError: the registry refused it.
        """
        status, _ = self._ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", manifest, media_type=media_type
        )
        self._expect(status, 201, f"push the manifest of {repository}:{reference}")

    def _ask(
        self, method: str, path: str, body: bytes | None = None, *, media_type: str = ""
    ) -> tuple[int, dict[str, str]]:
        headers = self._headers | ({"Content-Type": media_type} if media_type else {})
        self._connection.request(method, path, body, headers)
        return self._answer()

    def _answer(self) -> tuple[int, dict[str, str]]:
        with self._connection.getresponse() as response:
            self._said = response.read(_CHUNK_BYTES)[:256].decode(errors="replace")
            return response.status, {k.lower(): v for k, v in response.getheaders()}

    def _expect(self, status: int, wanted: int, what: str) -> None:
        if status != wanted:
            raise OriginError(
                f"{self._url} answered {status} when asked to {what}: {self._said}", status=status
            )


def push(
    layout: Path,
    registry_url: str,
    *,
    repository: str,
    tag: str,
    auth: tuple[str, str] | None = None,
) -> str:
    """Push an OCI layout to `http://host:port` or `unix:/path`; return the manifest's digest.

    Raises:
        OriginError: the registry refused something.
    """
    with Pusher(registry_url, auth=auth) as pusher:
        return pusher.push(layout, repository=repository, tag=tag)


def _blob(layout: Path, digest: str) -> Path:
    algorithm, _, hexadecimal = digest.partition(":")
    return layout / "blobs" / algorithm / hexadecimal
