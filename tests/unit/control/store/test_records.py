"""Rows become records and come back the same."""

from sqlalchemy import insert, select

from shoal.control.store.database import Database
from shoal.control.store.records import from_row, to_row
from shoal.control.store.tables import OIDC_PROVIDER
from shoal.core.console.models import Endpoint, EndpointKind, OidcProvider


def test_a_record_survives_the_database(database: Database) -> None:
    provider = OidcProvider("1", "rrsa", "https://issuer", ("sts.aliyuncs.com",), "", 5)
    with database.write() as connection:
        connection.execute(insert(OIDC_PROVIDER).values(to_row(provider)))
    with database.read() as connection:
        assert from_row(OidcProvider, connection.execute(select(OIDC_PROVIDER)).one()) == provider


def test_enums_and_lists_are_kept_as_text() -> None:
    endpoint = Endpoint("cri-1", EndpointKind.VPC, True, False, ("a", "b"), ())
    row = to_row(endpoint)
    assert (row["kind"], row["domains"], row["acl"]) == ("vpc", '["a", "b"]', "[]")
    assert type(row["kind"]) is str
