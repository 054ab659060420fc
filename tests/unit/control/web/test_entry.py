"""The way in: the first administrator, signing in and out, and who is kept out."""

import pytest

from shoal.control.store.changes import events
from shoal.control.web.entry import TRIES, TRIES_WITHIN_S, Tries
from unit.control.web.person import PASSWORD, SETUP_CODE, Browser


async def test_a_new_console_asks_for_its_first_administrator(stranger: Browser) -> None:
    page = await stranger.get("/")
    assert "Who administers this console?" in page
    await stranger.set_up()
    assert "No instance yet" in stranger.page
    assert "alice" in stranger.page


async def test_without_the_code_of_the_start_nobody_becomes_administrator(
    stranger: Browser,
) -> None:
    await stranger.get("/setup")
    form = {"name": "eve", "password": PASSWORD, "password_again": PASSWORD}
    page = await stranger.post("/setup", form | {"code": "guess"}, ends=422)
    assert "not the code" in page
    for _ in range(TRIES - 1):
        await stranger.post("/setup", form | {"code": "guess"}, ends=422)
    await stranger.post("/setup", form | {"code": SETUP_CODE}, ends=429)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"password": "short", "password_again": "short"}, "at least 12"),
        ({"password_again": "something else"}, "differ"),
        ({"name": "no spaces"}, "Expected 1 to 63"),
    ],
)
async def test_what_is_wrong_is_said_at_its_field_and_passwords_are_not_shown_again(
    change: dict[str, str], why: str, stranger: Browser
) -> None:
    await stranger.get("/setup")
    form = {"code": SETUP_CODE, "name": "bob", "password": PASSWORD, "password_again": PASSWORD}
    page = await stranger.post("/setup", form | change, ends=422)
    assert why in page
    assert PASSWORD not in page


async def test_signing_out_and_in_again(browser: Browser) -> None:
    page = await browser.post("/sign-out")
    assert "<h1>Sign in</h1>" in page
    await browser.get("/instances")
    assert "<h1>Sign in</h1>" in browser.page
    await browser.post("/sign-in", {"name": "alice", "password": PASSWORD})
    assert "<h1>Instances</h1>" in browser.page


async def test_a_second_set_up_leads_to_signing_in(browser: Browser) -> None:
    await browser.post("/sign-out")
    assert "<h1>Sign in</h1>" in await browser.get("/setup")


async def test_a_wrong_password_is_refused_recorded_and_at_last_has_to_wait(
    browser: Browser,
) -> None:
    await browser.post("/sign-out")
    for name in ("alice", "nobody", "alice", "alice", "alice"):
        page = await browser.post("/sign-in", {"name": name, "password": "wrong"}, ends=422)
        assert "not a name and password" in page
    await browser.post("/sign-in", {"name": "alice", "password": PASSWORD}, ends=429)
    with browser.console.database.read() as connection:
        denied = [event.resource for event in events(connection, only_denied=True)]
    assert denied.count("administrator/alice") == 4


def test_tries_are_forgotten_after_a_minute_and_bounded_in_number() -> None:
    tries = Tries()
    for _ in range(TRIES):
        tries.add("alice", now_s=0)
    assert tries.is_too_many("alice", now_s=TRIES_WITHIN_S - 1)
    assert not tries.is_too_many("alice", now_s=TRIES_WITHIN_S)
    for number in range(10_500):
        tries.add(str(number), now_s=0)
    assert len(tries.failed) == 10_000


async def test_a_session_ends_after_a_day_without_use(browser: Browser) -> None:
    now_s = browser.console.now_s
    browser.console.changes.clock = lambda: now_s + 61
    assert "<h1>Instances" in await browser.get("/instances")  # notes that it is in use
    browser.console.changes.clock = lambda: now_s + 61 + 8 * 3600 + 1
    assert "<h1>Sign in" in await browser.get("/instances")
