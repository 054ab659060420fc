"""The P2P Acceleration switch: what is refused, what is counted, what clusters are told."""

from dataclasses import replace

import pytest

from shoal.core.console.models import Component, Edition, Instance, InstanceStatus
from shoal.core.console.switch import (
    SILENT_AFTER_S,
    ComponentState,
    SwitchRefused,
    component_state,
    may_accelerate,
    switch_off,
    switch_on,
    what_forcing_breaks,
)

OFF = Instance(
    id="cri-a1b2c3d4",
    account="1",
    name="team",
    region="cn-hangzhou",
    edition=Edition.STANDARD,
    status=InstanceStatus.RUNNING,
    registry_url="https://registry.example.com",
    p2p_enabled=False,
    p2p_generation=0,
    p2p_changed_at=None,
    created_at=0,
    modified_at=0,
)
ON = replace(OFF, p2p_enabled=True, p2p_generation=1)
COMPONENT = Component(
    cluster_id="c1",
    instance_id=OFF.id,
    version="0.4.0",
    method="rrsa",
    p2p_generation=1,
    installed_at=0,
    reported_at=100,
)


@pytest.mark.parametrize("edition", [Edition.STANDARD, Edition.ADVANCED])
def test_standard_and_advanced_can_be_switched_on(edition: Edition) -> None:
    switched = switch_on(replace(OFF, edition=edition), confirmed=True)
    assert (switched.enabled, switched.generation) == (True, 1)


def test_basic_is_refused_also_when_confirmed() -> None:
    with pytest.raises(SwitchRefused, match="takes Standard or Advanced") as refused:
        switch_on(replace(OFF, edition=Edition.BASIC), confirmed=True)
    assert refused.value.code == "EDITION_NOT_SUPPORTED"


def test_an_instance_that_does_not_run_is_refused() -> None:
    with pytest.raises(SwitchRefused, match="RUNNING"):
        switch_on(replace(OFF, status=InstanceStatus.STARTING), confirmed=True)


def test_both_ways_ask_for_confirmation() -> None:
    with pytest.raises(SwitchRefused, match="on has to be confirmed"):
        switch_on(OFF, confirmed=False)
    for components, forced in (([], False), ([COMPONENT], True)):
        with pytest.raises(SwitchRefused, match="off has to be confirmed") as refused:
            switch_off(ON, components, {}, confirmed=False, forced=forced)
        assert refused.value.code == "CONFIRMATION_REQUIRED"


def test_switching_to_where_it_is_changes_nothing() -> None:
    assert switch_on(ON, confirmed=False).generation == ON.p2p_generation
    assert not switch_off(OFF, [COMPONENT], {}, confirmed=False).enabled


def test_switching_off_names_the_clusters_that_still_run_the_component() -> None:
    with pytest.raises(SwitchRefused, match=r"edge-factory \(c1\)") as refused:
        switch_off(ON, [COMPONENT], {"c1": "edge-factory"}, confirmed=True)
    assert refused.value.clusters == ("c1",)


def test_forcing_switches_off_and_says_what_breaks() -> None:
    assert not switch_off(ON, [COMPONENT], {}, confirmed=True, forced=True).enabled
    told = " ".join(what_forcing_breaks([COMPONENT]))
    assert "1 cluster" in told
    assert "60 s" in told
    assert "reinstalled" in told


def test_after_off_and_on_a_component_has_to_be_reinstalled() -> None:
    off = replace(ON, p2p_enabled=False)
    again = replace(ON, p2p_generation=switch_on(off, confirmed=True).generation)
    assert component_state(COMPONENT, off, now_s=100) is ComponentState.PASSING_THROUGH
    assert component_state(COMPONENT, again, now_s=100) is ComponentState.REINSTALL
    assert not may_accelerate(again, COMPONENT)
    assert may_accelerate(again, replace(COMPONENT, p2p_generation=2))


def test_a_component_that_says_nothing_for_long_is_shown_as_silent() -> None:
    assert component_state(COMPONENT, ON, now_s=100) is ComponentState.ACCELERATING
    late = 101 + SILENT_AFTER_S
    assert component_state(COMPONENT, ON, now_s=late) is ComponentState.SILENT


def test_a_cluster_that_is_new_goes_by_the_switch() -> None:
    assert may_accelerate(ON, None)
    assert not may_accelerate(OFF, None)
