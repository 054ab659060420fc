"""What the cloud says, as the set-up takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from shoal.adapters.cloud.lookup import LookedUp
from shoal.core.cloud.failures import Advice, Mistake
from shoal.core.cloud.lookup import RegistryDomain, Switch
from shoal.setup.cluster.cloud_lookup import CloudLookup, lookup_of
from unit.setup.cluster.world import PLAIN

DOMAIN = RegistryDomain(name="a.b", instance_id="cri-a", why="VPC endpoint of cri-a")
NOTE = Advice(mistake=Mistake.EDITION_UNKNOWN, step="s", sentence="a note", blocks=False)
FOUND = LookedUp(
    region="r", vpc_id="v", domains=(DOMAIN,), switches={"cri-a": Switch(enabled=True)}, advice=()
)


class Told:
    """Instances of which is known what a test says."""

    def __init__(self, found: LookedUp, *switches: bool | None) -> None:
        """Say `found`, and later `switches`."""
        self.told: list[dict[str, str]] = []
        self._found = found
        self._switches = dict(zip(("cri-a", "cri-b"), switches, strict=False))

    async def look_up(self, instance_ids: Sequence[str]) -> LookedUp:
        """Say it."""
        return self._found

    async def switch(self, instance_id: str) -> Switch:
        """Say it."""
        return Switch(enabled=self._switches[instance_id])

    async def report(self, instance_id: str, component: Mapping[str, str]) -> Switch:
        """Keep what is told, and say what the switch is."""
        self.told.append(dict(component))
        return Switch(enabled=self._switches[instance_id])


async def test_domains_are_names_and_notes_are_remarks() -> None:
    found = await CloudLookup(Told(replace(FOUND, advice=(NOTE,))), ["cri-a"]).look_up()
    assert found.names == ("a.b",)
    assert found.remarks == ("a.b, VPC endpoint of cri-a", "a note")
    assert (found.may_share, found.refusal) == (True, "")


async def test_what_blocks_is_the_refusal() -> None:
    blocking = replace(NOTE, blocks=True, sentence="do this")
    found = await CloudLookup(Told(replace(FOUND, advice=(NOTE, blocking))), ["cri-a"]).look_up()
    assert found.refusal == "do this"


async def test_one_switch_that_is_off_is_enough() -> None:
    assert await CloudLookup(Told(FOUND, True, None), ["cri-a", "cri-b"]).may_share()
    assert not await CloudLookup(Told(FOUND, True, False), ["cri-a", "cri-b"]).may_share()


def test_an_installation_names_the_method_and_the_instances() -> None:
    found = lookup_of(replace(PLAIN, method="worker-role", instances=("cri-a",)))
    assert isinstance(found, CloudLookup)


async def test_a_console_is_told_of_the_installation_and_later_only_that_it_runs() -> None:
    told = Told(FOUND, False)
    component = {"ClusterId": "c1"}
    job = CloudLookup(told, ["cri-a"], component=component, installing=True)
    assert not (await job.look_up()).may_share
    controller = CloudLookup(told, ["cri-a"], component=component)
    assert not await controller.may_share()
    assert told.told == [{"ClusterId": "c1", "Installed": "true"}, {"ClusterId": "c1"}]


async def test_an_installation_that_is_refused_is_not_reported() -> None:
    told = Told(replace(FOUND, advice=(replace(NOTE, blocks=True),)), True)
    job = CloudLookup(told, ["cri-a"], component={"ClusterId": "c1"}, installing=True)
    await job.look_up()
    assert told.told == []


async def test_a_console_is_told_of_the_end_and_the_cloud_is_not() -> None:
    told = Told(FOUND, True)
    await CloudLookup(told, ["cri-a"]).uninstalled()
    assert told.told == []
    await CloudLookup(told, ["cri-a"], component={"ClusterId": "c1"}).uninstalled()
    assert told.told == [{"ClusterId": "c1", "Uninstalled": "true"}]
