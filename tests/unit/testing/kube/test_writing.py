"""Writes, as the stand-in does and refuses them; asked through our own client, over HTTPS."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.kube.api import (
    KubeConflict,
    KubeConnection,
    KubeMissing,
    KubeRefused,
    connected,
)
from shoal.testing.kube.accounts import Identity, service_account
from unit.adapters.kube.serving import Cluster, cluster

MAPS = "/api/v1/namespaces/a/configmaps"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A server, and an account that may do all."""
    async with cluster(tmp_path) as running:
        yield running


@pytest.fixture
async def kube(made: Cluster) -> AsyncIterator[KubeConnection]:
    """A connection with it."""
    async with connected(made.access) as connection:
        yield connection


def named(name: str, **more: object) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


async def test_an_object_is_created_once(kube: KubeConnection) -> None:
    await kube.create(MAPS, named("one", data={"a": "1"}))
    with pytest.raises(KubeConflict, match="already exists"):
        await kube.create(MAPS, named("one"))
    made = await kube.create(MAPS, {"metadata": {"generateName": "event."}})
    assert made["metadata"]["name"].startswith("event.")
    with pytest.raises(KubeRefused, match=r"metadata\.name"):
        await kube.create(MAPS, {})


async def test_a_write_by_an_old_version_is_a_conflict(kube: KubeConnection) -> None:
    first = await kube.create(MAPS, named("one"))
    await kube.replace(f"{MAPS}/one", first | {"data": {"a": "1"}})
    with pytest.raises(KubeConflict, match="has been modified"):
        await kube.replace(f"{MAPS}/one", first)
    with pytest.raises(KubeConflict):
        await kube.patch(f"{MAPS}/one", {"metadata": first["metadata"]})
    await kube.replace(f"{MAPS}/one", named("one"))  # by no version: always


async def test_status_is_written_by_its_own_path_alone(kube: KubeConnection) -> None:
    nodes = "/api/v1/nodes"
    await kube.create(nodes, named("n", spec={"a": 1}, status={"b": 1}))
    await kube.patch(f"{nodes}/n/status", {"spec": {"a": 2}, "status": {"b": 2}})
    await kube.patch(f"{nodes}/n", {"spec": {"a": 3}, "status": {"b": 3}})
    node = await kube.find(f"{nodes}/n")
    assert node is not None
    assert (node["spec"], node["status"]) == ({"a": 3}, {"b": 2})


async def test_each_kind_of_patch_is_taken(kube: KubeConnection) -> None:
    await kube.create(MAPS, named("one", conditions=[{"type": "A"}]))
    path = f"{MAPS}/one"
    await kube.patch(path, {"conditions": [{"type": "B"}]}, kind="strategic")
    thing = await kube.patch(path, [{"op": "add", "path": "/x", "value": 1}], kind="json")
    assert thing["conditions"] == [{"type": "A"}, {"type": "B"}]
    assert thing["x"] == 1
    with pytest.raises(KubeRefused):
        await kube.patch(path, [{"op": "remove", "path": "/y"}], kind="json")
    with pytest.raises(KubeMissing):
        await kube.patch(f"{MAPS}/two", {})


async def test_what_an_object_owns_goes_with_it(kube: KubeConnection) -> None:
    owner = (await kube.create(MAPS, named("owner")))["metadata"]
    owned = {"name": "owned", "ownerReferences": [{"name": "owner", "uid": owner["uid"]}]}
    await kube.create(MAPS, {"metadata": owned})
    with pytest.raises(KubeConflict):
        await kube.delete(f"{MAPS}/owner", preconditions={"uid": "another"})
    assert await kube.delete(f"{MAPS}/owner", preconditions={"uid": owner["uid"]})
    assert await kube.find(f"{MAPS}/owned") is None
    assert not await kube.delete(f"{MAPS}/owner")


async def test_an_account_may_do_what_its_roles_say(made: Cluster, kube: KubeConnection) -> None:
    user = service_account("a", "me")
    made.server.identities["first"] = Identity(user)
    made.server.tokens = set()
    with pytest.raises(KubeRefused, match="cannot create configmaps"):
        await kube.create(MAPS, named("one"))
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/a"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
    made.server.put(f"{rbac}/roles/r", {"rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": "me"}
    binding = {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [subject]}
    made.server.put(f"{rbac}/rolebindings/r", binding)
    await kube.create(MAPS, named("one"))
    with pytest.raises(KubeRefused):
        await kube.find(f"{MAPS}/one")


async def test_reviews_tell_who_a_token_is_and_what_may_be_done(
    made: Cluster, kube: KubeConnection
) -> None:
    made.server.identities["theirs"] = Identity("them", audiences=("shoal",), extra={"a": ["b"]})
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answers = [
        (await kube.create(path, {"spec": {"token": token, "audiences": ["shoal"]}}))["status"]
        for token in ("theirs", "nobody's")
    ]
    assert answers[0]["user"] == {"username": "them", "uid": "", "extra": {"a": ["b"]}}
    assert [answer["authenticated"] for answer in answers] == [True, False]
    asked = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await kube.create(path, {"spec": asked}))["status"] == {"allowed": True}


async def test_a_token_for_another_audience_is_let_in_nowhere(
    made: Cluster, kube: KubeConnection
) -> None:
    made.server.identities["first"] = Identity("me", audiences=("shoal",))
    made.server.tokens = set()
    with pytest.raises(Exception, match="answered 401"):
        await kube.find(f"{MAPS}/one")
