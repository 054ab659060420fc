"""Uninstall: nothing is left, and nodes that are down are cleaned when they return."""

from pathlib import Path
from typing import Any

import pytest

from shoal.adapters.kube.api import KubeConnection, KubeError
from shoal.setup.farewell.job import Left, summary
from shoal.setup.names import FAREWELL, NAME, NODE_CONDITION
from shoal.testing.kube.faults import Refuse
from shoal.testing.kube.objects import ResourcePath
from unit.setup.farewell.site import APPS, CORE, Site, site


def _is_gone(it: Site) -> bool:
    """Whether nothing of Shoal's is in the cluster."""
    left = [
        *it.names(f"{APPS}/daemonsets"),
        *it.names(f"{APPS}/deployments"),
        *it.names(f"{CORE}/configmaps"),
        *it.names(f"{CORE}/secrets"),
        *it.names(f"{CORE}/serviceaccounts"),
        *it.names(f"{CORE}/pods"),
        *it.names("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"),
    ]
    return left == []


def _has_condition(it: Site, node: str) -> bool:
    found = it.server.objects.get(ResourcePath.parse(f"/api/v1/nodes/{node}"))
    assert found is not None
    return any(each["type"] == NODE_CONDITION for each in found["status"]["conditions"])


async def test_nothing_is_left_on_the_nodes_and_in_the_cluster(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        for node in ("n1", "n2", "n3"):
            it.add_node(node)
        assert await it.uninstall().run() == []
        assert all(it.is_clean(node) for node in ("n1", "n2", "n3"))
        assert not any(_has_condition(it, node) for node in ("n1", "n2", "n3"))
        await it.until(lambda: _is_gone(it))
        # The webhook's copies of pull secrets go, their originals do not.
        assert it.names("/api/v1/secrets") == ["theirs"]


async def test_a_node_that_is_down_is_told_of_and_cleaned_when_it_returns(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        it.add_node("n2")
        await it.until(lambda: len(it.names(f"{CORE}/pods")) == 2)
        it.kubelets.put_node("n2", up=False)
        left = await it.uninstall(wait_s=0.1).run()
        assert Left("n2", "it is down") in left
        await it.until(lambda: it.listed() == {"n2"})
        assert it.is_clean("n1")
        assert not it.is_clean("n2")
        # The list, and what cleans by it, is all that outlives the release.
        assert it.names(f"{CORE}/configmaps") == it.names(f"{APPS}/daemonsets") == [FAREWELL]
        it.kubelets.put_node("n2")
        await it.until(lambda: it.is_clean("n2") and _is_gone(it))


async def test_a_node_whose_pod_went_earlier_is_known_by_its_condition(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.server.delete(f"{APPS}/daemonsets/{NAME}")
        it.add_node("n1")
        assert await it.uninstall().run() == []
        assert it.is_clean("n1")


async def test_where_there_was_no_node_there_is_no_list(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        assert await it.uninstall().run() == []
        assert _is_gone(it)


class Dying(KubeConnection):
    """A connection that breaks at one of its requests, which is answered unseen or never made."""

    left = 0
    is_done = True

    async def _asked(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self.left -= 1
        if self.left >= 0:
            return await super()._asked(*arguments, **options)
        if self.is_done:
            await super()._asked(*arguments, **options)
        raise KubeError("cut")


@pytest.mark.parametrize("is_done", [False, True])
async def test_a_job_that_died_at_any_request_is_finished_by_the_next(
    tmp_path: Path, is_done: bool
) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        for requests in range(200):
            job = it.uninstall()
            job.kube = dying = Dying(it.kube._access, it.kube._session)
            dying.left, dying.is_done = requests, is_done
            job.patience_s = 0.0
            try:
                assert await job.run() == []
            except (KubeError, ExceptionGroup):
                continue
            break
        else:
            pytest.fail("it is never done")
        assert requests > 3
        assert it.is_clean("n1")
        await it.until(lambda: _is_gone(it))


async def test_an_api_server_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1")
        for status in (429, 503, 500):
            it.server.faults.add(Refuse(status), times=2)
        assert await it.uninstall().run() == []
        assert it.is_clean("n1")


async def test_a_second_uninstall_adds_to_the_list_of_the_first(tmp_path: Path) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1", up=False)
        left = await it.uninstall(wait_s=0.1).run()
        assert [one.node for one in left] == ["n1"]
        it.add_node("n2", up=False)
        left = await it.uninstall(wait_s=0.1).run()
        assert [one.node for one in left] == ["n1", "n2"]
        it.kubelets.put_node("n1")
        it.kubelets.put_node("n2")
        await it.until(lambda: it.is_clean("n1") and it.is_clean("n2") and _is_gone(it))


async def test_a_node_that_was_deleted_is_not_waited_for_and_one_deleted_since_is_told(
    tmp_path: Path,
) -> None:
    async with site(tmp_path) as it:
        it.add_node("n1", up=False)
        assert len(await it.uninstall(wait_s=0.1).run()) == 1
        it.server.delete("/api/v1/nodes/n1")
        assert await it.uninstall(wait_s=0.1).run() == [Left("n1", "its Node was deleted")]


@pytest.mark.parametrize("left", [[], [Left("n1", "it is down")]])
def test_what_is_told_names_each_node_and_the_remedy(left: list[Left]) -> None:
    lines = summary(left)
    if left:
        assert "  n1: it is down" in lines
        assert f"kubectl delete configmap {FAREWELL}" in lines[-1]
    else:
        assert lines == ["every node is as it was"]
