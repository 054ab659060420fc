"""ContainerdHosts: install is idempotent, and remove leaves what was there before."""

import os
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.adapters.runtime.atomic_files import backup_of
from shoal.adapters.runtime.containerd_hosts import Action, ContainerdHosts
from shoal.adapters.runtime.hosts_toml import AgentEntry
from shoal.adapters.runtime.registry_name import RegistryName
from shoal.core.errors import SettingsError

HUB = RegistryName("docker.io")
PORTED = RegistryName("r.example.com:5000")
QUAY = RegistryName("quay.io")
ENTRY = AgentEntry("http://127.0.0.1:65001")
OTHER = AgentEntry("http://127.0.0.1:7001")
ADMINS = '# ours\nserver = "https://mirror"\n\n[host."https://near"] # near\n  ca = "x.crt"\n'


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below `root` that a file can be, times of folders apart."""
    facts: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        was = path.lstat()
        owner = (was.st_mode, was.st_uid, was.st_gid)
        if path.is_symlink():
            facts[str(path.relative_to(root))] = (*owner, was.st_mtime_ns, path.readlink())
        elif path.is_dir():
            facts[str(path.relative_to(root))] = owner
        else:
            facts[str(path.relative_to(root))] = (*owner, was.st_mtime_ns, path.read_bytes())
    return facts


@pytest.fixture
def certs_d(tmp_path: Path) -> Path:
    return tmp_path / "containerd" / "certs.d"


def admins(certs_d: Path, name: str = "docker.io", text: str = ADMINS) -> Path:
    path = certs_d / name / "hosts.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o640)
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    return path


def hosts_of(path: Path) -> list[str]:
    return list(tomllib.loads(path.read_text())["host"])


def test_a_registry_nobody_spoke_of_gets_the_agent_first_and_itself_after(certs_d: Path) -> None:
    (outcome,) = ContainerdHosts(certs_d).install([HUB], ENTRY)
    assert outcome.action is Action.CREATED
    assert outcome.path == certs_d / "docker.io" / "hosts.toml"
    assert tomllib.loads(outcome.path.read_text()) == {
        "server": "https://registry-1.docker.io",
        "host": {ENTRY.url: {"capabilities": ["pull", "resolve"], "dial_timeout": "1s"}},
    }


def test_a_second_run_changes_nothing_not_even_times(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    admins(certs_d)
    hosts.install([HUB, QUAY], ENTRY)
    was = tree(certs_d)
    again = hosts.install([HUB, QUAY], ENTRY)
    assert [outcome.action for outcome in again] == [Action.UNCHANGED, Action.UNCHANGED]
    assert tree(certs_d) == was


def test_the_administrators_hosts_stay_after_ours(certs_d: Path) -> None:
    path = admins(certs_d)
    (outcome,) = ContainerdHosts(certs_d).install([HUB], ENTRY)
    assert outcome.action is Action.PREPENDED
    assert hosts_of(path) == [ENTRY.url, "https://near"]
    assert path.stat().st_mode & 0o777 == 0o640
    assert backup_of(path).read_text() == ADMINS


def test_remove_restores_exactly(certs_d: Path) -> None:
    admins(certs_d)
    was = tree(certs_d.parent)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    (outcome,) = hosts.remove()
    assert outcome.action is Action.RESTORED
    assert tree(certs_d.parent) == was


def test_another_port_rewrites_our_entry_only(certs_d: Path) -> None:
    path = admins(certs_d)
    was = tree(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    (outcome,) = hosts.install([HUB], OTHER)
    assert outcome.action is Action.REWRITTEN
    assert hosts_of(path) == [OTHER.url, "https://near"]
    hosts.remove()
    assert tree(certs_d) == was


def test_a_header_makes_the_file_its_owners_only_and_going_back_opens_it(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    secret = AgentEntry(ENTRY.url, headers=(("X-Node", "secret"),))
    (outcome,) = hosts.install([HUB], secret)
    assert outcome.path.stat().st_mode & 0o777 == 0o600
    hosts.install([HUB], ENTRY)
    assert outcome.path.stat().st_mode & 0o777 == 0o644


def test_an_edit_after_install_survives_remove(certs_d: Path) -> None:
    path = admins(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    path.write_text(path.read_text() + "# a late thought\n")
    (outcome,) = hosts.remove()
    assert outcome.action is Action.ENTRY_REMOVED
    assert "edited" in outcome.note
    assert path.read_text() == ADMINS + "# a late thought\n"
    assert list(path.parent.iterdir()) == [path]


def test_an_edit_after_install_survives_install_and_remove(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    (made,) = hosts.install([HUB], ENTRY)
    made.path.write_text('[host."https://now-first"]\n' + made.path.read_text())
    edited = made.path.read_text()
    (outcome,) = hosts.install([HUB], ENTRY)
    assert outcome.action is Action.REWRITTEN
    assert hosts_of(made.path) == [ENTRY.url, "https://now-first"]
    assert hosts.install([HUB], ENTRY)[0].action is Action.UNCHANGED
    (removed,) = hosts.remove()
    assert removed.action is Action.RESTORED
    kept = [line for line in edited.splitlines() if line in made.path.read_text().splitlines()]
    assert made.path.read_text().splitlines() == kept
    assert hosts_of(made.path) == ["https://now-first"]


def test_an_edit_that_changes_no_meaning_is_left_alone(certs_d: Path) -> None:
    path = admins(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    path.write_text(path.read_text() + "# a late thought\n")
    was = tree(certs_d)
    assert hosts.install([HUB], ENTRY)[0].action is Action.UNCHANGED
    assert tree(certs_d) == was


def test_a_file_that_was_replaced_after_install_is_left_alone(certs_d: Path) -> None:
    path = admins(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    path.unlink()
    admins(certs_d, text="# another tool's\n")
    (outcome,) = hosts.remove()
    assert outcome.action is Action.ABSENT
    assert path.read_text() == "# another tool's\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_was_replaced_after_install_is_the_new_original(certs_d: Path) -> None:
    path = admins(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    path.unlink()
    admins(certs_d, text="# another tool's\n")
    was = tree(certs_d).pop("docker.io/hosts.toml")
    hosts.install([HUB], ENTRY)
    hosts.remove()
    assert tree(certs_d)["docker.io/hosts.toml"] == was


def test_a_file_that_was_deleted_after_install_is_again_the_original(certs_d: Path) -> None:
    path = admins(certs_d)
    was = tree(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    path.unlink()
    assert hosts.remove()[0].action is Action.RESTORED
    assert tree(certs_d) == was


def test_a_lost_backup_costs_nothing_but_exactness(certs_d: Path) -> None:
    path = admins(certs_d)
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    backup_of(path).unlink()
    assert hosts.install([HUB], ENTRY)[0].action is Action.UNCHANGED
    assert hosts.install([HUB], OTHER)[0].action is Action.REWRITTEN
    assert hosts.remove()[0].action is Action.ENTRY_REMOVED
    assert path.read_text() == ADMINS


def test_bad_toml_stops_everything_before_the_first_change(certs_d: Path) -> None:
    admins(certs_d, "quay.io", "server = \n")
    was = tree(certs_d.parent)
    with pytest.raises(SettingsError, match=r"quay.io/hosts.toml:1: not valid TOML"):
        ContainerdHosts(certs_d).install([HUB, QUAY], ENTRY)
    assert tree(certs_d.parent) == was


def test_what_default_says_is_carried_into_a_folder_that_hides_it(certs_d: Path) -> None:
    admins(certs_d, "_default")
    hosts = ContainerdHosts(certs_d)
    (outcome,) = hosts.install([QUAY], ENTRY)
    assert hosts_of(outcome.path) == [ENTRY.url, "https://near"]
    assert f"# From {certs_d}/_default/hosts.toml" in outcome.path.read_text()
    assert f'ca = "{certs_d}/_default/x.crt"' in outcome.path.read_text()
    admins(certs_d, "_default", '[host."https://moved"]\n')
    assert hosts.install([QUAY], ENTRY)[0].action is Action.REWRITTEN
    assert hosts_of(outcome.path) == [ENTRY.url, "https://moved"]


def test_default_itself_can_have_the_agent_and_does_not_hand_it_on_twice(certs_d: Path) -> None:
    default = RegistryName("_default")
    hosts = ContainerdHosts(certs_d)
    first, second = hosts.install([default], ENTRY) + hosts.install([QUAY], ENTRY)
    assert "server" not in first.path.read_text()
    assert hosts_of(second.path) == [ENTRY.url]
    hosts.remove()
    assert not certs_d.exists()


def test_certificates_of_a_later_root_stay_in_force(certs_d: Path, tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    (docker / "quay.io").mkdir(parents=True)
    (docker / "quay.io" / "ca.crt").write_text("")
    (outcome,) = ContainerdHosts(certs_d, roots=[certs_d, docker]).install([QUAY], ENTRY)
    read = tomllib.loads(outcome.path.read_text())
    assert read["ca"] == [f"{docker}/quay.io/ca.crt"]
    assert read["server"] == "https://quay.io"


@pytest.mark.parametrize("name", ["r.example.com_5000_", "r.example.com:5000"])
def test_the_folder_that_containerd_reads_is_used_however_its_port_is_spelled(
    certs_d: Path, name: str
) -> None:
    path = admins(certs_d, name)
    hosts = ContainerdHosts(certs_d)
    assert hosts.install([PORTED], ENTRY)[0].path == path
    assert hosts.managed() == [PORTED]
    assert hosts.status(PORTED).comes_first


def test_an_entry_in_a_folder_that_is_hidden_since_is_removed_too(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    hosts.install([PORTED], ENTRY)
    hidden_by = admins(certs_d, "r.example.com_5000_")
    assert hosts.remove()[0].action is Action.REMOVED
    assert [path.name for path in certs_d.iterdir()] == [hidden_by.parent.name]


def test_the_last_to_go_takes_the_folders_that_the_first_made(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    hosts.install([HUB], ENTRY)
    hosts.install([QUAY], ENTRY)
    hosts.remove([HUB])
    assert certs_d.exists()
    hosts.remove([QUAY])
    assert not certs_d.parent.exists()


def test_what_somebody_put_beside_our_file_keeps_the_folder(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    (outcome,) = hosts.install([HUB], ENTRY)
    (outcome.path.parent / "ca.crt").write_text("")
    hosts.remove()
    assert list(tree(certs_d)) == ["docker.io", "docker.io/ca.crt"]


def test_removing_where_nothing_is_changes_nothing(certs_d: Path) -> None:
    assert ContainerdHosts(certs_d).remove([HUB])[0].action is Action.ABSENT
    assert ContainerdHosts(certs_d).remove() == []
    assert not certs_d.parent.exists()


def test_status_tells_where_the_entry_points_and_whether_it_is_read(certs_d: Path) -> None:
    hosts = ContainerdHosts(certs_d)
    assert hosts.status(HUB).agent_url is None
    (outcome,) = hosts.install([HUB], ENTRY)
    assert hosts.status(HUB).agent_url == ENTRY.url
    outcome.path.write_text('[host."https://x"]\n' + outcome.path.read_text())
    assert not hosts.status(HUB).comes_first
    earlier = certs_d.with_name("earlier")
    (earlier / "docker.io").mkdir(parents=True)
    shadowed = ContainerdHosts(certs_d, roots=[earlier, certs_d]).status(HUB)
    assert shadowed.shadowed_by == earlier / "docker.io"


# Any tree an administrator may have, and any order of installs.

TEXTS = st.sampled_from(
    [
        b"",
        b"# only words",
        b'server = "https://a"\r\n[host."https://b"]\r\n',
        ADMINS.encode(),
        b'[host]\n[host.c]\nclient = "c.pem"',
        b"[header]\nk = 'v'\n",
        b"broken = \n",
        b"\xff",
    ]
)


@dataclass(frozen=True)
class Node:
    """A file, a link to a file elsewhere (None: a dangling one), or nothing."""

    text: bytes | None
    link: bool
    mode: int
    mtime_ns: int


NODES = st.builds(
    Node,
    text=st.none() | TEXTS,
    link=st.booleans(),
    mode=st.sampled_from([0o600, 0o644, 0o444, 0o755]),
    mtime_ns=st.integers(0, 2**61),
)
FOLDERS = st.sampled_from(
    ["docker.io", "r.example.com:5000", "r.example.com_5000_", "_default", "quay.io", "other.org"]
)
FILES = st.sampled_from(["hosts.toml", "ca.crt", "me.cert", "me.key", "notes"])
TREES = st.dictionaries(FOLDERS, st.dictionaries(FILES, NODES, max_size=3), max_size=5)


def plant(certs_d: Path, folders: dict[str, dict[str, Node]]) -> None:
    for folder, files in folders.items():
        (certs_d / folder).mkdir(parents=True)
        for name, node in files.items():
            path = certs_d / folder / name
            if node.link:
                target = certs_d.parent / f"{folder} {name}"
                path.symlink_to(target)
                path = target
            if node.text is not None:
                path.write_bytes(node.text)
                path.chmod(node.mode)
                os.utime(path, ns=(node.mtime_ns, node.mtime_ns))


@settings(max_examples=60, deadline=None)
@given(
    folders=TREES,
    runs=st.lists(
        st.tuples(
            st.lists(st.sampled_from([HUB, PORTED, QUAY, RegistryName("_default")]), min_size=1),
            st.sampled_from([ENTRY, OTHER, AgentEntry(ENTRY.url, headers=(("K", "v"),))]),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_any_tree_is_what_it_was_after_any_installs_and_one_remove(
    folders: dict[str, dict[str, Node]], runs: list[tuple[list[RegistryName], AgentEntry]]
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        certs_d = root / "containerd" / "certs.d"
        if folders:
            certs_d.mkdir(parents=True)
        plant(certs_d, folders)
        was = tree(root)
        hosts = ContainerdHosts(certs_d)
        for registries, entry in runs:
            before = tree(root)
            try:
                hosts.install(dict.fromkeys(registries), entry)
            except SettingsError:
                assert tree(root) == before
                continue
            after = tree(root)
            again = hosts.install(dict.fromkeys(registries), entry)
            assert {outcome.action for outcome in again} == {Action.UNCHANGED}
            assert tree(root) == after
            assert all(hosts.status(name).comes_first for name in registries)
        hosts.remove()
        assert tree(root) == was
    finally:
        shutil.rmtree(root)
