"""Settings files: YAML with lines, and nothing twice."""

from pathlib import Path

import pytest

from shoal.agent import settings_file
from shoal.agent.settings_file import read_settings_file
from shoal.core.errors import SettingsError


def _file(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "agent.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_every_key_knows_its_line(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "front:\n  port: 1\n\nregistries:\n  - name: a\n    url: b\n  - name: c\n"
    )
    content = read_settings_file(path)
    assert content.values["front"] == {"port": 1}
    assert content.lines["front.port"] == 2
    assert content.lines["registries[0].url"] == 6
    assert content.lines["registries[1]"] == 7


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_settings_file(_file(tmp_path, text)).values == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "front: {port: 1}\nfront: {port: 2}\n",
            "key 'front' stands twice, the second time in line 2",
        ),
        ("front:\n\tport: 1\n", "line 2, column 1"),
        ("- front\n", "must be a mapping"),
        ("front: [\n", "line 2"),
        ("a: !!python/object/apply:os.system [id]\n", "could not determine a constructor"),
        (b"\xff\xfe\xff", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("a: 1\n? [b]\n: 2\n", "line 2: a key must be a word"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_with_the_place(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(SettingsError, match=r"agent\.yaml") as caught:
        read_settings_file(_file(tmp_path, text))
    assert message in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"agent\.yaml: No such file"):
        read_settings_file(tmp_path / "agent.yaml")


def test_a_file_too_large_to_be_settings_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_file, "MAX_FILE_BYTES", 10)
    with pytest.raises(SettingsError, match="larger than 10 bytes"):
        read_settings_file(_file(tmp_path, "a: 123456789\n"))


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(SettingsError, match="more than 50000 values"):
        read_settings_file(_file(tmp_path, "\n".join(rows)))
