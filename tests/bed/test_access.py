"""Who may have what, with a real registry, a token server and containerd's CRI; also in outages."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bed.watching import blob_url, layer_bytes_by, until
from shoal.core.errors import OriginError
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.cri import Auth, PullFailed
from shoal.testing.bed.fresh import FreshImages, Pushed
from shoal.testing.bed.node import FRONT_URL, Node
from shoal.testing.bed.processes import in_namespace
from shoal.testing.bed.registry import OTHER_PASSWORD, OTHER_USER, PASSWORD, USER
from shoal.testing.bed.traffic import Door
from shoal.testing.image_push import Pusher

LOGIN = Auth(username=USER, password=PASSWORD)
GUESSED = Auth(username=USER, password="guessed")
SITE = pytest.mark.site(2)

# Writes every frame of the peers' port to a file, until it is killed: what a wire tap would see.
TAP = """
import socket, sys
tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
tap.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE: nothing is lost
print("ready", flush=True)
with open(sys.argv[1], "wb", buffering=0) as file:
    while True:
        frame = tap.recv(1 << 18)
        at = 14 + 4 * (frame[14] & 15)
        ports = {int.from_bytes(frame[at : at + 2], "big"),
                 int.from_bytes(frame[at + 2 : at + 4], "big")}
        if frame[12:14] == b"\\x08\\x00" and 65002 in ports:
            file.write(frame)
"""


@contextlib.contextmanager
def gone(bed: Bed) -> Iterator[None]:
    """The registry and its token server refuse connections."""
    bed.registry.stop()
    bed.registry.token_server.kill()
    try:
        yield
    finally:
        bed.registry.token_server.start()
        bed.registry.heal()
        realm = ["curl", "-so", "/dev/null", f"{bed.registry.url(Door.REALM)}/token"]
        assert until(lambda: bed.nodes[0].run(*realm, check=False).returncode == 0)


def by_digest(pushed: Pushed, door: Door) -> str:
    address = pushed.registry.address(door)
    return f"{address}/{pushed.repository}@{pushed.image.manifest_digest}"


def pull(node: Node, reference: str, auth: Auth | None) -> None:
    """Pull as the kubelet does, which tries again: on a busy machine peers may take their time."""
    for _ in range(3):
        with contextlib.suppress(PullFailed):
            node.cri.pull(reference, auth=auth, timeout_s=60)
            return
    node.cri.pull(reference, auth=auth, timeout_s=60)


def start_over(node: Node, *, grace_s: float | None = None) -> None:
    """Empty containerd and the agent's store, but for what registries have allowed."""
    node.agent.stop()
    for name in ("blobs", "partial"):
        shutil.rmtree(node.agent.store / name)
    if grace_s is not None:
        settings = node.agent.config.read_text()
        node.agent.config.write_text(f"{settings}access: {{outage_grace_s: {grace_s}, ttl_s: 1}}\n")
    node.agent.start()
    node.containerd.wipe()


@SITE
def test_with_the_registry_gone_an_image_of_the_site_is_pulled_by_whom_it_allowed_lately(
    agents: Bed, fresh_image: FreshImages
) -> None:
    having, wanting = agents.nodes[:2]
    pulls = {Door.OPEN: None, Door.BASIC: LOGIN, Door.TOKEN: LOGIN}
    images = {door: fresh_image(layer_bytes=(1_500_000, 90_000)) for door in pulls}
    for door, auth in pulls.items():
        for node in (having, wanting):
            node.cri.pull(images[door].reference(door), auth=auth)
    asked = {door: image.image.layers for door, image in images.items()}
    for layers in asked.values():
        assert until(lambda layers=layers: all(_stored(having, it.digest) for it in layers))  # type: ignore[misc]
    start_over(wanting)
    assert until(lambda: wanting.agent.metrics().get("shoal_peers_connected", 0) >= 1)
    with gone(agents):
        before = wanting.agent.metrics().get("shoal_peer_received_bytes_total", 0)
        for door, auth in pulls.items():
            pull(wanting, by_digest(images[door], door), auth)
        received = wanting.agent.metrics()["shoal_peer_received_bytes_total"] - before
        assert received >= sum(image.image.layer_bytes for image in images.values())
        wanting.containerd.wipe()
        for door, auth in pulls.items():
            pull(wanting, images[door].reference(door), auth)
        wanting.containerd.wipe()
        for door in (Door.BASIC, Door.TOKEN):
            for wrong in (None, GUESSED):
                with pytest.raises(PullFailed):
                    wanting.cri.pull(images[door].reference(door), auth=wrong, timeout_s=60)
        # What was allowed more than a second ago counts no more, for anybody.
        start_over(wanting, grace_s=1)
        for door, auth in pulls.items():
            with pytest.raises(PullFailed):
                wanting.cri.pull(images[door].reference(door), auth=auth, timeout_s=60)


