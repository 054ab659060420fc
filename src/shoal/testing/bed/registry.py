"""The bed's registry: a real `docker-registry` behind an nginx that counts what it sends.

One storage folder, several doors, so that an image is pushed once and pulled in any way:

    5000 open   5001 Basic   5002 Bearer tokens (realm :5009)   5003 redirects blobs to :5010

nginx writes one JSON line a request; registry copies are counted from them.
"""

import contextlib
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

import yaml

from shoal.testing.bed import tokens
from shoal.testing.bed.network import Host, Network
from shoal.testing.bed.nginx_conf import NGINX_CONF
from shoal.testing.bed.processes import Service, in_namespace
from shoal.testing.bed.traffic import Door, Request, Traffic, parse_request
from shoal.testing.image_layout import BuiltImage
from shoal.testing.image_push import Pusher

START_TIMEOUT_S = 60.0

# Credentials of a registry that exists for seconds inside a namespace; nothing here is a secret.
USER, PASSWORD = "puller", "let-me-in"
OTHER_USER, OTHER_PASSWORD = "stranger", "also-valid"  # a valid login that may pull nothing much
PUBLIC = "public/"  # repositories under this prefix give tokens to anyone

# `htpasswd -nbB -C 5` of the two above; cost 5 is bcrypt's least, since the registry computes the
# hash again at every request.
_HTPASSWD = """\
puller:$2y$05$Vxbjhjzqk6NkFKyEu5NLIOG8p3Twjfw9VFTffxuCwVMHTtncRaU8y
stranger:$2y$05$IYJciCcz5ujkwxWOvf5cIOBCMdrxsBeu3njqUVdrrxa9zsx1ey93W
"""


