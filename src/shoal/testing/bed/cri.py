"""A client of containerd's CRI image service, as kubelet is one.

The messages are described here by hand, not compiled from the Kubernetes definition: the bed needs
seven of them, protobuf skips fields that a message does not name, and so no generated code and no
compiler is needed. Field numbers are those of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto.
"""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shoal.testing.bed.processes import BedError

# gRPC must not hook into fork: the bed only ever spawns, and the hook's warnings are noise.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

_SERVICE = "runtime.v1.ImageService"
PULL_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 20.0

_STRING, _UINT64, _MESSAGE, _REPEATED_STRING = "string", "uint64", "message", "repeated"
# Message -> field -> (number, kind or the name of the message it holds).
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "ImageSpec": {"image": (1, _STRING)},
    "AuthConfig": {
        "username": (1, _STRING),
        "password": (2, _STRING),
        "auth": (3, _STRING),
        "server_address": (4, _STRING),
        "identity_token": (5, _STRING),
        "registry_token": (6, _STRING),
    },
    "Image": {
        "id": (1, _STRING),
        "repo_tags": (2, _REPEATED_STRING),
        "repo_digests": (3, _REPEATED_STRING),
        "size": (4, _UINT64),
    },
    "PullImageRequest": {"image": (1, "ImageSpec"), "auth": (2, "AuthConfig")},
    "PullImageResponse": {"image_ref": (1, _STRING)},
    "ImageStatusRequest": {"image": (1, "ImageSpec")},
    "ImageStatusResponse": {"image": (1, "Image")},
    "RemoveImageRequest": {"image": (1, "ImageSpec")},
    "RemoveImageResponse": {},
}


class PullFailed(BedError):
    """The CRI refused or could not do the call; `code` is gRPC's name for why."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Auth:
    """The CRI's AuthConfig; kubelet leaves `server_address` empty for pull secrets.

    Its values are those of a test registry and no secrets, so they may show in a failure.
    """

    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def fields(self) -> dict[str, str]:
        """Return the fields that are set."""
        return {n: v for n in self.__dataclass_fields__ if (v := str(getattr(self, n)))}


@dataclass(frozen=True, slots=True)
class Image:
    """An image as the runtime lists it; `size_bytes` is what it takes compressed."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int


@cache
def _classes() -> dict[str, Any]:
    """Return the message classes by name, built once."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(
        name="shoal/testing/cri.proto", package="runtime.v1", syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if kind == _UINT64:
                added.type = kinds.TYPE_UINT64
            elif kind in (_STRING, _REPEATED_STRING):
                added.type = kinds.TYPE_STRING
                if kind == _REPEATED_STRING:
                    added.label = kinds.LABEL_REPEATED
            else:
                added.type = kinds.TYPE_MESSAGE
                added.type_name = f".runtime.v1.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"runtime.v1.{name}"))
        for name in _MESSAGES
    }


class ImageService:
    """The CRI's image service at a containerd socket."""

    def __init__(self, socket: Path) -> None:
        import grpc

        self._socket = socket
        self._grpc = grpc
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            # A containerd that restarts must be found again at once, not after a back-off.
            options=[
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.max_reconnect_backoff_ms", 200),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def wait_ready(self, *, timeout_s: float) -> None:
        """Return once the service answers.

        Raises:
            BedError: it did not in `timeout_s`.
        """
        give_up_s = time.monotonic() + timeout_s
        while True:
            try:
                self.status("localhost/nothing:at-all", timeout_s=2.0)
                return
            except PullFailed as exc:
                # UNKNOWN: "server is not initialized yet", for its first moments.
                if time.monotonic() > give_up_s:
                    raise BedError(f"CRI at {self._socket} not ready: {exc}") from exc
            time.sleep(0.03)

    def pull(
        self, reference: str, *, auth: Auth | None = None, timeout_s: float = PULL_TIMEOUT_S
    ) -> str:
        """PullImage: fetch and unpack; return the image's id.

        Raises:
            PullFailed: the pull failed, or took longer than `timeout_s`.
        """
        body: dict[str, Any] = {"image": {"image": reference}}
        if auth is not None:
            body["auth"] = auth.fields()
        return str(self._call("PullImage", body, timeout_s=timeout_s).image_ref)

    def status(self, reference: str, *, timeout_s: float = CALL_TIMEOUT_S) -> Image | None:
        """ImageStatus: what the runtime has of this image, or None.

        Raises:
            PullFailed: the call failed.
        """
        answer = self._call("ImageStatus", {"image": {"image": reference}}, timeout_s=timeout_s)
        if not answer.HasField("image"):
            return None
        image = answer.image
        return Image(image.id, tuple(image.repo_tags), tuple(image.repo_digests), image.size)

    def remove(self, reference: str, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        """RemoveImage; one that is not there is no error.

        Raises:
            PullFailed: the call failed.
        """
        self._call("RemoveImage", {"image": {"image": reference}}, timeout_s=timeout_s)

    def _call(self, method: str, body: dict[str, Any], *, timeout_s: float) -> Any:  # noqa: ANN401
        classes = _classes()
        invoke = self._channel.unary_unary(
            f"/{_SERVICE}/{method}",
            request_serializer=classes[f"{method}Request"].SerializeToString,
            response_deserializer=classes[f"{method}Response"].FromString,
        )
        try:
            return invoke(classes[f"{method}Request"](**body), timeout=timeout_s)
        except self._grpc.RpcError as exc:
            code = exc.code().name
            raise PullFailed(
                f"{method} {body['image']}: {code}: {exc.details()}", code=code
            ) from exc