@SITE
def test_a_real_token_registrys_private_blobs_are_had_by_no_detour_and_no_login_is_on_the_wire(
    agents: Bed, fresh_image: FreshImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "tls", False)  # a tap has to see what peers say
    agents.stop_agents()
    first, second = agents.nodes[:2]
    login = agents.folder / "config.json"
    pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    login.write_text(json.dumps({"auths": {agents.registry.address(Door.BASIC): {"auth": pair}}}))
    login.chmod(0o600)
    registries = [
        {"name": agents.registry.address(door), "plain_http": True}
        | ({"access": "node", "credentials_file": str(login)} if door is Door.BASIC else {})
        for door in (Door.OPEN, Door.BASIC, Door.TOKEN)
    ]
    settings = {"registries": registries, "log": {"level": "debug"}}
    agents.start_agents(settings, nodes=[first, second])
    private = fresh_image(layer_bytes=(1_500_000, 90_000))
    public = fresh_image(layer_bytes=(90_000,), repository="public/fresh")
    with tapped(first) as frames:
        for node in (first, second):
            node.cri.pull(private.reference(Door.TOKEN), auth=LOGIN)
        node_mode(agents, fresh_image, first, second)
        size_bytes = private.image.layer_bytes
        assert until(lambda: frames.stat().st_size > size_bytes)
    # The last is how the token server's JSON web tokens begin.
    secrets = [PASSWORD.encode(), pair.encode(), b"Authorization", b"eyJ0eXAiOiAi"]
    captured = frames.read_bytes()
    assert not any(secret in captured for secret in secrets)

    # Under another repository: one that anybody may read, and the stranger's own.
    first.cri.pull(public.reference(Door.TOKEN))
    stolen = private.image.blob(private.image.manifest_digest).read_bytes()
    with (
        Pusher(f"unix:{agents.registry.folder}/open.sock") as pusher,
        pytest.raises(OriginError, match=r"answered 40[04]"),
    ):
        pusher.push_manifest(
            stolen, f"{OTHER_USER}/own", "1", media_type=private.image.manifest_type
        )
    layer = private.image.layers[0].digest
    for repository in (private.repository, public.repository, f"{OTHER_USER}/own"):
        for user in (None, f"{OTHER_USER}:{OTHER_PASSWORD}", f"{USER}:guessed"):
            url = blob_url(private, layer, door=Door.TOKEN).replace(private.repository, repository)
            token = _token(first, url, user)
            header = ["-H", f"Authorization: Bearer {token}"] if token else []
            asked = first.run(
                "curl", "-so", "/dev/null", "-w", "%{http_code} %{size_download}", *header, url
            )
            status, size = asked.stdout.split()
            assert status in ("401", "403", "404")
            assert int(size) < 1000
    # A neighbour of the network reaches no front; one on this host's has no more than anybody.
    for host in (first.host.ipv4, f"[{first.host.ipv6}]"):
        url = FRONT_URL.replace("127.0.0.1", host)
        reached = second.run("curl", "-gsm", "5", f"{url}/v2/", check=False)
        assert reached.returncode == 7  # refused


def node_mode(bed: Bed, fresh_image: FreshImages, first: Node, second: Node) -> None:
    """A login that containerd keeps from mirrors comes through Shoal by the node's own."""
    pushed = fresh_image(layer_bytes=(700_000,))
    named = Auth(username=USER, password=PASSWORD, server_address=bed.registry.url(Door.BASIC))
    with contextlib.ExitStack() as installed:
        for node in (first, second):
            node.use_registry(doors=(Door.BASIC,))
            header = f"X-Shoal-Node: @{node.agent.store}/node.header"
            files = ("--certs-d", str(node.certs_d), "--config", str(node.containerd.config))
            remove = (sys.executable, "-m", "shoal", "containerd", "remove", *files)
            installed.callback(node.run, *remove)
            node.run(
                sys.executable, "-m", "shoal", "containerd", "install", "--plain-http",
                "--registry", bed.registry.address(Door.BASIC), "--header", header,
                *files,
            )  # fmt: skip
            node.cri.pull(pushed.reference(Door.BASIC), auth=named)
        assert layer_bytes_by(bed.registry, pushed) == {"shoal": pushed.image.layer_bytes}
        layer = pushed.image.layers[0].digest
        asked = first.run(
            "curl",
            "-so",
            "/dev/null",
            "-w",
            "%{http_code}",
            blob_url(pushed, layer, door=Door.BASIC),
        )
        assert asked.stdout == "401"
        with gone(bed):
            second.containerd.wipe()
            second.cri.pull(pushed.reference(Door.BASIC), auth=named, timeout_s=60)


@contextlib.contextmanager
def tapped(node: Node) -> Iterator[Path]:
    """Write what a node and its peers say to the file that is returned."""
    frames = node.folder / "frames"
    command = in_namespace(node.host.namespace, [sys.executable, "-c", TAP, str(frames)])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tap:
        assert tap.stdout is not None
        assert tap.stdout.readline() == b"ready\n"
        try:
            yield frames
        finally:
            tap.kill()


def _token(node: Node, url: str, user: str | None) -> str:
    """Return the token that a client gets by the front's challenge; "" if it gets none."""
    answer = node.run("curl", "-sI", url).stdout
    realm, scope = (re.search(f'{name}="([^"]*)"', answer) for name in ("realm", "scope"))
    assert realm is not None, answer
    login = ["-u", user] if user is not None else []
    query = f"{realm[1]}?scope={scope[1] if scope is not None else ''}"
    said = node.run("curl", "-gs", *login, query).stdout
    return str(json.loads(said).get("token", ""))


def _stored(node: Node, digest: str) -> bool:
    return any(digest[7:] in path.name for path in (node.agent.store / "blobs").rglob("*"))
