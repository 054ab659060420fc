"""Accounts in the pages: made, chosen, and what is shown of each."""

import re

from unit.control.web.person import Browser


async def _add(browser: Browser, name: str) -> str:
    await browser.get("/accounts")
    page = await browser.post("/accounts", {"name": name})
    found = re.search(rf'name="account" value="(\d+)" aria-label="Show account {name}"', page)
    assert found, page
    return found[1]


async def test_one_account_needs_no_choice_and_two_have_one(browser: Browser) -> None:
    assert 'id="account-choice"' not in await browser.get("/instances")
    await _add(browser, "factory")
    assert 'id="account-choice"' in await browser.get("/instances")


async def test_each_account_shows_what_is_its_own(browser: Browser) -> None:
    id_ = await browser.create_instance()
    await browser.create_cluster()
    await browser.post("/access/users", {"name": "p2p", "comment": ""})
    other = await _add(browser, "factory")
    page = await browser.post("/choose", {"account": other, "region": "cn-hangzhou"})
    assert "No instance yet" in page
    for path, name in (("/clusters", "edge-factory"), ("/access/users", "p2p</a>")):
        assert name not in await browser.get(path)
    await browser.post("/access/users", {"name": "p2p", "comment": "another"})
    assert f"acs:ram::{other}:user/p2p" in browser.page
    assert "ResourceDirectoryAccountAccessRole" in await browser.get("/access/roles")
    # What has a number of its own can be opened, and says whose it is.
    assert "Account default" in await browser.get(f"/instances/{id_}")
    assert "Account default" in await browser.get("/clusters/c1a2")


async def test_a_name_is_taken_once_and_an_unknown_account_is_not_chosen(
    browser: Browser,
) -> None:
    await browser.get("/accounts")
    await browser.post("/accounts", {"name": "default"}, ends=422)
    await browser.post("/accounts", {"name": "not a name"}, ends=422)
    await browser.post("/choose", {"account": "12", "region": ""}, ends=404)
    await browser.post("/choose", {"region": "nowhere land"})
    assert "Instances" in browser.page
