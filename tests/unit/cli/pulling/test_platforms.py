"""Which entry of an index a machine gets."""

import platform

import pytest

from shoal.cli.pulling.platforms import choose, fitness, parse_platform, this_platform
from shoal.core.digest import Digest
from shoal.core.errors import BadInput
from shoal.core.oci.manifests import Descriptor, Platform


def entry(number: int, text: str | None) -> Descriptor:
    words = [] if text is None else text.split("/")
    offered = Platform(*words) if words else None
    return Descriptor("m", Digest("sha256", f"{number:064x}"), 1, platform=offered)


def chosen(wanted: str, *offered: str | None) -> int | None:
    entries = [entry(i, text) for i, text in enumerate(offered)]
    found = choose(entries, parse_platform(wanted))
    return None if found is None else int(found.digest.hex, 16)


@pytest.mark.parametrize(
    ("wanted", "offered", "index"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/arm64/v8"], 0),
        ("linux/arm64/v8", ["linux/arm64"], 0),
        ("linux/arm64", ["linux/arm/v7"], None),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/arm/v6", ["linux/arm/v7"], None),
        ("linux/arm", ["linux/arm/v6", "linux/arm/v7"], 1),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], 1),
        ("linux/amd64", ["linux/amd64/v2"], None),
        ("linux/riscv64", ["linux/riscv64"], 0),
        ("linux/amd64", ["unknown/unknown", None, "windows/amd64"], None),
        ("windows/amd64", ["linux/amd64", "windows/amd64", "windows/amd64"], 1),
        ("linux/x86_64", ["linux/amd64"], 0),
        ("Linux/aarch64", ["linux/arm64/v8"], 0),
    ],
)
def test_the_best_entry_that_runs_there_is_taken(
    wanted: str, offered: list[str | None], index: int | None
) -> None:
    assert chosen(wanted, *offered) == index


def test_an_unheard_of_variant_fits_itself_only() -> None:
    mine = Platform("linux", "sparc", "x")
    assert fitness(mine, mine) == 0
    assert fitness(Platform("linux", "sparc", "y"), mine) is None


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/ä", "l/\n"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="not a platform"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("machine", "text"), [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64/v8"), ("vax", "")]
)
def test_this_machine_runs_linux_containers(
    monkeypatch: pytest.MonkeyPatch, machine: str, text: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert str(this_platform()) == (text or "linux/vax")
