"""What roles allow."""

import pytest

from shoal.testing.kube.accounts import Wish, is_allowed, service_account
from shoal.testing.kube.objects import Objects, ResourcePath

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ME = service_account("a", "me")


@pytest.fixture
def objects() -> Objects:
    """One account with a role in its namespace and one in the cluster."""
    held = Objects()
    maps = {"apiGroups": [""], "resources": ["configmaps"]}
    rules = [
        maps | {"verbs": ["create"]},
        maps | {"verbs": ["get", "list"], "resourceNames": ["one"]},
    ]
    held.put(ResourcePath.parse(f"{RBAC}/namespaces/a/roles/r"), {"rules": rules})
    binding = {
        "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "ServiceAccount", "name": "me", "namespace": "a"}],
    }
    held.put(ResourcePath.parse(f"{RBAC}/namespaces/a/rolebindings/r"), binding)
    rule = {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]}
    held.put(ResourcePath.parse(f"{RBAC}/clusterroles/r"), {"rules": [rule]})
    binding = binding | {"roleRef": {"kind": "ClusterRole", "name": "r"}}
    held.put(ResourcePath.parse(f"{RBAC}/clusterrolebindings/r"), binding)
    return held


@pytest.mark.parametrize(
    ("verb", "path", "fields", "is_fine"),
    [
        ("create", "/api/v1/namespaces/a/configmaps", "", True),
        ("create", "/api/v1/namespaces/b/configmaps", "", False),
        ("get", "/api/v1/namespaces/a/configmaps/one", "", True),
        ("get", "/api/v1/namespaces/a/configmaps/two", "", False),
        ("list", "/api/v1/namespaces/a/configmaps", "", False),
        ("list", "/api/v1/namespaces/a/configmaps", "metadata.name=one", True),
        ("patch", "/api/v1/nodes/n/status", "", True),
        ("patch", "/api/v1/nodes/n", "", False),
        ("patch", "/apis/apps/v1/nodes/n/status", "", False),
    ],
)
def test_a_role_allows_what_it_names_and_nothing_else(
    objects: Objects, verb: str, path: str, fields: str, is_fine: bool
) -> None:
    wish = Wish.of(verb, ResourcePath.parse(path), field_selector=fields)
    assert is_allowed(objects, ME, wish) is is_fine
    assert not is_allowed(objects, service_account("b", "me"), wish)
