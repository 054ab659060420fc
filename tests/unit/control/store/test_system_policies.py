"""The policies that come with an account."""

from shoal.control.store import access
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.system_policies import add_system_policies
from shoal.core.console.documents import problems
from unit.control.account import ACCOUNT


def test_they_are_well_formed_and_have_the_documentations_names(
    database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        add_system_policies(change, ACCOUNT)
    with database.read() as connection:
        policies = {policy.name: policy for policy in access.policies(connection, ACCOUNT)}
    assert "AliyunSTSAssumeRoleAccess" in policies
    for policy in policies.values():
        assert policy.system
        assert problems(policy.document, trust=False) == ()
