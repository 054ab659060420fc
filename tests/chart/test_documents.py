"""Pages, schema and image recipe say what the chart says."""

import json
import re
from pathlib import Path

import yaml

from chart.rendering import CHART
from chart.values_table import BEGIN, END, PAGE, table

ROOT = Path(__file__).parents[2]


def test_the_table_of_values_is_what_the_values_file_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    held = page.split(BEGIN)[1].split(END)[0]
    # To write it anew: PYTHONPATH=tests:src .venv/bin/python -m chart.values_table
    assert held == table()


def test_every_value_says_what_it_means() -> None:
    rows = [row.split(" | ") for row in table().splitlines()[2:]]
    assert [row[0] for row in rows if not row[2].rstrip(" |")] == []


def test_the_parameters_of_the_components_page_are_all_there() -> None:
    for name in (
        *("acrInstances", "registryInstances", "accessKey", "accessKeySecret", "region", "vpcId"),
        *("edgeNodePool.id", "p2p.port", "rrsa.enable", "rrsa.rrsaRoleARN"),
        *("rrsa.rrsaOIDCProviderRoleARN", "rrsa.assumeRoleARN", "rrsa.expireDuration"),
        *("p2p.v2.p2pPort", "p2p.v2.proxyConcurrencyLimit", "p2p.v2.cache.capacity"),
        *("p2p.v2.exporter.enable", "p2p.v2.exporter.port", "p2p.v2.throttleLimitMB"),
    ):
        assert f"| `{name}` |" in table()


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    def compare(known: dict[str, object], given: dict[str, object], at: str) -> None:
        properties = known.get("properties")
        if not isinstance(properties, dict):
            return
        assert set(properties) - {"global", "claims"} >= set(given), at
        if at != "resources" and not at.startswith("resources."):
            assert set(properties) - {"global"} == set(given), at
        for key, value in given.items():
            if isinstance(value, dict):
                compare(properties[key], value, f"{at}.{key}".lstrip("."))

    compare(schema, values, "")


def test_the_image_is_made_from_the_locks_alone_by_hash_and_runs_as_nobody() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^.*pip install.*$", text, re.MULTILINE):
        from_lock = all(word in line for word in ("--require-hashes", "--only-binary=:all:", "-r "))
        assert from_lock or ("--no-index" in line and "--no-deps" in line)
    assert "-r requirements.lock" in text
    last = text.split("\nFROM ")[-1]
    assert "pip install" not in last
    assert "USER 65532:65532" in last
    # All that the recipe copies is there, and none of it is left out of what a builder sees.
    kept = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE)
        for name in line.split()[:-1]
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


def test_the_recipe_finds_the_builder_in_the_lock() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    pattern = re.search(r"re\.search\(r'(.+?)', open", text)
    assert pattern
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    entry = re.search(pattern[1], lock)
    assert entry
    assert len(re.findall(r"^[a-z].*==", entry[0], re.MULTILINE)) == 1
    assert "--hash=sha256:" in entry[0]
