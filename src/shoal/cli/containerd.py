"""`shoal containerd install|check|remove`: send containerd to the agent first."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from shoal.adapters.runtime.containerd_check import (
    Finding,
    config_findings,
    front_finding,
    registry_findings,
)
from shoal.adapters.runtime.containerd_config import (
    ContainerdConfig,
    installed_release,
    read_config,
)
from shoal.adapters.runtime.containerd_hosts import Action, ContainerdHosts, Outcome
from shoal.adapters.runtime.front_probe import FrontAnswer, probe_front, wait_for_front
from shoal.adapters.runtime.hosts_toml import AgentEntry
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import BadInput, ShoalError

containerd_app = typer.Typer(
    help="Send containerd to the agent first, and to the registry where the agent cannot help.",
    no_args_is_help=True,
)

_CONTAINERD_DIR = Path("/etc/containerd")
_MAX_HEADER_FILE_BYTES = 4096

_WRONG = 1
_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h

Registries = Annotated[
    list[str] | None,
    typer.Option("--registry", "-r", help="A registry, such as docker.io. May be repeated."),
]
Port = Annotated[int, typer.Option(min=1, max=65535, help="The port of the agent's front.")]
Folder = Annotated[
    Path,
    typer.Option(
        "--containerd-dir",
        help="Where config.toml and certs.d are. For k3s: "
        "/var/lib/rancher/k3s/agent/etc/containerd.",
    ),
]
CertsD = Annotated[
    Path | None,
    typer.Option(
        "--certs-d",
        help="The folder of registry folders.  [default: the first in containerd's config_path, "
        "else certs.d in --containerd-dir]",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="containerd's configuration.  [default: config.toml in --containerd-dir]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where containerd's settings are on this machine."""

    config: ContainerdConfig
    certs_d: Path
    release: tuple[int, int] | None

    @property
    def hosts(self) -> ContainerdHosts:
        return ContainerdHosts(self.certs_d, roots=self.config.config_path)


@containerd_app.command()
def install(
    registry: Registries = None,
    port: Port = 65001,
    containerd_dir: Folder = _CONTAINERD_DIR,
    certs_d: CertsD = None,
    config: Config = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            help="A header that containerd sends to the agent, as 'Name: value', or "
            "'Name: @FILE' to read the value from a file. The hosts.toml is then readable by its "
            "owner only. May be repeated.",
        ),
    ] = None,
    plain_http: Annotated[
        bool, typer.Option(help="These registries speak plain HTTP, not HTTPS.")
    ] = False,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait-s",
            min=0,
            max=600,
            help="Wait so many seconds for the agent to answer; write nothing if it does not.",
        ),
    ] = 0,
    json_output: Json = False,
) -> None:
    """Put the agent before these registries.

    Writes certs.d/REGISTRY/hosts.toml with the agent first and everything that
    was there after it. An existing file is kept as hosts.toml.shoal-backup, and
    remove restores it exactly. A second run changes nothing. containerd reads
    these files at every pull and is never restarted. A file that is not TOML is
    named with its line, and nothing is changed.

    Exit codes:
    0 done;
    1 a file could not be written;
    2 bad usage;
    69 the agent accepts connections and does not answer, another program has
    its port, or --wait-s ran out: nothing was written;
    78 a file of containerd's is not valid: nothing was changed.
    """
    names = _registries(registry)
    if not names:
        raise BadInput("name at least one registry: --registry docker.io")
    entry = AgentEntry(_agent_url(port), headers=tuple(map(_header, header or [])))
    place = _place(containerd_dir, certs_d=certs_d, config=config)
    _require_harmless(entry.url, wait_s=wait_s)
    outcomes = place.hosts.install(names, entry, plain_http=plain_http)
    _print_outcomes(outcomes, json_output=json_output)
    for finding in config_findings(place.config, place.certs_d, release=place.release):
        if not finding.ok:
            _warn(f"{finding.text}\n{finding.todo}")


