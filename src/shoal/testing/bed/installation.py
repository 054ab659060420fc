"""The chart's node containers on a bed: installed by the real commands, and uninstalled by them.

The API server is the stand-in, in the registry's namespace, where nodes reach it; its kubelets
start a node's farewell as a process in that node's namespace. A node that is off runs nothing.
"""

import asyncio
import hashlib
import os
import re
import shutil
import stat
import sys
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from shoal.setup.names import AGENT, FAREWELL, NODE_CONDITION, component
from shoal.testing.bed.bed import Bed
from shoal.testing.bed.node import Node
from shoal.testing.bed.processes import BedError, Service, in_namespace, listen_in
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.api_server import KubeApiServer
from shoal.testing.kube.kubelets import Kubelets
from shoal.testing.kube.objects import ResourcePath

NAMESPACE = "shoal"
TIMEOUT_S = 120.0
_TOKEN = "token-of-the-bed"  # noqa: S105 - let in by the stand-in alone
_TICK_S = 0.05
_APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"
_CORE = f"/api/v1/namespaces/{NAMESPACE}"

_FRONT = re.compile(r"""\[host\."http://127\.0\.0\.1:(\d+)"\]""")

Result = TypeVar("Result")


class Installation:
    """Shoal on the nodes of a bed, by the commands of the chart; a context manager."""

    def __init__(self, bed: Bed, nodes: Sequence[Node]) -> None:
        """Prepare for `nodes`, none of which has an agent."""
        self._bed = bed
        self._nodes = {node.name: node for node in nodes}
        self._folder = bed.folder / "installation"
        self._installers: dict[str, Service] = {}
        self._farewells: dict[str, Service] = {}
        self._uninstall: Service | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cluster", daemon=True)
        self._server: KubeApiServer | None = None
        self._kubelets: Kubelets | None = None
        self._stepping: Any = None

    def __enter__(self) -> Self:
        """Start the API server."""
        self._folder.mkdir()
        for node in self._nodes.values():
            _store(node).parent.mkdir()
        authority = PrivateAuthority(self._folder)
        authority.ca_file.rename(self._folder / "ca.crt")
        (self._folder / "token").write_text(_TOKEN)
        host = self._bed.registry.host
        self._thread.start()
        self._server = KubeApiServer(
            tls=authority.server_context(host.ipv4),
            tokens={_TOKEN},
            host=host.ipv4,
            listener=listen_in(host.namespace, host.ipv4),
        )
        self._kubelets = Kubelets(self._server, started=self._started, stopped=self._stopped)
        self._call(self._server.start())
        self._server.put(f"{_APPS}/{AGENT}", _daemonset(AGENT, "agent"))
        for node in self._nodes.values():
            self._set_up(node, up=True)
        self._stepping = asyncio.run_coroutine_threadsafe(self._step(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        """End everything, and forget it."""
        if self._stepping is not None:
            self._stepping.cancel()
        for service in (*self._installers.values(), *self._farewells.values(), self._uninstall):
            if service is not None:
                service.kill()
        if self._server is not None:
            self._call(self._server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for node in self._nodes.values():
            node.remove_agent()
            shutil.rmtree(_store(node).parent, ignore_errors=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def install(self) -> None:
        """Start agent and installer on every node; return once every runtime has its files.

        Raises:
            BedError: one does not get them in time.
        """
        for node in self._nodes.values():
            _store(node).mkdir()
            node.start_agent(self._settings(node), wait=False)
            self._installers[node.name] = self._service(
                node, "install", {"SHOAL_SETUP_AGENT_CONFIG": str(node.agent.config)}
            )
            self._installers[node.name].start()
        for node in self._nodes.values():
            node.agent.wait_ready()
            installer = self._installers[node.name]
            installer.wait_until(lambda: '"Installed"' in installer.tail(), timeout_s=TIMEOUT_S)  # noqa: B023

    def move_front(self, port: int) -> None:
        """Upgrade to another `p2p.port`, one node after the other; return once all is written.

        Raises:
            BedError: an agent does not come back, or a runtime does not get its files in time.
        """
        for node in self._nodes.values():
            node.agent.configure(self._settings(node, front={"port": port}))
            node.agent.ready_url = f"http://127.0.0.1:{port}/readyz"
            node.agent.restart()
            self._installers[node.name].wait_until(
                lambda: _fronts(node) == {port},  # noqa: B023
                timeout_s=TIMEOUT_S,
            )

    def _settings(self, node: Node, **sections: dict[str, Any]) -> dict[str, Any]:
        return self._bed.agent_settings(node, {"store": {"path": str(_store(node))}, **sections})

    def turn_off(self, node: Node) -> None:
        """Let a node lose its power."""
        self._set_up(node, up=False)
        self._installers[node.name].kill()
        node.agent.kill()
        node.containerd.kill()

    def turn_on(self, node: Node) -> None:
        """Let a node return: containerd first, then what the cluster means for it."""
        if not node.containerd.service.running:
            node.containerd.start()
        self._set_up(node, up=True)

    def uninstall(self, *, wait_s: float) -> str:
        """Run what `helm uninstall` runs first; return what it said.

        Raises:
            BedError: it failed, or took longer than it may.
        """
        setup = {"uninstall": {"waitSeconds": wait_s}, "webhook": False}
        (self._folder / "setup.yaml").write_text(yaml.safe_dump(setup))
        manifests = [_daemonset(FAREWELL, "farewell")]
        (self._folder / "farewell.yaml").write_text(yaml.safe_dump_all(manifests))
        log = self._folder / "uninstall.log"
        self._uninstall = Service(
            "the uninstaller",
            in_namespace(self._bed.registry.host.namespace, self._command("uninstall")),
            log=log,
            env=self._environment(SHOAL_SETUP_CONFIG=str(self._folder / "setup.yaml")),
        )
        self._uninstall.start()
        self._uninstall.wait_until(
            lambda: self._uninstall is not None and not self._uninstall.running,
            timeout_s=wait_s + TIMEOUT_S,
            alive=False,
        )
        if self._uninstall.exit_status != 0:
            raise BedError(f"the uninstaller failed{self._uninstall.tail()}")
        return log.read_text()

    def wait_until_gone(self) -> None:
        """Return once the list of nodes, and all that it owns, has gone.

        Raises:
            BedError: it has not, after a long time.
        """
        give_up_s = time.monotonic() + TIMEOUT_S
        while self.left():
            if time.monotonic() > give_up_s:
                logs = "".join(service.tail() for service in self._farewells.values())
                raise BedError(f"still there: {self.left()}{logs}")
            time.sleep(_TICK_S)

    def left(self) -> list[str]:
        """Return the names of the objects that are still there, of those that Shoal makes."""
        found = []
        for path in (f"{_CORE}/configmaps", f"{_CORE}/pods", _APPS):
            collection = ResourcePath.parse(path)
            things = self._call(self._all(collection))
            found += [str(collection.of(it["metadata"]["name"])) for it in things]
        return found

    async def _all(self, collection: ResourcePath) -> list[dict[str, Any]]:
        assert self._server is not None
        return self._server.objects.all(collection, lambda _: True)

    def _set_up(self, node: Node, *, up: bool) -> None:
        async def put() -> None:
            assert self._server is not None
            assert self._kubelets is not None
            self._kubelets.put_node(node.name, up=up)
            found = self._server.objects.get(ResourcePath.parse(f"/api/v1/nodes/{node.name}"))
            assert found is not None
            conditions = found["status"]["conditions"]
            if not self._installers:  # what the controller makes of a node's first report
                conditions.append({"type": NODE_CONDITION, "status": "True"})

        self._call(put())

    async def _step(self) -> None:
        assert self._kubelets is not None
        while True:
            await self._kubelets.step()
            await asyncio.sleep(_TICK_S)

    async def _started(self, node: str, pod: dict[str, Any]) -> None:
        if pod["metadata"]["labels"] != component("farewell"):
            return
        service = self._service(self._nodes[node], "farewell", {})
        self._farewells[node] = service
        await asyncio.to_thread(service.start)

    async def _stopped(self, node: str, pod: dict[str, Any]) -> None:
        part = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        if part == "farewell":
            await asyncio.to_thread(self._farewells.pop(node).stop)
        elif node in self._installers:
            await asyncio.to_thread(self._installers[node].stop)
            await asyncio.to_thread(self._nodes[node].agent.stop)

    def _service(self, node: Node, command: str, environment: dict[str, str]) -> Service:
        return Service(
            f"{command} of {node.name}",
            node.command(self._command(command)),
            log=self._folder / f"{command}-{node.name}.log",
            env=self._environment(
                SHOAL_SETUP_NODE=node.name,
                SHOAL_SETUP_HOST_IP=node.host.ipv4,
                SHOAL_SETUP_RUNTIME="containerd",
                SHOAL_SETUP_RUNTIME_DIR=str(node.folder),
                SHOAL_SETUP_STORE=str(_store(node)),
                **environment,
            ),
        )

    def _environment(self, **variables: str) -> dict[str, str]:
        assert self._server is not None
        host, _, port = self._server.url.rpartition("/")[2].partition(":")
        return {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "SHOAL_SETUP_NAMESPACE": NAMESPACE,
            **variables,
        }

    def _command(self, command: str) -> list[str]:
        """Return `shoal setup COMMAND` with the account where a pod finds it."""
        script = (
            "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/secrets/kubernetes.io && "
            'ln -s "$0" /run/secrets/kubernetes.io/serviceaccount && exec "$@"'
        )
        shoal = [sys.executable, "-m", "shoal", "setup", command]
        return ["unshare", "--mount", "--", "/bin/sh", "-c", script, str(self._folder), *shoal]

    def _call(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)


def _daemonset(name: str, part: str) -> dict[str, Any]:
    template = {"metadata": {"labels": component(part)}, "spec": {}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


def _store(node: Node) -> Path:
    return node.folder / "var" / "shoal"


def _fronts(node: Node) -> set[int]:
    """Return the ports at which the runtime's files have an agent."""
    texts = [path.read_text() for path in node.certs_d.rglob("hosts.toml")]
    return {int(port) for text in texts for port in _FRONT.findall(text)}


def manifest(node: Node) -> dict[str, str]:
    """Return everything about a node's files that an uninstall must leave as it was, times apart.

    The runtime's configuration, the folder above the store, and whatever has Shoal's name where
    programs of a machine keep theirs. What containerd itself pulled and keeps is not looked at.
    """
    places = [node.containerd.config, node.certs_d, _store(node).parent]
    found: dict[str, str] = {}
    for place in places:
        for path in (place, *sorted(place.rglob("*"))):
            if os.path.lexists(path):
                found[str(path)] = _facts(path)
    for folder in map(Path, ("/etc", "/var/lib", "/var/cache", "/usr/local/etc")):
        found |= {str(path): _facts(path) for path in folder.glob("*shoal*")}
    return found


def _facts(path: Path) -> str:
    was = path.lstat()
    about = f"{stat.filemode(was.st_mode)} {was.st_uid}:{was.st_gid}"
    if path.is_symlink():
        return f"{about} -> {path.readlink()}"
    if path.is_file():
        return f"{about} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return about


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the paths at which two manifests differ."""
    return sorted(
        path for path in before.keys() | after.keys() if before.get(path) != after.get(path)
    )
