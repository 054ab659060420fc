"""HostService: restarted by systemd on the node, and only a process from before counts as old."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoal.adapters.runtime.host_service import HostService, on_the_node
from shoal.core.errors import ShoalError


def test_it_is_restarted_and_reloaded_by_its_unit() -> None:
    ran: list[list[str]] = []
    service = HostService("containerd", run=lambda command: ran.append([*command]))
    service.restart()
    service.reload()
    assert ran == [["systemctl", "restart", "containerd"], ["systemctl", "reload", "containerd"]]


@pytest.mark.parametrize(("after_boot_s", "is_older"), [(100, True), (400, False)])
def test_a_process_is_old_if_it_began_before_the_change(
    tmp_path: Path, after_boot_s: int, is_older: bool
) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(f"cpu 1\nbtime {int(path.stat().st_ctime) - 300}\n")
    for pid, name in ((7, "containerd"), (8, "containerd-shim (x)")):
        (tmp_path / str(pid)).mkdir()
        began = after_boot_s if name == "containerd" else 1
        fields = " ".join(["S", *["0"] * 18, str(began * ticks), "0"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}\n")
    assert HostService("containerd", proc=tmp_path).is_older_than(path) == is_older
    assert not HostService("crio", proc=tmp_path).is_older_than(path)


def test_the_kernels_own_tables_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        comm = Path(f"/proc/{child.pid}/comm").read_text().strip()
        starts = HostService(comm)._starts()
        assert any(abs(began_s - path.stat().st_ctime) < 60 for began_s in starts)


def test_nothing_runs_where_there_is_no_proc(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("")
    service = HostService("containerd", proc=tmp_path / "none")
    assert not service.is_older_than(tmp_path / "config.toml")


def test_a_command_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "nsenter"
    fake.write_text("#!/bin/sh\necho no such unit >&2\nexit 5\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ShoalError, match="systemctl restart x: no such unit"):
        on_the_node(["systemctl", "restart", "x"])
    fake.write_text("#!/bin/sh\nexit 0\n")
    on_the_node(["systemctl", "restart", "x"])