@containerd_app.command()
def check(
    registry: Registries = None,
    port: Port = 65001,
    containerd_dir: Folder = _CONTAINERD_DIR,
    certs_d: CertsD = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Tell whether containerd reaches the agent, and if not, what to do.

    Without --registry all registries that have Shoal's entry are looked at.
    Changes nothing.

    Exit codes:
    0 all is in place;
    1 something is not, and the text says what to do;
    2 bad usage;
    69 all is in place and the agent does not answer;
    78 a file of containerd's is not valid.
    """
    place = _place(containerd_dir, certs_d=certs_d, config=config)
    agent_url = _agent_url(port)
    names = _registries(registry) or place.hosts.managed()
    findings = [
        *config_findings(place.config, place.certs_d, release=place.release),
        *registry_findings(place.hosts, names, agent_url=agent_url),
    ]
    front = front_finding(probe_front(agent_url), agent_url)
    _print_findings([*findings, front], place=place, json_output=json_output)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(_WRONG)
    if not front.ok:
        raise typer.Exit(_UNAVAILABLE)


@containerd_app.command()
def remove(
    registry: Registries = None,
    containerd_dir: Folder = _CONTAINERD_DIR,
    certs_d: CertsD = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Take the agent away again, without a trace.

    Without --registry from all registries that have Shoal's entry. Files that
    were there before are restored exactly; files and folders that install made
    are removed, folders only if they are empty. In a file that was edited
    since, only Shoal's entry is taken out.

    Exit codes:
    0 nothing of Shoal's is left;
    1 a file could not be changed;
    2 bad usage.
    """
    names = _registries(registry)
    place = _place(containerd_dir, certs_d=certs_d, config=config, forgiving=True)
    outcomes = place.hosts.remove(names or None)
    _print_outcomes(outcomes, json_output=json_output)


def _place(
    containerd_dir: Path, *, certs_d: Path | None, config: Path | None, forgiving: bool = False
) -> _Place:
    release = installed_release()
    path = config or containerd_dir / "config.toml"
    try:
        found = read_config(path, release=release)
    except ShoalError:
        if not forgiving:
            raise
        # Shoal must be removable from a machine whose containerd is broken, too.
        found = ContainerdConfig(path, exists=True, version=2)
    if certs_d is None:
        # The built-in default is meant for /etc/containerd; a k3s folder has its own certs.d.
        chosen = found.set_in is not None and found.config_path
        certs_d = found.config_path[0] if chosen else containerd_dir / "certs.d"
    return _Place(found, certs_d.absolute(), release)


def _registries(names: list[str] | None) -> list[RegistryName]:
    return list(dict.fromkeys(RegistryName.parse(name) for name in names or []))


def _agent_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    value = value.strip()
    if not colon:
        raise BadInput(f"--header {name[:80]!r}: expected 'Name: value' or 'Name: @FILE'")
    if value.startswith("@"):
        path = Path(value[1:])
        try:
            with path.open("rb") as file:
                value = file.read(_MAX_HEADER_FILE_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise BadInput(f"--header {name}: cannot read {path}: {exc}") from exc
    return name.strip(), value


def _require_harmless(agent_url: str, *, wait_s: float) -> None:
    """Do not send containerd to an address where it would wait for ever.

    Raises:
        ShoalError: the address is silent, or `wait_s` was given and has passed.
    """
    answer = wait_for_front(agent_url, wait_s=wait_s)
    if answer is FrontAnswer.ANSWERS:
        return
    if answer in (FrontAnswer.SILENT, FrontAnswer.FOREIGN) or wait_s:
        raise _FrontMissing(f"{front_finding(answer, agent_url).text}; nothing was written")
    _warn(f"nothing answers at {agent_url} yet; containerd goes to the registry until it does")


class _FrontMissing(ShoalError):
    """The agent's front is not there, and containerd must not be sent to it."""

    exit_code = _UNAVAILABLE
    retryable = True


def _print_outcomes(outcomes: list[Outcome], *, json_output: bool) -> None:
    if json_output:
        rows = [
            {
                "registry": str(outcome.registry),
                "path": str(outcome.path),
                "action": str(outcome.action),
                "note": outcome.note,
            }
            for outcome in outcomes
        ]
        print(json.dumps({"registries": rows}))
        return
    if not outcomes:
        print("no registry has an entry of Shoal's")
    for outcome in outcomes:
        note = f" ({outcome.note})" if outcome.note else ""
        print(f"{outcome.registry}: {_SAID[outcome.action]} {outcome.path}{note}")


_SAID = {
    Action.UNCHANGED: "as it should be:",
    Action.CREATED: "made",
    Action.PREPENDED: "put the agent first in",
    Action.REWRITTEN: "rewrote the agent's entry in",
    Action.REMOVED: "removed",
    Action.RESTORED: "restored",
    Action.ENTRY_REMOVED: "took the agent's entry out of",
    Action.ABSENT: "no entry of Shoal's in",
}


def _print_findings(findings: list[Finding], *, place: _Place, json_output: bool) -> None:
    if json_output:
        report = {
            "ok": all(finding.ok for finding in findings),
            "config": str(place.config.path),
            "config_version": place.config.version,
            "config_path": [str(root) for root in place.config.config_path],
            "certs_d": str(place.certs_d),
            "containerd_release": place.release and ".".join(map(str, place.release)),
            "findings": [dataclasses.asdict(finding) for finding in findings],
        }
        print(json.dumps(report))
        return
    for finding in findings:
        print(f"{'ok   ' if finding.ok else 'WRONG'} {finding.subject}: {finding.text}")
        if finding.todo:
            print("\n".join(f"      {line}".rstrip() for line in finding.todo.split("\n")))


def _warn(text: str) -> None:
    print(f"shoal: warning: {text}", file=sys.stderr)
