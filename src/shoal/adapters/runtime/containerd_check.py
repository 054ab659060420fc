"""What `shoal containerd check` finds out, apart from how it is printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shoal.adapters.runtime.containerd_config import ContainerdConfig
from shoal.adapters.runtime.containerd_hosts import ContainerdHosts, HostsStatus
from shoal.adapters.runtime.front_probe import FrontAnswer
from shoal.adapters.runtime.registry_name import RegistryName


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: whether it is as it must be, and if not, what to do."""

    subject: str
    ok: bool
    text: str
    todo: str = ""


def config_findings(
    config: ContainerdConfig, certs_d: Path, *, release: tuple[int, int] | None
) -> list[Finding]:
    """Tell whether containerd reads `certs_d`, and how to make it."""
    subject = "config_path"
    restart = "then restart containerd (running containers go on): systemctl restart containerd"
    found = []
    if config.conflicts:
        names = " and ".join(config.conflicts)
        found.append(
            Finding(
                "conflicts",
                False,
                f"{config.path} sets {names}, with which containerd refuses a config_path",
                f"move what they say into {certs_d}/<registry>/hosts.toml, delete them; {restart}",
            )
        )
    if certs_d in config.config_path:
        where = f"in {config.set_in}" if config.set_in else "built into this containerd"
        roots = ":".join(map(str, config.config_path))
        found.append(Finding(subject, True, f"{roots} ({where}, version {config.version})"))
    elif config.config_path:
        roots = ":".join(map(str, config.config_path))
        found.append(
            Finding(
                subject,
                False,
                f"containerd reads {roots}, not {certs_d}",
                f"run these commands with --certs-d {config.config_path[0]}, or set "
                f'config_path = "{certs_d}" in {config.set_in or config.path}; {restart}',
            )
        )
    else:
        where = f"unset in {config.path}" if config.exists else f"unset: there is no {config.path}"
        newer = "" if release else " (containerd 2.2 and later read /etc/containerd/certs.d anyway)"
        misplaced = "".join(
            f"; the one under [{heading}] is not read in version {config.version} of the file"
            for heading in config.misplaced
        )
        found.append(
            Finding(
                subject,
                False,
                where + newer + misplaced,
                f"add to {config.path}, in the table of that name if there is one:\n\n"
                f"{config.snippet(certs_d)}\n{restart}",
            )
        )
    return found


def registry_findings(
    hosts: ContainerdHosts, registries: Sequence[RegistryName], *, agent_url: str
) -> list[Finding]:
    """Tell for each registry whether its hosts.toml sends containerd to `agent_url` first.

    Raises:
        SettingsError: a hosts.toml is not TOML.
        ShoalError: a hosts.toml cannot be read.
    """
    if not registries:
        todo = "name the registries: shoal containerd install --registry docker.io"
        return [Finding("registries", False, "no registry has Shoal's entry", todo)]
    return [_registry_finding(hosts.status(name), agent_url=agent_url) for name in registries]


def _registry_finding(status: HostsStatus, *, agent_url: str) -> Finding:
    subject = str(status.registry)
    install = f"shoal containerd install --registry {status.registry}"
    if status.agent_url is None:
        return Finding(subject, False, f"{status.path} has no entry of Shoal's", f"run: {install}")
    if status.agent_url != agent_url:
        text = f"{status.path} points at {status.agent_url}, not at {agent_url}"
        port = agent_url.rpartition(":")[2]
        return Finding(subject, False, text, f"run: {install} --port {port}")
    if not status.comes_first:
        text = f"{status.path} has another host before Shoal's, which containerd asks first"
        return Finding(subject, False, text, f"run: {install}")
    if status.shadowed_by is not None:
        text = f"containerd reads {status.shadowed_by} instead of {status.path.parent}"
        return Finding(subject, False, text, f"remove {status.shadowed_by}, or install there")
    return Finding(subject, True, f"{status.path} sends containerd to {agent_url} first")


def front_finding(answer: FrontAnswer, agent_url: str) -> Finding:
    """Tell whether the agent's front is there."""
    if answer is FrontAnswer.ANSWERS:
        return Finding("front", True, f"{agent_url} answers")
    if answer is FrontAnswer.REFUSES:
        text = f"nothing answers at {agent_url}; containerd goes to the registry meanwhile"
        return Finding("front", False, text, "start the agent: shoal agent --config agent.yaml")
    if answer is FrontAnswer.FOREIGN:
        text = f"another program than an agent answers at {agent_url}"
        todo = "stop it, or give the agent another port, front.port"
        return Finding("front", False, text, todo)
    text = f"{agent_url} accepts connections and does not answer; containerd would wait for ever"
    todo = "restart the agent, or run: shoal containerd remove"
    return Finding("front", False, text, todo)
