"""The Parameters panel: judged by what the console knows, and then the values and the command."""

import yaml

from shoal.control.store import accounts
from shoal.core.console.documents import trust_document
from unit.control.web.person import Browser

TRUST = trust_document(provider_arn="acs:ram::1:oidc-provider/x", issuer="https://issuer")

DEPLOY = "/marketplace/ack-acr-acceleration-p2p/deploy"
FORM = {
    "cluster": "c1a2",
    "method": "worker-role",
    "release": "ack-acr-acceleration-p2p",
    "namespace": "aliyun-acr-acceleration",
    "port": "65001",
    "expire_s": "3600",
}


async def _ready(browser: Browser) -> str:
    id_ = await browser.create_instance()
    await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    link = {"vpc_id": "vpc-1", "vswitch_id": "vsw-1", "ip": "192.168.1.20"}
    await browser.post(f"/instances/{id_}/network/link", link)
    await browser.create_cluster()
    return id_


async def test_the_market_leads_to_the_component_and_its_parameters(browser: Browser) -> None:
    assert "ack-acr-acceleration-p2p" in await browser.get("/marketplace")
    assert "1.26.3 or later" in await browser.get("/marketplace/ack-acr-acceleration-p2p")
    assert 'value="65001"' in await browser.get(DEPLOY)
    await browser.create_cluster()
    assert '<option value="c1a2" selected>' in await browser.get(f"{DEPLOY}?cluster=c1a2")


async def test_a_good_choice_gives_values_and_command(browser: Browser) -> None:
    id_ = await _ready(browser)
    page = await browser.post(DEPLOY, FORM | {"instances": id_})
    assert "Ready to install" in page
    assert "helm upgrade --install" in page
    values = await browser.post(DEPLOY, FORM | {"instances": id_, "do": "download"})
    told = yaml.safe_load(values)
    cloud = told.pop("cloud")
    assert cloud["clusterId"] == "c1a2"
    assert cloud["endpoint"].startswith("http://127.0.0.1:")
    assert told == {
        "acrInstances": id_,
        "region": "cn-hangzhou",
        "vpcId": "vpc-1",
        "edgeNodePool": {"id": ""},
        "p2p": {"port": 65001},
    }


async def test_each_forgotten_step_is_told_with_the_page_that_mends_it(browser: Browser) -> None:
    id_ = await browser.create_instance()
    await browser.create_cluster(version="1.24.0")
    page = await browser.post(DEPLOY, FORM | {"instances": id_, "method": "rrsa"}, ends=422)
    for told in (
        "1.26.3 or later",
        "P2P Acceleration of team is off",
        "is not in the VPC ACL of team",
        "RRSA of edge-factory is off",
        "Enter the role",
        f'href="/console/instances/{id_}/network"',
    ):
        assert told in page


async def test_nonsense_is_told_at_its_field(browser: Browser) -> None:
    await browser.get(DEPLOY)
    page = await browser.post(DEPLOY, FORM | {"port": "99999", "pool_id": "line 1"}, ends=422)
    assert page.count('class="wrong"') == 2
    page = await browser.post(DEPLOY, FORM, ends=422)
    assert "Choose a cluster" in page


async def test_an_access_keys_secret_is_never_in_the_values(browser: Browser) -> None:
    id_ = await _ready(browser)
    form = FORM | {"instances": id_, "method": "access-key", "access_key": "LTAI5tabc"}
    page = await browser.post(DEPLOY, form)
    assert "accessKey: &#34;LTAI5tabc&#34;" in page
    assert "--set-file accessKeySecret=access-key-secret.txt" in page


async def test_rrsa_is_judged_by_cluster_role_and_lifetime(browser: Browser) -> None:
    id_ = await _ready(browser)
    issuer = {"enable": "on", "issuer": "https://oidc.example.com/c1a2"}
    await browser.post("/clusters/c1a2/rrsa", issuer)
    await browser.get("/access/roles/new")
    form = {"name": "edge", "comment": "", "max_session_s": "3600", "trust": TRUST}
    await browser.post("/access/roles/new", form)
    with browser.console.database.read() as connection:
        account = accounts.management(connection).id
    role = f"acs:ram::{account}:role/edge"
    provider = f"acs:ram::{account}:oidc-provider/ack-rrsa-c1a2"
    chosen = FORM | {"instances": id_, "method": "rrsa", "role_arn": role, "provider_arn": provider}
    page = await browser.post(
        DEPLOY, chosen | {"assume_role_arn": role, "expire_s": "7200"}, ends=422
    )
    assert "longer than the MaxSessionDuration of edge" in page
    page = await browser.post(DEPLOY, chosen)
    assert "registryInstances" in page
    assert "Worth knowing" not in page
    page = await browser.post(DEPLOY, chosen | {"role_arn": f"{role}2"})
    assert "No account of this console has such a role" in page


async def test_an_instance_of_another_account_takes_a_role_of_that_account(
    browser: Browser,
) -> None:
    await browser.get("/accounts")
    await browser.post("/accounts", {"name": "registry"})
    with browser.console.database.read() as connection:
        own, other = accounts.find_all(connection)
    await browser.create_cluster()
    await browser.post("/choose", {"account": other.id, "region": ""})
    id_ = await browser.create_instance()
    await browser.post(f"/instances/{id_}/p2p", {"enable": "on", "confirmed": "1"})
    link = {"vpc_id": "vpc-1", "vswitch_id": "vsw-1", "ip": "192.168.1.20"}
    await browser.post(f"/instances/{id_}/network/link", link)
    page = await browser.post(DEPLOY, FORM | {"instances": id_}, ends=422)
    assert f"belongs to account {other.id}, and the worker RAM role to account {own.id}" in page
    issuer = {"enable": "on", "issuer": "https://oidc.example.com/c1a2"}
    await browser.post("/clusters/c1a2/rrsa", issuer)
    chosen = FORM | {
        "instances": id_,
        "method": "rrsa",
        "role_arn": f"acs:ram::{own.id}:role/edge",
        "provider_arn": f"acs:ram::{own.id}:oidc-provider/ack-rrsa-c1a2",
    }
    assert "belongs to account" in await browser.post(DEPLOY, chosen, ends=422)
    across = chosen | {"assume_role_arn": f"acs:ram::{other.id}:role/registry"}
    assert "registryInstances" in await browser.post(DEPLOY, across)
