"""The same records on PostgreSQL: a real server, on a socket in a folder, for one test."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect

from shoal.control.store import access, accounts, administrators, clusters, instances
from shoal.control.store.backup import backup, restore
from shoal.control.store.changes import Author, Changes, events
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate, migrations
from shoal.control.store.tables import METADATA
from shoal.control.store.vault import KEY_BYTES, Vault
from shoal.core.console.models import (
    Cluster,
    Component,
    Edition,
    Instance,
    InstanceStatus,
    OidcProvider,
    PrincipalKind,
)
from unit.control.store.first_schema import assert_is_in_one_account, fill_first_schema

USER = "postgres"  # made by Debian's package; the server refuses to run as root
AUTHOR = Author("admin", "127.0.0.1", "R-1")
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
VAULT = Vault(bytes(KEY_BYTES))


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Run a server without network; yield the URL of its database."""
    binaries = _binaries()
    if binaries is None or os.geteuid() != 0:
        pytest.skip("takes root, and Debian's package postgresql")
    # Its folder has to be reached by another user, which pytest's folders are not.
    folder = Path("/tmp") / f"shoal-postgresql-{os.getpid()}"
    folder.mkdir(mode=0o700)
    shutil.chown(folder, USER)
    run_as = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups"]
    control = [*run_as, str(binaries / "pg_ctl"), "-D", f"{folder}/data", "-w", "-t", "60"]
    try:
        subprocess.run(
            [*run_as, str(binaries / "initdb"), "-D", f"{folder}/data", "-N", "-A", "trust"],
            check=True, capture_output=True, cwd="/", env=ENVIRONMENT,
        )  # fmt: skip
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        subprocess.run(
            [*control, "-o", options, "-l", f"{folder}/log", "start"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        try:
            yield f"postgresql://{USER}@/postgres?host={folder}"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(changes: Changes) -> str:
    """Write a record of each kind; return the account that they belong to."""
    with changes.by(AUTHOR) as change:
        administrators.first_administrator(change, "admin", hash_="h")
        account = accounts.management(change.connection).id
        accounts.create(change, "factory")
        administrators.sign_in(change, "admin")
        instance = Instance(
            "cri-1", account, "team", "cn-hangzhou", Edition.STANDARD, InstanceStatus.RUNNING,
            "http://r", False, 0, None, 1, 1,
        )  # fmt: skip
        instances.create(change, instance)
        instances.switch(change, "cri-1", enable=True, confirmed=True)
        cluster = Cluster("c1", account, "f", "r-1", "vpc-1", True, "1.28.3", False, "", 1)
        clusters.create(change, cluster)
        clusters.report(change, Component("c1", "cri-1", "0.4.0", "rrsa", 1, 1, 1), installed=True)
        access.create_user(change, account, "p2p", comment="")
        access.create_key(change, VAULT, account, "p2p")
        access.attach(change, account, "ShoalP2PComponentAccess", PrincipalKind.USER, "p2p")
        access.put_provider(change, OidcProvider(account, "x", "https://i", ("sts",), "", 1))
    return account


def test_records_migrations_and_backups_are_the_same_as_on_sqlite(url: str, tmp_path: Path) -> None:
    database = Database(url)
    assert [step.number for step in migrate(database)] == [1, 2]
    assert migrate(database) == ()
    with database.read() as connection:
        assert {*METADATA.tables} <= {*inspect(connection).get_table_names()}
    account = _fill(Changes(database))
    other = Database(f"sqlite:///{tmp_path}/console.db")
    rows = backup(database, tmp_path / "backup")
    assert restore(other, tmp_path / "backup") == rows
    with database.read() as first, other.read() as second:
        assert events(first) == events(second)
        assert instances.find_all(first) == instances.find_all(second)
        assert access.counts(first, account) == access.counts(second, account)
    # And the way back.
    assert backup(other, tmp_path / "back") == rows
    assert restore(database, tmp_path / "back", replace=True) == rows
    with database.read() as connection:
        (key,) = access.keys(connection, account, "p2p")
        assert len(access.find_key(connection, VAULT, key.id)[1]) == 30
    other.close()
    database.close()


def test_a_database_of_one_account_is_migrated_with_what_is_in_it(url: str) -> None:
    database = Database(url)
    migrate(database, migrations()[:1])
    with database.write() as connection:
        fill_first_schema(connection, VAULT)
    migrate(database)
    assert_is_in_one_account(database, VAULT)
    database.close()
