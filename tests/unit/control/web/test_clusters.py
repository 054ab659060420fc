"""Clusters in the pages: version, node pools, RRSA, and the component."""

from shoal.control.store import access, clusters
from shoal.control.store.changes import Author
from shoal.core.console.models import Component
from unit.control.web.person import Browser


async def test_a_cluster_is_added_listed_and_changed(browser: Browser) -> None:
    await browser.create_cluster(version="v1.26.3-aliyun.1")
    assert "ACK Edge 1.26.3-aliyun.1" in browser.page
    page = await browser.post("/clusters/c1a2/settings", {"version": "1.30.1", "vpc_id": "vpc-2"})
    assert "ACK Edge 1.30.1" in page
    assert "vpc-2" in await browser.get("/clusters")
    await browser.get("/clusters/c1a2")
    await browser.post("/clusters/c1a2/settings", {"version": "x", "vpc_id": ""}, ends=422)
    await browser.get("/clusters/new")
    page = await browser.post("/clusters/new", {"id": "C", "name": "", "version": "1"}, ends=422)
    assert page.count('class="wrong"') == 5


async def test_node_pools_are_put_and_removed(browser: Browser) -> None:
    await browser.create_cluster()
    pool = {"pool_id": "np1", "pool_name": "line-1", "pool_kind": "edge", "pool_nodes": "12"}
    page = await browser.post("/clusters/c1a2/pools", pool | {"pool_interconnected": "1"})
    assert "line-1" in page
    await browser.post("/clusters/c1a2/pools", pool | {"pool_kind": "cloud", "pool_id": "np2"})
    assert "does not apply" in browser.page
    await browser.post("/clusters/c1a2/pools", {"pool_id": "line-1"}, ends=422)
    await browser.post("/clusters/c1a2/pools/remove", {"remove_pool": "np1"})
    await browser.post("/clusters/c1a2/pools/remove", {"remove_pool": "np1"}, ends=404)


async def test_enabling_rrsa_adds_the_clusters_oidc_provider_and_disabling_takes_it_away(
    browser: Browser,
) -> None:
    await browser.create_cluster()
    await browser.post("/clusters/c1a2/rrsa", {"enable": "on", "issuer": "nothing"}, ends=422)
    form = {"enable": "on", "issuer": "https://oidc.example.com/c1a2"}
    page = await browser.post("/clusters/c1a2/rrsa", form)
    assert "oidc-provider/ack-rrsa-c1a2" in page
    with browser.console.database.read() as connection:
        (provider,) = access.providers(connection)
    assert provider.issuer == "https://oidc.example.com/c1a2"
    await browser.post("/clusters/c1a2/rrsa", {"enable": "off"})
    with browser.console.database.read() as connection:
        assert access.providers(connection) == []


async def test_a_component_on_record_keeps_the_cluster_until_it_is_forgotten(
    browser: Browser, author: Author
) -> None:
    id_ = await browser.create_instance()
    await browser.create_cluster()
    component = Component("c1a2", id_, "0.4.0", "rrsa", 0, 1, 1)
    with browser.console.changes.by(author) as change:
        clusters.report(change, component, installed=True)
    assert "0.4.0" in await browser.get("/clusters/c1a2")
    assert "uninstall it first" in await browser.post("/clusters/c1a2/delete", ends=422)
    await browser.post("/clusters/c1a2/forget", {"instance_id": "cri-x"}, ends=404)
    await browser.get("/clusters/c1a2")
    await browser.post("/clusters/c1a2/forget", {"instance_id": id_})
    assert "No cluster yet" in await browser.post("/clusters/c1a2/delete")