class Registry:
    """The registry's namespace and what runs in it."""

    def __init__(self, host: Host, *, folder: Path, network: Network) -> None:
        self.host = host
        self.folder = folder
        self._network = network
        self.access_log = folder / "access.log"
        self.token_log = folder / "tokens.log"
        self._fault = folder / "fault.conf"
        settings = folder / "tokens.json"
        self.nginx = self._service("nginx", ["nginx", "-c", f"{folder}/nginx.conf", "-p", folder])
        self.token_server = self._service(
            "token server", [sys.executable, "-m", "shoal.testing.bed.tokens", settings]
        )
        self.backends = {
            name: self._service(f"registry-{name}", ["docker-registry", "serve", f"{name}.yml"])
            for name in ("open", "basic", "token")
        }
        for name, service in self.backends.items():
            service.argv[-1] = str(folder / f"{name}.yml")

    def _service(self, name: str, argv: Iterable[object]) -> Service:
        command = in_namespace(self.host.namespace, [str(word) for word in argv])
        return Service(name, command, log=self.folder / f"{name.replace(' ', '-')}.log")

    def address(self, door: Door = Door.OPEN) -> str:
        """Return `host:port` as nodes use it in references."""
        return f"{self.host.ipv4}:{door.value}"

    def url(self, door: Door = Door.OPEN) -> str:
        """Return the address with its scheme."""
        return f"http://{self.address(door)}"

    def reference(self, repository: str, tag: str, *, door: Door = Door.OPEN) -> str:
        """Return the whole reference of an image through one of the doors."""
        return f"{self.address(door)}/{repository}:{tag}"

    def start(self, *, wait: bool = True) -> None:
        """Write every configuration and start every part."""
        (self.folder / "storage").mkdir(parents=True, exist_ok=True)
        self._write_token_settings()
        self._write_backends()
        self.access_log.touch()
        self.token_log.touch()
        self._fault.write_text("")
        (self.folder / "nginx.conf").write_text(NGINX_CONF.substitute(folder=self.folder))
        for service in self._services():
            service.start()
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return once every door answers.

        Raises:
            BedError: a part ended or did not answer in time.
        """
        for name, service in self.backends.items():
            service.wait_until(
                lambda path=self.folder / f"{name}.sock": _accepts(path),  # type: ignore[misc]
                timeout_s=START_TIMEOUT_S,
            )
        self._wait_nginx()

    def _wait_nginx(self) -> None:
        self.nginx.wait_until(
            lambda: _accepts(self.folder / "status.sock"), timeout_s=START_TIMEOUT_S
        )

    def _services(self) -> list[Service]:
        return [*self.backends.values(), self.token_server, self.nginx]

    def kill(self) -> None:
        """End every part, for good."""
        for service in self._services():
            service.kill()

    def push(self, image: BuiltImage, *, repository: str, tag: str = "1") -> str:
        """Push an image, not over the shaped link; return its reference through the open door."""
        with Pusher(f"unix:{self.folder}/open.sock") as pusher:
            pusher.push(image.layout, repository=repository, tag=tag)
        return self.reference(repository, tag)

    # What can go wrong with a registry; `heal` undoes all of it.

    def stop(self) -> None:
        """Refuse connections from now on, and cut the ones there are."""
        self.nginx.kill()
        (self.folder / "status.sock").unlink(missing_ok=True)

    def cut(self) -> None:
        """Pull the plug: packets vanish."""
        self._network.cut(self.host.name)

    def pause(self) -> None:
        """Accept connections and never answer."""
        self.nginx.signal(signal.SIGSTOP)

    def answer_always(self, status: int, *, retry_after_s: int | None = None) -> None:
        """Answer every new request with `status`; transfers under way go on."""
        header = f"add_header Retry-After {retry_after_s} always; " if retry_after_s else ""
        self._reload(f"{header}return {status};\n")

    def heal(self) -> None:
        """Be a registry that works again, whatever was done to it."""
        self._network.mend(self.host.name)
        if self.nginx.running:
            self.nginx.signal(signal.SIGCONT)
            self._reload("")
        else:
            self._fault.write_text("")
            self.nginx.start()
        self._wait_nginx()

    def _reload(self, fault: str) -> None:
        if self._fault.read_text() == fault:
            return
        self._fault.write_text(fault)
        before = _workers(self.nginx.pid)
        self.nginx.signal(signal.SIGHUP, group=False)
        # Workers that still send finish what they send; the others must be gone, or one of them
        # could still accept a connection and answer it in the old way.
        self.nginx.wait_until(lambda: not self._old_idle_workers(before), timeout_s=START_TIMEOUT_S)

    def _old_idle_workers(self, before: set[str]) -> bool:
        """Whether the reload is still under way: no new worker, or an old one that accepts."""
        now = _workers(self.nginx.pid)
        return not now - before or any("shutting down" not in _title(pid) for pid in now & before)

    # What it sent.

    def mark(self) -> int:
        """Return a point in the log from which to count."""
        return self.access_log.stat().st_size

    def requests(self, *, since: int = 0) -> list[Request]:
        """Return the requests that ended after `since`, oldest first."""
        with self.access_log.open("rb") as log:
            log.seek(since)
            whole, _, _ = log.read().rpartition(b"\n")
        return [parse_request(line) for line in whole.splitlines()]

    def traffic(self, image: BuiltImage | None = None, *, since: int = 0) -> Traffic:
        """Return what was sent for the blobs of `image` (layers and config), or for all blobs.

        What is not a blob's bytes is counted for all images together.
        """
        blobs = None if image is None else {x.digest for x in image.layers} | {image.config_digest}
        blob_bytes = manifest_bytes = header_bytes = 0
        requests = self.requests(since=since)
        for request in requests:
            digest = request.blob_digest
            header_bytes += request.total_bytes - request.body_bytes
            if digest is None:
                manifest_bytes += request.body_bytes
            elif blobs is None or digest in blobs:
                blob_bytes += request.body_bytes
        return Traffic(blob_bytes, manifest_bytes, header_bytes, len(requests))

    def copies(self, image: BuiltImage, *, since: int = 0) -> float:
        """Return how often the registry sent the image: blob bytes sent over its layers' sizes."""
        return self.traffic(image, since=since).blob_bytes / image.layer_bytes

    def settle(self, *, timeout_s: float = 30.0) -> None:
        """Wait until no request is being answered, so that all are in the log.

        Raises:
            BedError: some were still under way after `timeout_s`.
        """
        lengths = [-2, -1]

        # Looked at twice: nginx counts a request as answered just before it writes its line, and a
        # worker may be kept waiting in between.
        def settled() -> bool:
            idle = _writing(self.folder / "status.sock") <= 1
            lengths[:] = [lengths[1], self.mark() if idle else -1]
            return idle and lengths[0] == lengths[1]

        self.nginx.wait_until(settled, timeout_s=timeout_s)

    # Configuration.

    def hosts_toml(self, *, door: Door = Door.OPEN, mirror: str | None = None) -> str:
        """Return a hosts.toml for one of the doors, asking `mirror` (a URL) first if given."""
        # containerd 1.6 calls a file with `server` alone malformed ("invalid `host` tree") and then
        # tries HTTPS, so there is always one host, if need be the registry once more.
        lines = [
            f'server = "{self.url(door)}"',
            f'[host."{mirror or self.url(door)}"]',
            '  capabilities = ["pull", "resolve"]',
        ]
        return "\n".join(lines) + "\n"

    def _write_token_settings(self) -> None:
        key, certificate = self.folder / "token.key", self.folder / "token.crt"
        if not key.exists():
            tokens.write_keys(key=key, certificate=certificate)
        tokens.TokenSettings(
            port=Door.REALM.value,
            key=str(key),
            certificate=str(certificate),
            log=str(self.token_log),
            users={
                USER: tokens.User(PASSWORD),
                OTHER_USER: tokens.User(OTHER_PASSWORD, (f"{OTHER_USER}/",)),
            },
            anonymous_repositories=(PUBLIC,),
        ).write(self.folder / "tokens.json")

    def _write_backends(self) -> None:
        htpasswd = self.folder / "htpasswd"
        htpasswd.write_text(_HTPASSWD)
        token = {
            "realm": f"{self.url(Door.REALM)}/token",
            "service": tokens.SERVICE,
            "issuer": tokens.ISSUER,
            "rootcertbundle": str(self.folder / "token.crt"),
        }
        auths: dict[str, dict[str, object]] = {
            "open": {},
            "basic": {"htpasswd": {"realm": "shoal-bed", "path": str(htpasswd)}},
            "token": {"token": token},
        }
        for name, auth in auths.items():
            settings: dict[str, object] = {
                "version": 0.1,
                "log": {"level": "warn", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(self.folder / "storage")},
                    "delete": {"enabled": True},
                    "maintenance": {"uploadpurging": {"enabled": False}},
                },
                "http": {
                    "addr": str(self.folder / f"{name}.sock"),
                    "net": "unix",
                    "secret": "shoal-bed",
                    "relativeurls": True,
                },
            }
            if auth:
                settings["auth"] = auth
            (self.folder / f"{name}.yml").write_text(yaml.safe_dump(settings))


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        with contextlib.suppress(OSError):
            probe.connect(str(path))
            return True
    return False


def _writing(path: Path) -> int:
    """Return how many connections nginx is answering on, this question included."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5.0)
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    return int(text.partition("Writing:")[2].split()[0])


def _workers(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def _title(pid: str) -> str:
    """What a process calls itself; a worker of nginx says there that it is shutting down."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return "gone, so: shutting down"
