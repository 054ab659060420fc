"""Pushing a layout with nothing but the upload API."""

import hashlib
import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from shoal.core.errors import OriginError
from shoal.testing.image import BuiltImage, random_image
from shoal.testing.image_push import Pusher, push


class _Registry(socketserver.ThreadingUnixStreamServer):
    """The least that a push needs, on a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads = 0
        self.authorization: set[str | None] = set()
        self.refuse = False


class _Handler(BaseHTTPRequestHandler):
    server: _Registry
    protocol_version = "HTTP/1.1"
    timeout = 5

    def do_HEAD(self) -> None:
        self._end(200 if self.path.rpartition("/")[2] in self.server.blobs else 404)

    def do_POST(self) -> None:
        self.server.uploads += 1
        self.server.authorization.add(self.headers["Authorization"])
        if self.server.refuse:
            self._end(403, b'{"errors": [{"code": "DENIED"}]}')
        else:
            self._end(202, location="/v2/upload/1?state=kept")

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        place = urlsplit(self.path)
        if "/manifests/" in place.path:
            self.server.manifests[place.path] = (self.headers["Content-Type"], data)
        else:
            query = parse_qs(place.query)
            assert query["state"] == ["kept"]
            self.server.blobs[query["digest"][0]] = data
        self._end(201)

    def _end(self, status: int, body: bytes = b"", *, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[_Registry]:
    with _Registry(tmp_path / "s") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def image(tmp_path: Path) -> BuiltImage:
    return random_image(tmp_path / "image", layer_bytes=(10, 3 << 20))


def test_everything_arrives_under_its_digest(
    tmp_path: Path, registry: _Registry, image: BuiltImage
) -> None:
    digest = push(image.layout, f"unix:{tmp_path}/s", repository="a/b", tag="t")
    assert digest == image.manifest_digest
    assert set(registry.blobs) == {image.config_digest, *(x.digest for x in image.layers)}
    for name, data in registry.blobs.items():
        assert name == f"sha256:{hashlib.sha256(data).hexdigest()}"
    media_type, manifest = registry.manifests["/v2/a/b/manifests/t"]
    assert media_type == image.manifest_type
    assert json.loads(manifest)["config"]["digest"] == image.config_digest


def test_what_the_registry_has_is_not_sent_again(
    tmp_path: Path, registry: _Registry, image: BuiltImage
) -> None:
    for tag in ("1", "2"):
        push(image.layout, f"unix:{tmp_path}/s", repository="a", tag=tag)
    assert registry.uploads == 3
    assert len(registry.manifests) == 2


def test_credentials_are_shown(tmp_path: Path, registry: _Registry, image: BuiltImage) -> None:
    push(image.layout, f"unix:{tmp_path}/s", repository="a", tag="t", auth=("me", "pw"))
    assert registry.authorization == {"Basic bWU6cHc="}


def test_a_refusal_is_an_error_that_holds_the_registrys_answer(
    tmp_path: Path, registry: _Registry, image: BuiltImage
) -> None:
    registry.refuse = True
    with pytest.raises(OriginError, match=r"403 when asked to begin the upload.*DENIED") as caught:
        push(image.layout, f"unix:{tmp_path}/s", repository="a", tag="t")
    assert caught.value.status == 403


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="not an http: or unix: address"):
        Pusher("ftp://x")
