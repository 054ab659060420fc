"""What is fuzzed: every parser that meets a stranger's bytes, as a function of bytes.

A target calls one parser, lets pass the errors by which it may refuse, and asserts what must hold
of what it accepted. Any other exception is a bug, as is a target that takes seconds.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzz.control_targets import CONTROL_TARGETS
from fuzz.credential_targets import CREDENTIAL_TARGETS
from fuzz.identity_targets import IDENTITY_TARGETS
from shoal.adapters.runtime import hosts_toml
from shoal.adapters.runtime.containerd_config import read_config
from shoal.agent.front.answers import Refusal
from shoal.agent.front.target import Registries, ServedRegistry
from shoal.agent.settings_load import Flags, load_settings, parse_flags
from shoal.core.errors import BadInput, PeerFault, SettingsError
from shoal.core.oci.challenges import parse_challenges, token_url
from shoal.core.oci.manifests import parse_manifest
from shoal.core.oci.ranges import parse_content_range, parse_range
from shoal.core.oci.routes import parse_route
from shoal.core.wire.codec import HEAD, FrameReader, encode
from shoal.core.wire.messages import Block

HOST = "registry.example.com"
_REGISTRIES = Registries(
    [ServedRegistry(HOST, frozenset({HOST})), ServedRegistry("docker.io", is_default=True)]
)
_MANIFEST_TYPES = (
    None,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/json; charset=utf-8",
)
_AGENT = hosts_toml.AgentEntry("http://127.0.0.1:65001")
# For parsers that read files: one that is nowhere on the disk, and gone with this process.
_FILE_FD = os.memfd_create("shoal-fuzz")
_FILE = Path(f"/proc/self/fd/{_FILE_FD}")


def _lines(data: bytes) -> list[str]:
    """Return bytes as the text of a request: each byte one character, as HTTP has it."""
    return data.decode("latin-1").split("\n")


def _file_of(data: bytes) -> Path:
    os.ftruncate(_FILE_FD, 0)
    os.pwrite(_FILE_FD, data, 0)
    return _FILE


def routes(data: bytes) -> None:
    """A request's path; what was accepted is spelled as a path that means the same."""
    path = data.decode("latin-1")
    with contextlib.suppress(BadInput):
        route = parse_route(path, hosts=(HOST,))
        if route is not None:
            assert ".." not in route.path.split("/"), path
            assert parse_route(route.path) is not None, path


def ranges(data: bytes) -> None:
    """Range and Content-Range; what was accepted lies within the blob."""
    asked, said, *rest = [*_lines(data), ""]
    length_bytes = 1 + len("".join(rest)) * 1000
    with contextlib.suppress(BadInput):
        found = parse_range(asked, length_bytes=length_bytes)
        assert found is None or 0 <= found.start < found.end <= length_bytes, asked
    with contextlib.suppress(BadInput):
        content = parse_content_range(said)
        assert 0 <= content.start < content.end, said
        assert content.length_bytes is None or content.end <= content.length_bytes, said


def target(data: bytes) -> None:
    """Which registry a request means, from path, query and Host; only a configured one."""
    path, query, alias, *_ = [*_lines(data), "", ""]
    known = alias.lower() if alias.lower() in _REGISTRIES.names else None
    with contextlib.suppress(Refusal):
        found = _REGISTRIES.target(path, query=query, alias=known)
        assert found is None or found.registry.name in (HOST, "docker.io"), path


def wire(data: bytes) -> None:
    """What a peer sends, in two parts cut at the first byte; what was read is what is written."""
    frames, whole = FrameReader(), data[1:]
    cut = data[0] if data else 0
    with contextlib.suppress(PeerFault):
        for part in (whole[:cut], whole[cut:]):
            frames.feed(part)
            while (message := frames.next()) is not None:
                again = FrameReader()
                again.feed(encode(message))
                assert again.next() == message, message
                if isinstance(message, Block):
                    frames.take(message.length)


def messages(data: bytes) -> None:
    """One frame of right length: gets past the heads, which `wire` seldom finds."""
    if data:
        wire(b"\xff" + HEAD.pack(len(data) - 1, data[0]) + data[1:])


def manifests(data: bytes) -> None:
    """A manifest; the first byte picks the Content-Type."""
    kind = _MANIFEST_TYPES[data[0] % len(_MANIFEST_TYPES)] if data else None
    with contextlib.suppress(BadInput):
        manifest = parse_manifest(data[1:], kind)
        assert all(part.size_bytes >= 0 for part in manifest.referenced())


def challenges(data: bytes) -> None:
    """WWW-Authenticate; what was accepted reads the same once written, and names an HTTP realm."""
    with contextlib.suppress(BadInput):
        for challenge in parse_challenges(_lines(data)):
            with contextlib.suppress(BadInput):
                assert parse_challenges([str(challenge)]) == (challenge,), challenge
            with contextlib.suppress(BadInput):
                assert token_url(challenge).startswith(("http://", "https://")), challenge


def hosts(data: bytes) -> None:
    """hosts.toml; an entry that was put in comes first and can be taken out again."""
    with contextlib.suppress(SettingsError):
        text = hosts_toml.decode(data, path="hosts.toml")
        hosts_toml.managed(text)
        if hosts_toml.BEGIN in text:
            return  # it has an entry, or what looks like one
        owner = hosts_toml.Ownership()
        changed = hosts_toml.with_entry(text, _AGENT, ownership=owner, path="hosts.toml")
        assert hosts_toml.comes_first(changed, url=_AGENT.url, path="hosts.toml")
        managed = hosts_toml.managed(changed)
        assert managed is not None
        assert managed.untouched


def config(data: bytes) -> None:
    """The config.toml of containerd. Imports are left out: they would read this machine's files."""
    if b"imports" in data or b"\\" in data:
        return
    with contextlib.suppress(SettingsError):
        read_config(_file_of(data)).snippet(Path("/etc/containerd/certs.d"))


def settings(data: bytes) -> None:
    """The settings file."""
    with contextlib.suppress(SettingsError):
        load_settings(environment={}, flags=Flags(), config=_file_of(data))


def flags(data: bytes) -> None:
    """The command line and the environment, one word a line."""
    words = _lines(data)
    with contextlib.suppress(SettingsError):
        said = parse_flags([word for word in words if word.startswith("-")])
        said.config = None
        pairs = (word.partition("=") for word in words if word.startswith("SHOAL_"))
        environment = {name: value for name, _, value in pairs if name != "SHOAL_CONFIG"}
        load_settings(environment=environment, flags=said)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        routes,
        ranges,
        target,
        wire,
        messages,
        manifests,
        challenges,
        hosts,
        config,
        settings,
        flags,
        *IDENTITY_TARGETS,
        *CREDENTIAL_TARGETS,
        *CONTROL_TARGETS,
    )
}
