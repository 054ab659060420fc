"""What sentences are filled in with."""

from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.console.chart_values import Method


def test_an_attempt_has_what_the_settings_have() -> None:
    settings = CloudSettings(
        method=Method.RRSA, region="cn-hangzhou", role_arn="a", assume_role_arn="b", expire_s=3600
    )
    attempt = settings.attempt()
    assert (attempt.method, attempt.region) == (Method.RRSA, "cn-hangzhou")
    assert (attempt.role_arn, attempt.assume_role_arn, attempt.expire_s) == ("a", "b", 3600)
