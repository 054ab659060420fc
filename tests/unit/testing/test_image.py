"""The images that the demo, the benchmarks and the tests pull."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from shoal.testing import image_debian
from shoal.testing.image import MIB, BuiltImage, build_image, cached_image, random_image


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this a machine without a single Debian package."""
    monkeypatch.setattr(image_debian, "_STATUS", tmp_path / "no-dpkg")


def names(image: BuiltImage, index: int) -> list[str]:
    data = image.blob(image.layers[index].digest).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getnames()


@pytest.mark.usefixtures("no_packages")
def test_it_has_small_layers_beside_large_ones_and_the_size_that_was_asked_for(
    tmp_path: Path,
) -> None:
    image = build_image(tmp_path / "i", size_bytes=6 * MIB, layers=7)
    sizes = [layer.size_bytes for layer in image.layers]
    assert len(sizes) == 7
    assert sum(size < 10_000 for size in sizes) >= 3
    assert image.layer_bytes == pytest.approx(6 * MIB, rel=0.05)


@pytest.mark.usefixtures("no_packages")
def test_it_says_how_much_of_it_stands_in_for_real_files(tmp_path: Path) -> None:
    image = build_image(tmp_path / "i", size_bytes=2 * MIB)
    assert image.generated_bytes == pytest.approx(2 * MIB, rel=0.05)
    assert any("generated" in name for name in names(image, -2))


@pytest.mark.usefixtures("no_packages")
def test_the_seed_changes_it_and_nothing_else_does(tmp_path: Path) -> None:
    first, again, other = (
        build_image(tmp_path / name, size_bytes=MIB, seed=seed)
        for name, seed in (("1", 0), ("2", 0), ("3", 5))
    )
    assert first.manifest_digest == again.manifest_digest != other.manifest_digest
    config = json.loads(other.blob(other.config_digest).read_text())
    assert config["config"]["Cmd"][0] == "/bin/bash"


@pytest.mark.usefixtures("no_packages")
def test_it_is_built_once_for_each_set_of_parameters(tmp_path: Path) -> None:
    first = cached_image(tmp_path, size_bytes=MIB)
    stamp = (first.layout / "index.json").stat().st_mtime_ns
    again = cached_image(tmp_path, size_bytes=MIB)
    assert again == first
    assert (again.layout / "index.json").stat().st_mtime_ns == stamp
    assert cached_image(tmp_path, size_bytes=MIB, seed=1).layout != first.layout
    assert len(list(tmp_path.iterdir())) == 2  # nothing half-built stays
    with pytest.raises(ValueError, match="holds another image"):
        build_image(first.layout, size_bytes=2 * MIB)


@pytest.mark.usefixtures("no_packages")
def test_fewer_than_six_layers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 6"):
        build_image(tmp_path / "i", layers=5)


def test_a_random_image_is_fresh_unless_seeded(tmp_path: Path) -> None:
    sizes = (1, 70_000)
    made = [
        random_image(tmp_path / str(i), layer_bytes=sizes, seed=seed)
        for i, seed in enumerate((None, None, 3, 3))
    ]
    assert made[0].manifest_digest != made[1].manifest_digest
    assert made[2].manifest_digest == made[3].manifest_digest
    for size, layer in zip(sizes, made[0].layers, strict=True):
        assert size < layer.size_bytes < size + 12_000
