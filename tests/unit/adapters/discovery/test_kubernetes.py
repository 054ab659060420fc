"""Members from a Service's EndpointSlices: against a server over HTTPS, in good and bad days."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.adapters.discovery.kubernetes import EndpointSlices, KubernetesDiscovery
from shoal.adapters.discovery.node_sites import NodeSites
from shoal.core.peer import PeerId
from shoal.testing.kube.faults import Cut, Fault, Refuse, Slow
from shoal.testing.kube.slices import endpoint, endpoint_slice, slice_path
from unit.adapters.kube.serving import QUICK, Cluster, cluster
from unit.agent.driving import until

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def peers(*addresses: str) -> frozenset[PeerId]:
    return frozenset(PeerId(f"{address}:65002") for address in addresses)


def put(made: Cluster, name: str, *addresses: str) -> None:
    made.server.put(slice_path(name), endpoint_slice(map(endpoint, addresses)))


@asynccontextmanager
async def watching(
    made: Cluster, settle_s: float = 0.01
) -> AsyncIterator[Callable[[], frozenset[PeerId] | None]]:
    told: list[frozenset[PeerId]] = []
    discovery = KubernetesDiscovery(
        made.access, namespace="shoal", service="peers", port=65002, waits=QUICK, settle_s=settle_s
    )
    task = asyncio.ensure_future(discovery.watch(told.append))
    try:
        yield lambda: told[-1] if told else None
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_members_are_the_endpoints_of_all_slices_of_the_service(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        put(made, "peers-a", A)
        put(made, "peers-b", B)
        made.server.put(
            slice_path("others"), endpoint_slice([endpoint("10.9.9.9")], service="others")
        )
        async with watching(made) as known:
            await until(lambda: known() == peers(A, B))


async def test_a_service_without_endpoints_is_an_answer(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made, watching(made) as known:
        await until(lambda: known() == frozenset())


async def test_who_comes_and_goes_is_known_within_three_seconds(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        put(made, "peers-a", A)
        async with watching(made, settle_s=1.0) as known:
            await until(lambda: known() == peers(A))
            for expected in (peers(A, B), peers(A)):
                began_s = time.monotonic()
                put(made, "peers-a", *(str(peer).partition(":")[0] for peer in sorted(expected)))
                await until(lambda expected=expected: known() == expected)  # type: ignore[misc]
                # 3 s is what is asked; a second is usual. The rest is for a machine
                # that does much else.
                assert time.monotonic() - began_s < 15
            made.server.delete(slice_path("peers-a"))
            await until(lambda: known() == frozenset())


@pytest.mark.parametrize(
    "fault", [Refuse(429, retry_after_s=0), Refuse(500), Refuse(503), Refuse(410), Cut(), Slow(0.1)]
)
@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_a_fault_delays_and_loses_nothing(tmp_path: Path, fault: Fault, verb: Any) -> None:
    async with cluster(tmp_path) as made:
        put(made, "peers-a", A)
        made.server.faults.add(fault, verb=verb, times=2)
        async with watching(made) as known:
            await until(lambda: known() == peers(A))
            put(made, "peers-b", B)
            await until(lambda: known() == peers(A, B))


async def test_the_last_members_stay_while_the_server_is_gone(tmp_path: Path) -> None:
    async with cluster(tmp_path) as made:
        put(made, "peers-a", A, B)
        async with watching(made) as known:
            await until(lambda: known() == peers(A, B) and made.server.watches == 1)
            await made.server.stop()
            await asyncio.sleep(0.3)
            assert known() == peers(A, B)
            made.server.delete(slice_path("peers-a"))
            put(made, "peers-b", C)
            await made.server.start()
            await until(lambda: known() == peers(C))


async def test_an_hour_without_the_server_forgets_nobody_and_ends_in_a_new_list(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as made:
        put(made, "peers-a", A)
        async with watching(made) as known:
            await until(lambda: known() == peers(A) and made.server.watches == 1)
            await made.server.stop()
            put(made, "peers-a", A, B)
            made.server.objects.forget()  # etcd keeps five minutes
            await made.server.start()
            await until(lambda: known() == peers(A, B))


def slices(**options: Any) -> EndpointSlices:
    return EndpointSlices(**{"port": 65002, "prefers_ipv6": False, **options})


def named(name: str, thing: dict[str, Any]) -> dict[str, Any]:
    thing["metadata"]["name"] = name
    return thing


@pytest.mark.parametrize(
    ("conditions", "is_member"),
    [
        (None, True),
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False, "serving": False, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
    ],
)
def test_who_is_ready_and_stays_is_a_member(conditions: Any, is_member: bool) -> None:
    mirror = slices()
    mirror.put(named("a", endpoint_slice([endpoint(A) | {"conditions": conditions}])))
    assert mirror.members() == (peers(A) if is_member else frozenset())


@pytest.mark.parametrize(
    ("prefers_ipv6", "expected"), [(False, "10.0.0.1:65002"), (True, "[fd00::1]:65002")]
)
def test_a_pod_of_both_families_is_one_member(prefers_ipv6: bool, expected: str) -> None:
    mirror = slices(prefers_ipv6=prefers_ipv6)
    mirror.put(named("v4", endpoint_slice([endpoint(A, pod="p")])))
    mirror.put(named("v6", endpoint_slice([endpoint("fd00:0::1", pod="p")])))
    assert mirror.members() == {PeerId(expected)}


def test_who_has_an_address_of_the_other_family_only_is_a_member_too() -> None:
    mirror = slices()
    mirror.put(named("v6", endpoint_slice([endpoint("fd00::1")])))
    assert mirror.members() == {PeerId("[fd00::1]:65002")}


@pytest.mark.parametrize(
    ("ports", "port"),
    [
        ([{"name": "metrics", "port": 1}, {"name": "peer", "port": 2}], 2),
        ([{"name": "", "port": 3}], 3),
        ([{"name": "a", "port": 1}, {"name": "b", "port": 2}], 65002),
        ([], 65002),
        (None, 65002),
        ([{"name": "peer", "port": None}], 65002),
    ],
)
def test_the_port_is_the_slice_s_or_the_node_s_own(ports: Any, port: int) -> None:
    mirror = slices()
    mirror.put(named("a", endpoint_slice([endpoint(A)]) | {"ports": ports}))
    assert mirror.members() == {PeerId(f"{A}:{port}")}


def test_an_endpoint_that_moves_to_another_slice_stays_one_member() -> None:
    mirror = slices()
    mirror.put(named("a", endpoint_slice([endpoint(A)])))
    mirror.put(named("b", endpoint_slice([endpoint(A)])))
    mirror.drop(named("a", endpoint_slice([])))
    assert mirror.members() == peers(A)


def test_names_and_addresses_of_no_node_are_no_members() -> None:
    mirror = slices()
    mirror.put(named("a", endpoint_slice([endpoint("0.0.0.0"), endpoint("nowhere")])))
    mirror.put(named("b", endpoint_slice([endpoint("a.example")]) | {"addressType": "FQDN"}))
    assert mirror.members() == frozenset()


def test_thousands_of_endpoints_are_thousands_of_members() -> None:
    mirror = slices()
    mirror.replace(
        [
            named(f"s{i}", endpoint_slice(endpoint(f"10.1.{i}.{j}") for j in range(100)))
            for i in range(50)
        ]
    )
    assert len(mirror.members()) == 5000


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["metadata", "addressType", "ports", "endpoints"]),
        _JSON
        | st.just("IPv4")
        | st.lists(
            st.fixed_dictionaries({"addresses": _JSON, "conditions": _JSON, "targetRef": _JSON})
        ),
    )
)
def test_whatever_a_slice_holds_it_raises_nothing(thing: dict[str, Any]) -> None:
    mirror = slices()
    mirror.put(thing)
    mirror.drop(thing)
    assert mirror.members() == frozenset()


async def test_members_of_other_sites_are_left_out_until_the_file_says_otherwise(
    tmp_path: Path,
) -> None:
    file = tmp_path / "nodes.yaml"
    file.write_text(f"{{node-{A}: x, node-{B}: x, node-{C}: y}}")
    sites = NodeSites(file, node=f"node-{A}", poll_s=0.01)
    told: list[frozenset[PeerId]] = []
    async with cluster(tmp_path) as made:
        put(made, "one", A, B, C)
        discovery = KubernetesDiscovery(
            made.access,
            namespace="shoal",
            service="peers",
            port=65002,
            sites=sites,
            waits=QUICK,
            settle_s=0.01,
        )
        task = asyncio.ensure_future(discovery.watch(told.append))
        await until(lambda: bool(told))
        other = tmp_path / "other.yaml"
        other.write_text(f"{{node-{A}: y, node-{B}: x, node-{C}: y}}")
        other.rename(file)
        await until(lambda: len(told) == 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert told == [peers(A, B), peers(A, C)]


async def test_the_config_map_says_sooner_than_its_file_and_the_file_while_it_cannot(
    tmp_path: Path,
) -> None:
    config_map = "/api/v1/namespaces/shoal/configmaps/agent"
    file = tmp_path / "nodes.yaml"
    file.write_text(f"{{node-{A}: x, node-{B}: x}}")
    told: list[frozenset[PeerId]] = []
    async with cluster(tmp_path) as made:
        put(made, "one", A, B, C)
        made.server.put("/api/v1/namespaces/shoal/configmaps/other", {"data": {"nodes.yaml": "{}"}})
        discovery = KubernetesDiscovery(
            made.access,
            namespace="shoal",
            service="peers",
            port=65002,
            sites=NodeSites(file, node=f"node-{A}"),
            sites_config_map="agent",
            waits=QUICK,
            settle_s=0.01,
        )
        task = asyncio.ensure_future(discovery.watch(told.append))
        await until(lambda: told == [peers(A, B)])  # of the file: there is no ConfigMap
        sites = {f"node-{address}": "x" for address in (A, B, C)}
        made.server.put(config_map, {"data": {"nodes.yaml": json.dumps(sites)}})
        await until(lambda: told[-1] == peers(A, B, C))
        made.server.delete(config_map)
        made.server.cut_watches()
        await until(lambda: made.server.watches == 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert told == [peers(A, B), peers(A, B, C)]
