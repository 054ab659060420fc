"""The audit trail, administrators and passwords in the pages."""

from shoal.control.store.changes import Author
from unit.control.web.person import PASSWORD, Browser

OTHER = "another fine phrase"


async def test_the_audit_trail_has_pages_and_can_be_narrowed(
    browser: Browser, author: Author
) -> None:
    for number in range(60):
        with browser.console.changes.by(author) as change:
            change.record("Something", f"thing/{number}", "x" * 200)
    browser.console.changes.denied(author, action="Forbidden", resource="thing/0", reason="no")
    page = await browser.get("/audit")
    assert "thing/59" in page
    assert "thing/3<" not in page
    assert "?before=" in page
    earlier = page.split("?before=")[1].split('"')[0]
    assert "thing/3<" in await browser.get(f"/audit?before={earlier}")
    page = await browser.get("/audit?denied=1")
    assert "Forbidden" in page
    assert "Something" not in page
    page = await browser.get("/audit?resource=thing/0")
    assert "Forbidden" in page
    assert "thing/1<" not in page
    await browser.get("/audit?before=x", ends=422)


async def test_administrators_are_added_and_removed_and_one_stays(browser: Browser) -> None:
    await browser.get("/administrators")
    form = {"name": "bob", "password": OTHER, "password_again": OTHER}
    page = await browser.post("/administrators", form | {"password_again": "x"}, ends=422)
    assert "differ" in page
    assert "bob" in await browser.post("/administrators", form)
    assert "already" in await browser.post("/administrators", form, ends=422)
    await browser.post("/administrators/remove", {"remove": "bob"})
    page = await browser.post("/administrators/remove", {"remove": "alice"}, ends=422)
    assert "only administrator" in page


async def test_a_password_is_changed_by_who_knows_it_and_ends_all_sessions(
    browser: Browser,
) -> None:
    await browser.get("/administrators")
    form = {"old_password": "wrong", "password": OTHER, "password_again": OTHER}
    page = await browser.post("/administrators/password", form, ends=422)
    assert "not your password" in page
    page = await browser.post("/administrators/password", form | {"old_password": PASSWORD})
    assert "<h1>Sign in" in page
    await browser.post("/sign-in", {"name": "alice", "password": PASSWORD}, ends=422)
    await browser.post("/sign-in", {"name": "alice", "password": OTHER})
    assert "<h1>Instances" in browser.page
