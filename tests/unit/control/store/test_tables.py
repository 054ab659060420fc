"""The tables as the code names them: every record has its columns."""

from dataclasses import fields

import pytest
from sqlalchemy import Table

from shoal.control.store import administrators, tables
from shoal.core.console import models

# What a table keeps beside the record, and nobody but its module reads.
EXTRA = {"access_key": {"sealed_secret"}}


@pytest.mark.parametrize(
    ("table", "record"),
    [
        (tables.WEB_SESSION, administrators.Session),
        (tables.ACCOUNT, models.Account),
        (tables.INSTANCE, models.Instance),
        (tables.ENDPOINT, models.Endpoint),
        (tables.VPC_LINK, models.VpcLink),
        (tables.USER, models.User),
        (tables.ACCESS_KEY, models.AccessKey),
        (tables.ROLE, models.Role),
        (tables.POLICY, models.Policy),
        (tables.OIDC_PROVIDER, models.OidcProvider),
        (tables.CLUSTER, models.Cluster),
        (tables.NODE_POOL, models.NodePool),
        (tables.COMPONENT, models.Component),
        (tables.AUDIT, models.AuditEvent),
    ],
)
def test_a_table_has_the_columns_of_its_record(table: Table, record: type[models.User]) -> None:
    names = {field.name for field in fields(record)}
    assert set(table.columns.keys()) == names | EXTRA.get(table.name, set())


def test_only_what_says_so_may_be_null() -> None:
    nullable = {
        f"{table.name}.{column.name}"
        for table in tables.METADATA.tables.values()
        for column in table.columns
        if column.nullable
    }
    assert nullable == {"instance.p2p_changed_at"}
