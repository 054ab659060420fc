"""One refresher for all users: when it fetches, and what it does where it cannot."""

import asyncio

import pytest

from shoal.adapters.cloud.credentials import (
    READ_AGAIN_S,
    REFRESH_BEFORE_S,
    TRY_AGAIN_S,
    Credentials,
    Refresher,
)
from shoal.core.cloud.failures import Advice, CloudFailed, Mistake

FAILED = CloudFailed(Advice(mistake=Mistake.OTHER, step="Step 2", sentence="Step 2: no."))


class Script:
    """A source that gives a session of an hour, or fails when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.fetched = 0
        self.fails = False
        self.life_s: float | None = 3600.0

    async def fetch(self) -> Credentials:
        """Return new credentials."""
        await asyncio.sleep(0)
        self.fetched += 1
        if self.fails:
            raise FAILED
        return Credentials(
            key_id=f"k{self.fetched}",
            secret="s3cret",
            token="t0ken",
            expires_at_s=None if self.life_s is None else self.now_s + self.life_s,
        )

    def refresher(self) -> Refresher:
        """Return a refresher that goes by this clock."""
        return Refresher(self, clock=lambda: self.now_s)


async def test_a_thousand_users_at_once_make_one_call() -> None:
    script = Script()
    refresher = script.refresher()
    found = await asyncio.gather(*(refresher.credentials() for _ in range(1000)))
    assert script.fetched == 1
    assert {one.key_id for one in found} == {"k1"}


async def test_credentials_are_replaced_before_they_expire() -> None:
    script = Script()
    refresher = script.refresher()
    await refresher.credentials()
    script.now_s = 3600 - REFRESH_BEFORE_S - 1
    assert (await refresher.credentials()).key_id == "k1"
    script.now_s = 3600 - REFRESH_BEFORE_S
    assert (await refresher.credentials()).key_id == "k2"


async def test_a_short_session_is_not_fetched_anew_for_every_user() -> None:
    script = Script()
    script.life_s = 900
    refresher = script.refresher()
    await refresher.credentials()
    script.now_s = 600
    assert (await refresher.credentials()).key_id == "k1"
    script.now_s = 675
    assert (await refresher.credentials()).key_id == "k2"


async def test_old_credentials_are_used_on_while_new_ones_cannot_be_had() -> None:
    script = Script()
    refresher = script.refresher()
    await refresher.credentials()
    script.fails, script.now_s = True, 3000
    assert (await refresher.credentials()).key_id == "k1"
    assert script.fetched == 2
    script.now_s = 3000 + TRY_AGAIN_S - 1
    await refresher.credentials()
    assert script.fetched == 2, "it has not waited before it asked again"
    script.now_s = 3595
    with pytest.raises(CloudFailed):
        await refresher.credentials()


async def test_files_are_read_again_after_a_while() -> None:
    script = Script()
    script.life_s = None
    refresher = script.refresher()
    await refresher.credentials()
    script.now_s = READ_AGAIN_S
    assert (await refresher.credentials()).key_id == "k2"


async def test_what_the_cloud_refuses_is_replaced_once() -> None:
    script = Script()
    refresher = script.refresher()
    old = await refresher.credentials()
    refresher.forget(old)
    new = await refresher.credentials()
    refresher.forget(old)
    assert await refresher.credentials() is new


async def test_a_failure_without_older_credentials_is_raised() -> None:
    script = Script()
    script.fails = True
    with pytest.raises(CloudFailed, match="Step 2: no"):
        await script.refresher().credentials()


def test_no_secret_is_shown() -> None:
    made = Credentials(key_id="LTAI", secret="s3cret", token="t0ken", expires_at_s=1.0)
    for text in (repr(made), str(made), f"{made}"):
        assert "s3cret" not in text
        assert "t0ken" not in text
