"""The pages' application: small, cached where it may be, and nothing but its own files."""

import re

from shoal.control.web.render import STATIC, static_url
from unit.control.web.person import Browser

MAX_PAGE_BYTES = 100_000


async def test_static_files_are_kept_for_good_under_the_address_of_their_content(
    browser: Browser,
) -> None:
    for file in STATIC.iterdir():
        answer = await browser.client.get(static_url(file.name))
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert await answer.read() == file.read_bytes()
    for wrong in ("/console/static/0000000000/console.css", "/console/static/x/..%2Fapp.py"):
        assert (await browser.client.get(wrong)).status == 404


async def test_pages_with_all_they_load_are_under_100_kb(browser: Browser) -> None:
    await browser.create_instance()
    await browser.create_cluster()
    for path in ("/instances", "/clusters/c1a2", "/access/roles/new", "/audit"):
        page = await browser.get(path)
        total = len(page.encode())
        for address in set(re.findall(r'(?:href|src)="(/console/static/[^"]+)"', page)):
            total += len(await (await browser.client.get(address)).read())
        assert total < MAX_PAGE_BYTES, path


async def test_the_home_page_leads_to_the_instances(browser: Browser) -> None:
    assert "<h1>Instances" in await browser.get("/")
