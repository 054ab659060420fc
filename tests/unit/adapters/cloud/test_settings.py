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


def test_variables_name_who_is_asked_instead_of_the_cloud() -> None:
    settings = CloudSettings(method=Method.WORKER_ROLE, region="r")
    assert settings.asked_at({}) == settings
    console = settings.asked_at(
        {
            "SHOAL_CLOUD_ENDPOINT": "https://console:8420",
            "SHOAL_CLOUD_CA_FILE": "/etc/ca.crt",
            "SHOAL_CLOUD_METADATA": "http://node:8421",
            "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED": "true",
        }
    )
    assert (console.endpoint, str(console.ca_file)) == ("https://console:8420", "/etc/ca.crt")
    assert (console.metadata_proxy, console.private_network) == ("http://node:8421", True)
    assert console.region == "r"
