"""Fault rules: whom they befall, and how often."""

from shoal.core.digest import Digest
from shoal.testing.registry_faults import Answer, FaultRule

DIGEST = Digest("sha256", "0" * 64)


def test_a_rule_without_conditions_befalls_everything() -> None:
    rule = FaultRule(Answer(500))
    assert rule.befalls("blobs", DIGEST, "GET")
    assert rule.befalls("ping", None, "HEAD")
    assert rule.befallen == 2


def test_every_condition_must_hold() -> None:
    rule = FaultRule(Answer(500), route="blobs", digest=DIGEST, method="GET")
    assert rule.befalls("blobs", DIGEST, "GET")
    assert not rule.befalls("storage", DIGEST, "GET")
    assert not rule.befalls("blobs", None, "GET")
    assert not rule.befalls("blobs", DIGEST, "HEAD")


def test_some_are_skipped_and_then_some_befallen() -> None:
    rule = FaultRule(Answer(500), skip=1, times=2)
    befallen = [rule.befalls("blobs", DIGEST, "GET") for _ in range(5)]
    assert befallen == [False, True, True, False, False]
