"""Which limit holds for what."""

import asyncio

from shoal.agent.limits import Limits, RegistryPace
from shoal.agent.settings import LimitsSettings


def limits(**settings: object) -> Limits:
    made = Limits()
    made.apply(LimitsSettings.model_validate(settings))
    return made


async def test_without_settings_there_is_no_limit() -> None:
    made = limits()
    pace = RegistryPace(made)
    assert pace.rate_bytes_per_s is None
    await pace.take("a", 10**12)


async def test_a_registry_has_to_keep_to_the_lower_of_two_rates() -> None:
    made = limits(download_bytes_per_s="1MB/s", registry_bytes_per_s="2MB/s")
    pace = RegistryPace(made)
    assert pace.rate_bytes_per_s == 1_000_000
    made.apply(LimitsSettings.model_validate({"registry_bytes_per_s": "2MB/s"}))
    assert pace.rate_bytes_per_s == 2_000_000
    assert made.upload.rate_bytes_per_s is None
    made.stop()


async def test_what_a_registry_sends_counts_for_both() -> None:
    made = limits(download_bytes_per_s="1MB/s", registry_bytes_per_s="2MB/s")
    await RegistryPace(made).take("a", 10**9)
    for throttle in (made.registry, made.download):
        waiting = asyncio.ensure_future(throttle.take("b", 1))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
    made.stop()
