"""From the set-up to a real console and back: the component's whole life, through the SDKs."""

from dataclasses import replace
from pathlib import Path

import pytest

from shoal.control import passwords
from shoal.control.store import instances
from shoal.control.store.changes import Change
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import KEY_BYTES, Vault
from shoal.core.console.switch import SwitchRefused
from shoal.setup.cluster.cloud_lookup import lookup_of
from unit.adapters.cloud.page import DOMAIN, serve_page
from unit.control.api.served_cloud import INSTANCE
from unit.setup.cluster.world import PLAIN


def _switched(change: Change, *, on: bool, forced: bool = False) -> None:
    instances.switch(change, INSTANCE, enable=on, confirmed=True, forced=forced)


async def test_the_switch_and_the_component_keep_the_rules_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "LOG2_N", 4)
    database = Database(f"sqlite:///{tmp_path}/console.db")
    migrate(database)
    async with serve_page(database, Vault(bytes(KEY_BYTES)), tmp_path) as page:
        environment = {
            "SHOAL_CLOUD_ENDPOINT": f"http://{page.cloud.endpoint}",
            "SHOAL_CLOUD_METADATA": page.metadata,
            "SHOAL_CLOUD_CLUSTER": "c1",
        }
        installation = replace(PLAIN, method="worker-role", instances=(INSTANCE,))
        job = lookup_of(installation, installing=True, environment=environment)
        controller = lookup_of(installation, environment=environment)

        found = await job.look_up()
        assert (found.names, found.may_share, found.refusal) == ((DOMAIN,), True, "")
        with pytest.raises(SwitchRefused, match=r"still installed in edge \(c1\)"):
            await page.change(lambda change: _switched(change, on=False))

        await page.change(lambda change: _switched(change, on=False, forced=True))
        assert not await controller.may_share()
        assert "Step 1: P2P Acceleration" in (await job.look_up()).refusal
        await page.change(lambda change: _switched(change, on=True))
        assert not await controller.may_share(), "it has to be installed anew"
        await job.look_up()
        assert await controller.may_share()

        await controller.uninstalled()
        await page.change(lambda change: _switched(change, on=False))
    database.close()
