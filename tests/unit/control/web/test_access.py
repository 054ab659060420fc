"""Access in the pages: users and keys, roles, policies as they are typed, OIDC providers."""

import json
import re

from shoal.control.store import access
from shoal.control.web.security import CSRF_HEADER
from shoal.core.console.documents import PERMISSIONS, trust_document
from unit.control.web.person import Browser

TRUST = trust_document(provider_arn="acs:ram::1:oidc-provider/x", issuer="https://issuer")


async def test_a_keys_secret_is_shown_once(browser: Browser) -> None:
    await browser.get("/access/users")
    await browser.post("/access/users", {"name": "p2p", "comment": "component"})
    page = await browser.post("/access/users/p2p/keys", {"do": "create"})
    found = re.search(r'id="new-key">(\w+)<.*id="new-secret">(\w{30})<', page, re.S)
    assert found
    key, secret = found.groups()
    with browser.console.database.read() as connection:
        assert access.find_key(connection, browser.console.vault, key)[1] == secret
    assert secret not in await browser.get("/access/users/p2p")
    assert secret not in await browser.get("/audit")
    await browser.get("/access/users/p2p")
    assert "Off<" in await browser.post("/access/users/p2p/keys", {"do": "off", "key_id": key})
    assert "Active<" in await browser.post("/access/users/p2p/keys", {"do": "on", "key_id": key})
    await browser.post("/access/users/p2p/keys", {"do": "create"})
    page = await browser.post("/access/users/p2p/keys", {"do": "create"}, ends=422)
    assert "delete one first" in page
    assert key not in await browser.post("/access/users/p2p/keys", {"do": "delete", "key_id": key})
    await browser.post("/access/users/p2p/keys", {"do": "delete", "key_id": key}, ends=404)


async def test_users_have_policies_and_go(browser: Browser) -> None:
    await browser.get("/access/users")
    await browser.post("/access/users", {"name": "p2p", "comment": ""})
    page = await browser.post("/access/users/p2p/policies", {"attach": "ShoalP2PComponentAccess"})
    assert "Detach ShoalP2PComponentAccess" in page
    await browser.post("/access/users/p2p/policies", {"attach": "nothing"}, ends=404)
    await browser.get("/access/users/p2p")
    page = await browser.post("/access/users/p2p/policies", {"detach": "ShoalP2PComponentAccess"})
    assert "None: every call is denied" in page
    await browser.get("/access/users")
    assert "already" in await browser.post("/access/users", {"name": "p2p"}, ends=422)
    assert "Expected 1 to 63" in await browser.post("/access/users", {"name": "p 2"}, ends=422)
    assert "No user yet" in await browser.post("/access/users/p2p/delete")


async def test_a_role_begins_with_the_trust_policy_of_the_documentation(browser: Browser) -> None:
    page = await browser.get("/access/roles/new")
    assert "ack-acr-acceleration-p2p-job-sa" in page
    form = {"name": "edge", "comment": "", "trust": TRUST, "max_session_s": "43200"}
    assert "role/edge" in await browser.post("/access/roles/new", form)
    assert "43200 s" in await browser.get("/access/roles")
    await browser.get("/access/roles/new")
    assert "is a role edge already" in await browser.post("/access/roles/new", form, ends=422)
    page = await browser.post("/access/roles/edge", form | {"max_session_s": "1"}, ends=422)
    assert "3600 to 43200" in page
    page = await browser.post("/access/roles/edge", form | {"trust": "{}"}, ends=422)
    assert "Version: has to be" in page
    assert "Trust policy" in await browser.post("/access/roles/edge", form)
    await browser.post("/access/roles/edge/policies", {"attach": "AliyunSTSAssumeRoleAccess"})
    assert "Detach AliyunSTSAssumeRoleAccess" in browser.page
    assert "No role yet" in await browser.post("/access/roles/edge/delete")


async def test_a_policy_is_checked_as_it_is_typed(browser: Browser) -> None:
    await browser.get("/access/policies/new")
    found = re.search(r'name="csrf" value="([^"]+)"', browser.page)
    assert found
    for document, expected in (("{", ["line 1, column 2"]), (PERMISSIONS, [])):
        answer = await browser.client.post(
            "/console/access/policies/check",
            data={"document": document, "kind": "permissions"},
            headers={CSRF_HEADER: found[1]},
        )
        assert [one["where"] for one in await answer.json()] == expected


async def test_policies_are_created_changed_attached_and_deleted(browser: Browser) -> None:
    await browser.get("/access/policies/new")
    form = {"name": "lookup", "comment": "", "document": PERMISSIONS}
    page = await browser.post("/access/policies/new", form | {"document": "nonsense"}, ends=422)
    assert "not JSON" in page
    assert "Custom policy" in await browser.post("/access/policies/new", form)
    other = json.dumps(json.loads(PERMISSIONS) | {"Version": "1"})
    await browser.post("/access/policies/lookup", form | {"document": other})
    await browser.get("/access/policies/new")
    assert "is a policy lookup already" in await browser.post(
        "/access/policies/new", form, ends=422
    )
    await browser.get("/access/users")
    await browser.post("/access/users", {"name": "p2p"})
    await browser.post("/access/users/p2p/policies", {"attach": "lookup"})
    await browser.get("/access/policies/lookup")
    assert "detach it first" in await browser.post("/access/policies/lookup/delete", ends=422)
    await browser.post("/access/users/p2p/delete")
    assert "lookup" not in await browser.post("/access/policies/lookup/delete")


async def test_system_policies_are_shown_and_stay(browser: Browser) -> None:
    page = await browser.get("/access/policies/AliyunSTSAssumeRoleAccess")
    assert "readonly" in page
    form = {"document": PERMISSIONS}
    page = await browser.post("/access/policies/AliyunSTSAssumeRoleAccess", form, ends=422)
    assert "cannot be changed" in page


async def test_oidc_providers_are_added_replaced_and_deleted(browser: Browser) -> None:
    await browser.get("/access/oidc")
    form = {"name": "x", "issuer": "https://issuer", "audiences": "sts.aliyuncs.com", "keys": ""}
    assert "asked of the issuer" in await browser.post("/access/oidc", form)
    assert "given here" in await browser.post("/access/oidc", form | {"keys": '{"keys": []}'})
    page = await browser.post("/access/oidc", form | {"issuer": "x", "keys": "x"}, ends=422)
    assert page.count('class="wrong"') == 2
    page = await browser.post("/access/oidc", form | {"name": "y"}, ends=422)
    assert "has the issuer" in page
    assert "No provider yet" in await browser.post("/access/oidc/delete", {"delete": "x"})
