"""What stands before every page: headers, forged forms, sessions, errors."""

import re

import pytest

from shoal.control.store.changes import events
from shoal.control.web.security import CSRF_HEADER
from unit.control.web.person import Browser

# Every form of the console: nothing of it may be done without its token, or without a session.
FORMS = (
    "/accounts",
    "/choose",
    "/sign-out",
    "/instances/new",
    "/instances/cri-1/p2p",
    "/instances/cri-1/settings",
    "/instances/cri-1/delete",
    "/instances/cri-1/network/link",
    "/instances/cri-1/network/unlink",
    "/instances/cri-1/network/endpoint",
    "/clusters/new",
    "/clusters/c1/settings",
    "/clusters/c1/rrsa",
    "/clusters/c1/pools",
    "/clusters/c1/pools/remove",
    "/clusters/c1/forget",
    "/clusters/c1/delete",
    "/marketplace/ack-acr-acceleration-p2p/deploy",
    "/access/users",
    "/access/users/p2p/keys",
    "/access/users/p2p/policies",
    "/access/users/p2p/delete",
    "/access/roles/new",
    "/access/roles/edge",
    "/access/roles/edge/policies",
    "/access/roles/edge/delete",
    "/access/policies/new",
    "/access/policies/check",
    "/access/policies/read",
    "/access/policies/read/delete",
    "/access/oidc",
    "/access/oidc/delete",
    "/administrators",
    "/administrators/remove",
    "/administrators/password",
)


def test_the_list_of_forms_is_whole(browser: Browser) -> None:
    app = browser.client.app
    assert app is not None
    patterns = []
    for route in app.router.routes():
        if route.method == "POST" and route.resource is not None:
            canonical = route.resource.canonical.removeprefix("/console")
            patterns.append(re.sub(r"\{kind\}", "(users|roles)", canonical))
    for pattern in patterns:
        expression = re.sub(r"\{\w+\}", "[^/]+", pattern)
        assert pattern in ("/setup", "/sign-in") or any(
            re.fullmatch(expression, form) for form in FORMS
        ), pattern


async def test_no_form_is_taken_without_its_token(browser: Browser) -> None:
    for form in FORMS:
        for token in ("", "wrong"):
            answer = await browser.client.post(f"/console{form}", data={"csrf": token})
            assert answer.status == 403, form
    with browser.console.database.read() as connection:
        assert len(events(connection, only_denied=True)) == 2 * len(FORMS)


async def test_no_form_is_taken_from_another_site_even_with_the_token(browser: Browser) -> None:
    found = re.search(r'name="csrf" value="([^"]+)"', browser.page)
    assert found
    for where in ("cross-site", "same-site"):
        answer = await browser.client.post(
            "/console/sign-out", data={"csrf": found[1]}, headers={"Sec-Fetch-Site": where}
        )
        assert answer.status == 403
    answer = await browser.client.post("/console/sign-out", headers={CSRF_HEADER: found[1]})
    assert "Sign in" in await answer.text()


async def test_no_page_but_two_is_shown_without_a_session(browser: Browser) -> None:
    browser.client.session.cookie_jar.clear()
    for path in ("/instances", "/audit", "/access/users", "/administrators"):
        assert "<h1>Sign in</h1>" in await browser.get(path)
    for form in FORMS:
        answer = await browser.client.post(f"/console{form}", data={})
        assert answer.status == 401, form


async def test_every_page_forbids_what_none_needs(browser: Browser) -> None:
    for path in ("/instances", "/nothing", "/static/x/console.css"):
        answer = await browser.client.get(f"/console{path}")
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in answer.headers


async def test_cookies_are_out_of_reach_for_scripts_and_other_sites(browser: Browser) -> None:
    browser.console.secure = True
    await browser.get("/instances")
    await browser.client.post("/console/sign-out", data={})
    browser.client.session.cookie_jar.clear()
    answer = await browser.client.get("/console/sign-in")
    cookie = answer.headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=Lax", "Path=/console", "Secure"):
        assert part in cookie
    assert "max-age" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    "path", ["/instances/cri-none", "/clusters/none", "/access/roles/none", "/no/such/page"]
)
async def test_what_is_not_there_is_a_page_that_says_so(path: str, browser: Browser) -> None:
    page = await browser.get(path, ends=404)
    assert "Not Found" in page
    assert "Request <span" in page


async def test_a_fault_of_ours_is_a_page_with_its_request_and_no_inner_workings(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.control.store.changes.select", None)
    page = await browser.get("/audit", ends=500)
    assert "fault of the console" in page
    assert "NoneType" not in page


async def test_forms_that_are_too_large_are_refused(browser: Browser) -> None:
    answer = await browser.client.post("/console/access/users", data={"name": "x" * 100_000})
    assert answer.status == 413


async def test_what_people_type_is_never_markup(browser: Browser) -> None:
    await browser.get("/access/users")
    page = await browser.post("/access/users", {"name": "p2p", "comment": "<script>1</script>"})
    assert "<script>1" not in page
    assert "&lt;script&gt;1" in page
