"""How the SDKs are pointed at an endpoint, and what of their errors is kept."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from shoal.adapters.cloud import sdk
from shoal.adapters.cloud.credentials import Credentials
from shoal.adapters.cloud.settings import CloudSettings
from shoal.core.cloud.failures import Stage
from shoal.core.console.chart_values import Method

SETTINGS = CloudSettings(method=Method.ACCESS_KEY, region="cn-hangzhou")


def test_endpoints_are_named_as_the_cloud_names_them() -> None:
    assert sdk.address_of(SETTINGS, sdk.REGISTRY) == ("https", "cr.cn-hangzhou.aliyuncs.com")
    assert sdk.address_of(SETTINGS, sdk.STS) == ("https", "sts.cn-hangzhou.aliyuncs.com")
    private = replace(SETTINGS, private_network=True)
    assert sdk.address_of(private, sdk.REGISTRY)[1] == "cr-vpc.cn-hangzhou.aliyuncs.com"
    assert sdk.address_of(replace(SETTINGS, region=""), sdk.STS)[1] == "sts.aliyuncs.com"
    console = replace(SETTINGS, endpoint="http://127.0.0.1:8420/")
    assert sdk.address_of(console, sdk.STS) == ("http", "127.0.0.1:8420")


async def test_a_call_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "CALL_TIMEOUT_S", 0.01)

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(sdk.CallFailed) as refused:
        await sdk.call(Stage.REGISTRY, "GetInstance", "cr", forever)
    assert (refused.value.failure.code, refused.value.failure.target) == ("", "cr")


async def test_an_error_of_ours_is_not_taken_for_the_clouds() -> None:
    async def wrong() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await sdk.call(Stage.REGISTRY, "GetInstance", "cr", wrong)


async def test_certificates_are_checked(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        settings = replace(SETTINGS, endpoint=f"https://127.0.0.1:{port}")
        client = sdk.registry_client(settings, Credentials(key_id="k", secret="s"))
        from alibabacloud_cr20181201 import models

        ask = models.GetInstanceRequest(instance_id="cri-x")
        with pytest.raises(sdk.CallFailed) as refused:
            await sdk.call(
                Stage.REGISTRY,
                "GetInstance",
                "cr",
                lambda: client.get_instance_with_options_async(ask, sdk.runtime_options()),
            )
    assert refused.value.failure.code == ""
    assert refused.value.__cause__ is None
