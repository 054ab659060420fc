"""Instances in the pages: made, switched, linked, changed and deleted without JavaScript."""

from shoal.control.store import clusters
from shoal.control.store.changes import Author, events
from shoal.core.console.models import Component
from unit.control.web.person import Browser


def _install(browser: Browser, author: Author, instance_id: str) -> None:
    component = Component("c1a2", instance_id, "0.4.0", "rrsa", 1, 1, browser.console.now_s)
    with browser.console.changes.by(author) as change:
        clusters.report(change, component, installed=True)


async def test_an_instance_is_created_listed_and_filtered_by_region(browser: Browser) -> None:
    id_ = await browser.create_instance()
    assert "team-registry-vpc.cn-hangzhou.cr.aliyuncs.com" in browser.page
    await browser.post("/choose", {"region": "cn-hangzhou"})
    assert id_ in browser.page
    await browser.post("/choose", {"region": "eu-central-1"})
    assert "No instance in eu-central-1" in browser.page
    await browser.post("/choose", {"region": ""})
    assert id_ in browser.page


async def test_a_bad_instance_says_what_is_wrong_and_keeps_what_was_typed(
    browser: Browser,
) -> None:
    await browser.get("/instances/new")
    page = await browser.post(
        "/instances/new",
        {"name": "Bad Name", "region": "here", "edition": "Gold", "registry_url": "ftp://x"},
        ends=422,
    )
    assert page.count('class="wrong"') == 4
    assert 'value="Bad Name"' in page
    assert 'aria-invalid="true"' in page


async def test_a_name_that_is_taken_is_refused(browser: Browser) -> None:
    await browser.create_instance()
    form = {"name": "team", "region": "cn-hangzhou", "edition": "Enterprise_Basic"}
    page = await browser.post(
        "/instances/new", form | {"registry_url": "http://127.0.0.1:5000"}, ends=422
    )
    assert "has an instance named team already" in page


async def test_the_switch_asks_first_and_is_then_on(browser: Browser) -> None:
    id_ = await browser.create_instance()
    page = await browser.get(f"/instances/{id_}/p2p")
    assert "Switch P2P Acceleration on?" in page
    page = await browser.post(f"/instances/{id_}/p2p", {"enable": "on"}, ends=422)
    assert "has to be confirmed" in page
    page = await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    assert "On since" in page


async def test_basic_edition_has_no_switch_and_a_forged_press_is_refused(browser: Browser) -> None:
    id_ = await browser.create_instance(edition="Basic")
    assert 'id="p2p-switch"' not in browser.page
    assert "Takes Standard or Advanced" in browser.page
    form = {"enable": "on", "confirmed": "1"}
    page = await browser.post(f"/instances/{id_}/p2p", form, ends=422)
    assert "takes Standard or Advanced" in page
    with browser.console.database.read() as connection:
        assert events(connection, only_denied=True)[0].action == "SetInstanceP2PAcceleration"


async def test_switching_off_names_clusters_and_can_be_forced_after_reading_what_breaks(
    browser: Browser, author: Author
) -> None:
    id_ = await browser.create_instance()
    await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    await browser.create_cluster()
    _install(browser, author, id_)
    assert "Accelerating" in await browser.get(f"/instances/{id_}")
    page = await browser.get(f"/instances/{id_}/p2p")
    assert "edge-factory" in page
    assert "helm uninstall" in page
    assert "registry: expect its full traffic" in page
    off = {"enable": "off", "confirmed": "1"}
    page = await browser.post(f"/instances/{id_}/p2p", off, ends=422)
    assert "still installed in edge-factory (c1a2)" in page
    await browser.post(f"/instances/{id_}/p2p", {"enable": "off", "force": "1"}, ends=422)
    page = await browser.post(f"/instances/{id_}/p2p", off | {"force": "1"})
    assert "Passing through" in page
    page = await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    assert "Reinstall needed" in page


async def test_without_components_switching_off_asks_once(browser: Browser) -> None:
    id_ = await browser.create_instance()
    await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    assert "Within 60 s" in await browser.get(f"/instances/{id_}/p2p")
    page = await browser.post(f"/instances/{id_}/p2p", {"enable": "off", "confirmed": "1"})
    assert "Off. Every pull goes to the registry" in page


async def test_vpcs_are_linked_and_unlinked(browser: Browser) -> None:
    id_ = await browser.create_instance()
    here = f"/instances/{id_}/network"
    await browser.get(here)
    link = {"vpc_id": "vpc-1", "vswitch_id": "vsw-1", "ip": "192.168.1.20"}
    assert "192.168.1.20" in await browser.post(f"{here}/link", link)
    assert "already" in await browser.post(f"{here}/link", link, ends=422)
    page = await browser.post(f"{here}/link", {"vpc_id": "1", "ip": "x"}, ends=422)
    assert page.count('class="wrong"') == 3
    assert "No VPC may reach" in await browser.post(f"{here}/unlink", {"unlink": "vpc-1"})
    await browser.post(f"{here}/unlink", {"unlink": "vpc-1"}, ends=404)


async def test_endpoints_take_domains_and_networks(browser: Browser) -> None:
    id_ = await browser.create_instance()
    here = f"/instances/{id_}/network"
    await browser.get(here)
    form = {"kind": "internet", "enabled": "1", "domains": "r.example.com\nR2"}
    page = await browser.post(f"{here}/endpoint", form | {"acl": "10.0.0.1/8"}, ends=422)
    assert "not &#39;R2&#39;" in page
    assert "has host bits set" in page
    page = await browser.post(
        f"{here}/endpoint", form | {"domains": "r.example.com", "acl": "10.0.0.0/8"}
    )
    assert "10.0.0.0/8" in page
    await browser.post(f"{here}/endpoint", form | {"kind": "moon"}, ends=422)


async def test_settings_are_changed_and_deleting_takes_the_name(browser: Browser) -> None:
    id_ = await browser.create_instance()
    here = f"/instances/{id_}"
    await browser.get(f"{here}/settings")
    form = {"edition": "Enterprise_Advanced", "registry_url": "https://r.example.com"}
    assert "Advanced edition" in await browser.post(f"{here}/settings", form)
    await browser.post(f"{here}/settings", {"edition": "", "registry_url": ""}, ends=422)
    page = await browser.post(f"{here}/delete", {"typed_name": "other"}, ends=422)
    assert "Type team to delete it" in page
    await browser.post(f"{here}/p2p", {"enable": "on", "confirmed": "1"})
    page = await browser.post(f"{here}/delete", {"typed_name": "team"}, ends=422)
    assert "has P2P Acceleration on" in page
    await browser.post(f"{here}/p2p", {"enable": "off", "confirmed": "1"})
    assert "No instance yet" in await browser.post(f"{here}/delete", {"typed_name": "team"})
