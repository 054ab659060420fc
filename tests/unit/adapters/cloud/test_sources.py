"""Where credentials come from, asked at a real console."""

import logging
from dataclasses import replace

import pytest

from shoal.adapters.cloud.credentials import Refresher, unix_now
from shoal.adapters.cloud.sources import PodToken, WorkerRole, claims_of, source_of
from shoal.core.cloud.failures import CloudFailed
from shoal.core.console.chart_values import Method
from unit.adapters.cloud.page import Page


@pytest.mark.parametrize("method", list(Method))
async def test_no_source_shows_what_it_has(page: Page, method: Method) -> None:
    source = source_of(page.settings(method))
    made = await source.fetch()
    assert made.secret
    for shown in (repr(source), repr(made), repr(Refresher(source))):
        assert made.secret not in shown
        assert not made.token or made.token not in shown


async def test_an_access_key_is_read_anew_where_its_files_were_replaced(page: Page) -> None:
    source = source_of(page.settings(Method.ACCESS_KEY))
    assert (await source.fetch()).key_id == page.cloud.keys["reader"][0]
    page.write_key("owner")
    made = await source.fetch()
    assert (made.key_id, made.secret) == page.cloud.keys["owner"]


async def test_a_projected_token_is_read_again_after_it_rotated(page: Page) -> None:
    source = PodToken(page.settings(Method.RRSA))
    page.write_token(exp=1)
    with pytest.raises(CloudFailed, match="Expired"):
        await source.fetch()
    page.write_token()
    assert (await source.fetch()).key_id.startswith("STS.")


async def test_a_session_across_accounts_lasts_as_long_as_was_asked(page: Page) -> None:
    made = await source_of(page.across()).fetch()
    assert made.expires_at_s is not None
    assert 7100 < made.expires_at_s - unix_now() <= 7200


async def test_a_worker_role_is_had_from_nodes_with_and_without_tokens(page: Page) -> None:
    source = WorkerRole(page.settings(Method.WORKER_ROLE))
    assert page.node.token_only
    assert (await source.fetch()).token


async def test_the_sdks_own_log_is_silent(
    page: Page, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = replace(page.settings(Method.WORKER_ROLE), metadata_proxy="http://127.0.0.1:9")
    with pytest.raises(CloudFailed):
        await WorkerRole(settings).fetch()
    assert [record for record in caplog.records if record.name == "credentials"] == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.W10.c", "a.bnVsbA.c"])
def test_a_token_that_cannot_be_read_has_no_claims(token: str) -> None:
    assert claims_of(token) is None
