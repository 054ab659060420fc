"""From answers to domains."""

from hypothesis import given
from hypothesis import strategies as st

from shoal.core.cloud.failures import Attempt, Mistake
from shoal.core.cloud.lookup import (
    UNKNOWN_SWITCH,
    Answers,
    Described,
    Switch,
    VpcEndpoint,
    Way,
    advice_on,
    domains_of,
    may_share,
)
from shoal.core.console.chart_values import Method

VPC_DOMAIN = "t-registry-vpc.cn-hangzhou.cr.aliyuncs.com"
OPEN = "t-registry.cn-hangzhou.cr.aliyuncs.com"
ON = Switch(enabled=True)
ATTEMPT = Attempt(method=Method.ACCESS_KEY, instance_id="cri-x", vpc_id="vpc-1")


def answers(
    *,
    vpc: bool = True,
    domains: tuple[str, ...] = (VPC_DOMAIN,),
    ways: tuple[Way, ...] = (),
    links: tuple[tuple[str, str], ...] = (("vpc-1", "RUNNING"),),
    switch: Switch = ON,
    edition: str = "Enterprise_Standard",
) -> Answers:
    """Return what an instance that is all right answers, but for what is given."""
    return Answers(
        instance_id="cri-x",
        described=Described(name="t", edition=edition, status="RUNNING"),
        switch=switch,
        vpc=VpcEndpoint(enabled=vpc, domains=domains, links=links),
        ways=ways,
    )


def test_domains_come_from_every_endpoint_that_is_on() -> None:
    ways = (
        Way(kind="vpc", enabled=True, domains=(VPC_DOMAIN, "images.example.com")),
        Way(kind="internet", enabled=True, domains=(OPEN,)),
    )
    found = domains_of(answers(ways=ways))
    assert [(one.name, one.why) for one in found] == [
        (VPC_DOMAIN, "VPC endpoint of cri-x"),
        ("images.example.com", "VPC endpoint of cri-x"),
        (OPEN, "internet endpoint of cri-x"),
    ]


def test_an_endpoint_that_is_off_has_no_domains() -> None:
    ways = (
        Way(kind="vpc", enabled=True, domains=(VPC_DOMAIN,)),
        Way(kind="internet", enabled=False, domains=(OPEN,)),
    )
    assert domains_of(answers(vpc=False, ways=ways)) == ()


@given(st.lists(st.text(max_size=60), max_size=5))
def test_what_is_no_domain_never_gets_into_settings(names: list[str]) -> None:
    for one in domains_of(answers(domains=tuple(names))):
        assert one.name == one.name.lower()
        assert set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-:")


def test_an_instance_that_is_all_right_has_no_advice() -> None:
    assert advice_on(answers(), ATTEMPT) == ()


def test_what_blocks_stands_first() -> None:
    found = advice_on(answers(switch=UNKNOWN_SWITCH, links=()), ATTEMPT)
    assert [one.mistake for one in found] == [Mistake.VPC_NOT_LINKED, Mistake.SWITCH_UNKNOWN]
    assert [one.blocks for one in found] == [True, False]


def test_an_edition_that_nobody_knows_is_not_taken_for_enough() -> None:
    (found,) = advice_on(answers(edition="Enterprise_Basic"), ATTEMPT)
    assert found.mistake is Mistake.EDITION_TOO_LOW
    assert "is Basic edition" in found.sentence


def test_agents_may_share_unless_a_switch_is_known_to_be_off() -> None:
    assert may_share([Switch(enabled=True), UNKNOWN_SWITCH])
    assert may_share([])
    assert not may_share([Switch(enabled=True), Switch(enabled=False)])
