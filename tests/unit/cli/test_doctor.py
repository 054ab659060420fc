"""`shoal doctor` at a served console: what it prints, and how it exits."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shoal.cli.main import main
from shoal.control import passwords
from shoal.control.store import access, instances
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import KEY_BYTES, Vault
from shoal.core.console.models import PrincipalKind
from unit.adapters.cloud.page import DOMAIN, VPC, WORKER_ROLE, Page, serve_page
from unit.control.api.served_cloud import INSTANCE, REMOTE


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    """Return a console where all steps were done, which the environment names."""
    monkeypatch.setattr(passwords, "LOG2_N", 4)
    database = Database(f"sqlite:///{tmp_path}/console.db")
    migrate(database)
    async with serve_page(database, Vault(bytes(KEY_BYTES)), tmp_path) as made:
        monkeypatch.setenv("SHOAL_CLOUD_ENDPOINT", f"http://{made.cloud.endpoint}")
        monkeypatch.setenv("SHOAL_CLOUD_METADATA", made.metadata)
        monkeypatch.delenv("SHOAL_SETUP_CONFIG", raising=False)
        yield made
    database.close()


async def _doctor(*words: str) -> int:
    return await asyncio.to_thread(main, ["doctor", *words])


async def test_nothing_is_missing_where_every_step_was_done(
    page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(f'acrInstances: "{INSTANCE}"\n')
    await page.change(
        lambda c: access.attach(
            c,
            page.cloud.account,
            "AliyunContainerRegistryReadOnlyAccess",
            PrincipalKind.ROLE,
            WORKER_ROLE,
        )
    )
    assert await _doctor("--values", str(values)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ok       credentials: the cloud accepts them",
        f"ok       domain: {DOMAIN} (VPC endpoint of {INSTANCE})",
        "nothing is missing",
    ]


async def test_a_forgotten_step_is_named_and_what_to_paste_is_printed(
    page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    await page.change(
        lambda c: access.detach(c, page.cloud.account, "p2p", PrincipalKind.ROLE, WORKER_ROLE)
    )
    assert await _doctor("--instances", INSTANCE) == 1
    out = capsys.readouterr().out
    assert "MISSING  instance: Step 2, Method 1 (worker RAM role): " in out
    assert '"cr:GetInstanceVpcEndpoint",' in out
    assert out.endswith("1 to mend\n")


async def test_a_program_reads_the_same_as_json(
    page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await page.change(lambda c: instances.switch(c, REMOTE, enable=False, confirmed=True))
    page.write_token()
    values = tmp_path / "values.yaml"
    values.write_text(
        f'registryInstances: "{REMOTE}"\nregion: cn-hangzhou\nvpcId: {VPC}\nrrsa:\n'
        f"  enable: true\n  rrsaRoleARN: {page.cloud.arn('cluster')}\n"
        f"  rrsaOIDCProviderRoleARN: {page.cloud.provider}\n"
        f"  assumeRoleARN: {page.cloud.arn('registry')}\n  expireDuration: 7200\n"
    )
    token = str(page.folder / "token")
    assert await _doctor("--values", str(values), "--token-file", token, "--json") == 1
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    mistakes = {check["mistake"]: check for check in told["checks"]}
    assert mistakes["p2p-off"]["step"] == "Step 1"
    assert mistakes["edition-unknown"]["state"] == "note"
    assert mistakes["edition-unknown"]["document"]["Statement"][0]["Action"][0] == "cr:GetInstance"


async def test_an_access_key_comes_from_flags_files_and_the_environment(
    page: Page,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    key_id, secret = page.cloud.keys["reader"]
    where = ("--instances", INSTANCE, "--region", "cn-hangzhou", "--vpc-id", VPC)
    (tmp_path / "secret.txt").write_text(f"{secret}\n")
    by_flags = ("--access-key", key_id, "--access-key-secret-file", str(tmp_path / "secret.txt"))
    assert await _doctor(*where, *by_flags) == 0
    page.write_key("reader")
    by_folder = ("--method", "access-key", "--access-key-dir", str(page.folder))
    assert await _doctor(*where, *by_folder) == 0
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "wrong")
    assert await _doctor(*where, "--method", "access-key") == 1
    out = capsys.readouterr().out
    assert "the AccessKey secret is not that of the AccessKey ID" in out
    assert secret not in out


async def test_what_may_pass_by_itself_has_a_code_of_its_own(
    page: Page, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOAL_CLOUD_ENDPOINT", "http://127.0.0.1:9")
    assert await _doctor("--instances", INSTANCE) == 69
    assert "127.0.0.1:9 cannot be reached" in capsys.readouterr().out


async def test_a_node_looks_at_a_registry_and_at_other_nodes(
    page: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    # The console stands for a registry that is none: it answers 404 to /v2/.
    code = await _doctor(
        "--registry", page.cloud.endpoint, "--plain-http", "--peer", page.cloud.endpoint
    )
    out = capsys.readouterr().out
    assert code == 1
    assert "status 404 instead of a registry's answer" in out
    assert f"ok       this node to {page.cloud.endpoint}: 1 nodes can be reached" in out


def test_a_doctor_without_anything_to_look_at_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SHOAL_SETUP_CONFIG", raising=False)
    assert main(["doctor"]) == 78
    assert "there is nothing to look at" in capsys.readouterr().err
