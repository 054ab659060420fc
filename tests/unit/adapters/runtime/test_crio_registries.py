"""CrioRegistries: the agent is the first mirror, and what was in force stays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.runtime.crio_registries import CrioRegistries, Mirrored
from shoal.core.errors import SettingsError, ShoalError
from unit.adapters.runtime.test_containerd_hosts import tree

HUB = Mirrored("docker.io", "docker.io", "127.0.0.1:65001/docker.io")
PLAIN = Mirrored("r.example.com", "r.example.com", "127.0.0.1:65001", insecure=True)
AGENT = {"location": "127.0.0.1:65001/docker.io", "insecure": True}


def _read(registries: CrioRegistries) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = tomllib.loads(registries.path.read_text())["registry"]
    return tables


def test_a_registry_nobody_spoke_of_is_asked_after_the_agent(tmp_path: Path) -> None:
    registries = CrioRegistries(tmp_path)
    written = registries.install([HUB, PLAIN])
    assert written.changed
    assert _read(registries) == [
        {"prefix": "docker.io", "location": "docker.io", "mirror": [AGENT]},
        {
            "prefix": "r.example.com",
            "location": "r.example.com",
            "insecure": True,
            "mirror": [{"location": "127.0.0.1:65001", "insecure": True}],
        },
    ]


def test_a_second_run_changes_nothing_not_even_times(tmp_path: Path) -> None:
    registries = CrioRegistries(tmp_path)
    registries.install([HUB])
    before = tree(tmp_path)
    assert not registries.install([HUB]).changed
    assert tree(tmp_path) == before


def test_another_list_of_registries_replaces_the_first(tmp_path: Path) -> None:
    registries = CrioRegistries(tmp_path)
    registries.install([HUB])
    assert registries.install([PLAIN]).changed
    assert [table["prefix"] for table in _read(registries)] == ["r.example.com"]
    assert registries.install([]).changed
    registries.remove()
    assert tree(tmp_path) == {}


def test_what_the_administrator_says_of_a_registry_stays_in_force(tmp_path: Path) -> None:
    (tmp_path / "registries.conf").write_text(
        "[[registry]]\nlocation = 'docker.io'\nmirror-by-digest-only = true\n"
        "[[registry.mirror]]\nlocation = 'near.example.com'\n"
    )
    before = tree(tmp_path)
    registries = CrioRegistries(tmp_path)
    registries.install([HUB])
    assert _read(registries) == [
        {
            "prefix": "docker.io",
            "location": "docker.io",
            "mirror-by-digest-only": True,
            "mirror": [AGENT, {"location": "near.example.com"}],
        }
    ]
    assert registries.remove() == f"removed {registries.path}"
    assert tree(tmp_path) == before


def test_a_registry_that_is_blocked_stays_blocked(tmp_path: Path) -> None:
    (tmp_path / "registries.conf.d").mkdir()
    (tmp_path / "registries.conf.d" / "block.conf").write_text(
        "[[registry]]\nprefix = 'docker.io'\nblocked = true\n"
    )
    written = CrioRegistries(tmp_path).install([HUB, PLAIN])
    assert written.refused == (("docker.io", "the administrator has blocked it"),)


def test_a_file_that_is_read_later_is_named(tmp_path: Path) -> None:
    (tmp_path / "registries.conf.d").mkdir()
    later = tmp_path / "registries.conf.d" / "zzz.conf"
    later.write_text("[[registry]]\nprefix = 'docker.io'\nlocation = 'docker.io'\n")
    ((prefix, reason),) = CrioRegistries(tmp_path).install([HUB]).refused
    assert prefix == "docker.io"
    assert str(later) in reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registries.search]\nregistries = ['docker.io']\n", "first version"),
        ("[[registry]\n", "not valid TOML"),
        ("registry = 3\n", "no list of tables"),
    ],
)
def test_a_file_that_cannot_be_read_stops_it_before_the_first_change(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "registries.conf").write_text(text)
    before = tree(tmp_path)
    with pytest.raises(SettingsError, match=message):
        CrioRegistries(tmp_path).install([HUB])
    assert tree(tmp_path) == before


def test_an_edit_of_our_file_is_left_alone_and_kept_at_the_end(tmp_path: Path) -> None:
    registries = CrioRegistries(tmp_path)
    registries.install([HUB])
    edited = registries.path.read_text() + "# theirs\n"
    registries.path.write_text(edited)
    with pytest.raises(ShoalError, match="was changed since"):
        registries.install([HUB, PLAIN])
    assert "had been changed" in registries.remove()
    (kept,) = registries.path.parent.iterdir()
    assert (kept.name, kept.read_text()) == ("zz-shoal.conf.edited", edited)


def test_removing_where_nothing_is_changes_nothing(tmp_path: Path) -> None:
    assert CrioRegistries(tmp_path / "none").remove() == ""
    assert tree(tmp_path) == {}
