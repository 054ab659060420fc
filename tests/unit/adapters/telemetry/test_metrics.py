"""The metrics: what is declared is what a scrape gives."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from shoal.adapters.telemetry.metrics import Levels, Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), version="1.2.3")


def _scrape(metrics: Metrics) -> dict[str, float]:
    text = generate_latest(metrics.registry).decode()
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_that_is_scraped_is_declared_and_the_other_way_round(metrics: Metrics) -> None:
    text = generate_latest(metrics.registry).decode()
    scraped = set(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert scraped == {(metric.name, metric.kind) for metric in metrics.declared}


def test_names_follow_the_one_form(metrics: Metrics) -> None:
    for metric in metrics.declared:
        assert re.fullmatch(r"(shoal|process)_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help


def test_no_label_can_grow_without_bound(metrics: Metrics) -> None:
    labels = {label for metric in metrics.declared for label in metric.labels}
    known = {"route", "status", "cause", "source", "result", "kind", "reason", "version", "python"}
    assert labels == known


def test_levels_are_read_at_each_scrape(metrics: Metrics) -> None:
    levels = Levels(members=3, leases_granted=2)
    metrics.read_levels_from(lambda: levels)
    assert _scrape(metrics)["shoal_members[]"] == 3
    assert _scrape(metrics)["shoal_leases_granted_total[]"] == 2
    levels = Levels(members=4)
    assert _scrape(metrics)["shoal_members[]"] == 4


def test_a_counter_begins_at_zero_for_every_known_label(metrics: Metrics) -> None:
    scraped = _scrape(metrics)
    assert scraped["shoal_origin_bytes_total[('kind', 'blob')]"] == 0
    assert scraped["shoal_pieces_failed_total[('reason', 'hash')]"] == 0


def test_two_agents_in_one_process_count_apart(metrics: Metrics) -> None:
    other = Metrics(CollectorRegistry())
    metrics.peer_sent_bytes.inc(5)
    assert _scrape(other)["shoal_peer_sent_bytes_total[]"] == 0


def test_the_versions_and_the_anonymous_memory_are_told(metrics: Metrics) -> None:
    scraped = _scrape(metrics)
    assert any("('version', '1.2.3')" in name for name in scraped)
    assert scraped["shoal_process_anonymous_bytes[]"] > 1_000_000
