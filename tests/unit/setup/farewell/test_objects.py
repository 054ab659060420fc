"""The farewell's manifests: only what is known, owned by the list, for exactly its nodes."""

import pytest
import yaml

from shoal.core.errors import SettingsError
from shoal.setup.farewell.objects import made_ready, read_manifests
from unit.setup.farewell.site import MANIFESTS

OWNER = {"metadata": {"name": "list", "uid": "u"}}


def test_each_is_owned_by_the_list_and_the_daemonset_is_for_its_nodes() -> None:
    account, daemonset = (
        made_ready(it, owner=OWNER, nodes=["n2", "n1"])
        for it in read_manifests(yaml.safe_dump_all(MANIFESTS))
    )
    for made in (account, daemonset):
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("ConfigMap", "u")
        # It would take the right to change the owner's finalizers.
        assert "blockOwnerDeletion" not in owner
    affinity = daemonset["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["n1"], ["n2"]]
    assert "affinity" not in MANIFESTS[1]["spec"]["template"]["spec"]


@pytest.mark.parametrize("text", ["a: [", "kind: Secret", "- 1"])
def test_what_is_not_the_charts_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"farewell\.yaml"):
        read_manifests(text)
