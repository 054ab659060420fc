"""A console as it was when there was one account: filled, and looked at after its migration."""

from sqlalchemy import Connection, text

from shoal.control.store import access, accounts, administrators, clusters, instances
from shoal.control.store.database import Database
from shoal.control.store.vault import Vault
from shoal.core.console.models import PrincipalKind

_ACCOUNT = "1234567890123456"
_ROWS = (
    "INSERT INTO setting VALUES ('account_id', '1234567890123456')",
    "INSERT INTO administrator VALUES ('admin', 'h', 7)",
    "INSERT INTO instance VALUES ('cri-1', 'team', 'r-1', 'Enterprise_Standard', 'RUNNING',"
    " 'http://r', TRUE, 1, 1, 1, 1)",
    "INSERT INTO endpoint VALUES ('cri-1', 'vpc', TRUE, FALSE, '[\"r.example.com\"]', '[]')",
    "INSERT INTO ram_user VALUES ('p2p', '31', '', 8)",
    "INSERT INTO access_key VALUES ('LTAI', 'p2p', :secret, TRUE, 9)",
    "INSERT INTO ram_role VALUES ('edge', '32', '', '{}', 3600, 9)",
    "INSERT INTO policy VALUES ('read', 'mine', '{}', FALSE, 9)",
    "INSERT INTO attachment VALUES ('read', 'role', 'edge')",
    "INSERT INTO oidc_provider VALUES ('rrsa', 'https://i', '[]', '', 9)",
    "INSERT INTO cluster VALUES ('c1', 'edge', 'r-1', 'vpc-1', TRUE, '1.28.3', FALSE, '', 9)",
    "INSERT INTO node_pool VALUES ('np1', 'c1', 'line', 'edge', TRUE, TRUE, 3)",
    "INSERT INTO component VALUES ('c1', 'cri-1', '0.4', 'rrsa', 1, 9, 9)",
)


def fill_first_schema(connection: Connection, vault: Vault) -> None:
    """Add a row or more to every table of the first schema."""
    secret = vault.seal("s3cret", belongs_to="LTAI")
    for statement in _ROWS:
        values = {"secret": secret} if ":secret" in statement else {}
        connection.execute(text(statement), values)


def assert_is_in_one_account(database: Database, vault: Vault) -> None:
    """Look for all of it in today's schema."""
    with database.read() as connection:
        (account,) = accounts.find_all(connection)
        assert (account.id, account.management, account.created_at) == (_ACCOUNT, True, 7)
        assert administrators.names(connection) == ["admin"]
        assert instances.find(connection, "cri-1").account == _ACCOUNT
        assert instances.endpoints(connection, "cri-1")[0].domains == ("r.example.com",)
        assert clusters.find(connection, "c1").account == _ACCOUNT
        assert [pool.id for pool in clusters.pools(connection, "c1")] == ["np1"]
        assert [one.version for one in clusters.components(connection)] == ["0.4"]
        assert [user.id for user in access.users(connection, _ACCOUNT)] == ["31"]
        key, secret = access.find_key(connection, vault, "LTAI")
        assert (key.account, key.user_name, secret) == (_ACCOUNT, "p2p", "s3cret")
        assert access.role(connection, _ACCOUNT, "edge").id == "32"
        held = access.policies_of(connection, _ACCOUNT, PrincipalKind.ROLE, "edge")
        assert [policy.comment for policy in held] == ["mine"]
        assert access.policy(connection, _ACCOUNT, "AdministratorAccess").system
        assert [one.name for one in access.providers(connection, _ACCOUNT)] == ["rrsa"]
