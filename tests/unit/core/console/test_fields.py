"""What people may type: taken clean, or refused with what was expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.console import fields
from shoal.core.console.fields import Check
from shoal.core.errors import BadInput

GOOD = [
    (fields.instance_name, "team-1", "team-1"),
    (fields.region, "cn-hangzhou", "cn-hangzhou"),
    (fields.region, "cn-beijing-finance-1", "cn-beijing-finance-1"),
    (fields.vpc_id, "vpc-bp1ABC", "vpc-bp1ABC"),
    (fields.pool_id, "np8b6aaa89e93a44b5b54180898247", "np8b6aaa89e93a44b5b54180898247"),
    (fields.version, "v1.26.3-aliyun.1", "v1.26.3-aliyun.1"),
    (fields.arn, "acs:ram::1:oidc-provider/ack-rrsa-c1", "acs:ram::1:oidc-provider/ack-rrsa-c1"),
    (fields.address, "::0001", "::1"),
    (fields.cidrs, "10.0.0.0/8, 192.168.0.0/16", "10.0.0.0/8\n192.168.0.0/16"),
    (fields.cidrs, "", ""),
    (fields.domains, "a.example.com a.example.com b.io:5000", "a.example.com\nb.io:5000"),
    (fields.registry_url, "https://r.example.com:5000/", "https://r.example.com:5000"),
    (fields.issuer, "https://oidc.example.com/c1", "https://oidc.example.com/c1"),
    (fields.port, "065001", "65001"),
    (fields.line, "any text: <b>", "any text: <b>"),
    (fields.key_set, '{"keys": []}', '{"keys": []}'),
    (fields.key_set, "", ""),
    (fields.edition, "Enterprise_Basic", "Enterprise_Basic"),
    (fields.optional(fields.region), "", ""),
]  # fmt: skip
BAD = [
    (fields.instance_name, "-team"),
    (fields.instance_name, "Team"),
    (fields.region, "hangzhou"),
    (fields.vpc_id, "bp1"),
    (fields.pool_id, "line-1"),
    (fields.version, "1.28"),
    (fields.arn, "acs:ram::x:role/a"),
    (fields.address, "10.0.0.0/8"),
    (fields.cidrs, "10.0.0.1/8"),
    (fields.domains, ""),
    (fields.domains, "nodots"),
    (fields.registry_url, "https://user:secret@r.example.com"),
    (fields.registry_url, "https://r.example.com/path"),
    (fields.registry_url, "file:///etc"),
    (fields.registry_url, "https://[::1"),
    (fields.registry_url, "https://r.example.com:99999"),
    (fields.issuer, "https://oidc.example.com/?q"),
    (fields.port, "0"),
    (fields.port, "65536"),
    (fields.port, "²"),
    (fields.line, "two\nlines"),
    (fields.key_set, "[]"),
    (fields.edition, "Gold"),
]


@pytest.mark.parametrize(("check", "text", "clean"), GOOD)
def test_good_fields_are_taken_clean(check: Check, text: str, clean: str) -> None:
    assert check(text) == clean


@pytest.mark.parametrize(("check", "text"), BAD)
def test_bad_fields_are_refused(check: Check, text: str) -> None:
    with pytest.raises(BadInput):
        check(text)


@given(text=st.text(max_size=80))
def test_no_text_breaks_a_check_or_brings_a_quote_into_the_values(text: str) -> None:
    for check in {check for check, *_ in GOOD}:
        try:
            clean = check(text)
        except BadInput:
            continue
        if check not in (fields.line, fields.key_set, fields.issuer, fields.registry_url):
            assert '"' not in clean
            assert "\\" not in clean


def test_versions_are_compared_by_their_numbers() -> None:
    assert fields.version_numbers("v1.26.3-aliyun.1") == (1, 26, 3)
    assert fields.version_numbers("1.9.0") < fields.version_numbers("1.26.3")
    with pytest.raises(BadInput):
        fields.version_numbers("one")
