"""Accounts: the first manages the others, and nothing of one is found in another."""

import pytest

from shoal.control.store import access, accounts
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.records import AlreadyExists, NotFound
from shoal.core.console.models import OidcProvider, PrincipalKind, account_of, root_arn
from shoal.core.iam.policies import Decision
from shoal.core.iam.trust import Caller, may_assume


def test_the_first_manages_and_each_later_one_lets_it_in(
    database: Database, changes: Changes, author: Author
) -> None:
    with database.read() as connection, pytest.raises(NotFound):
        accounts.management(connection)
    with changes.by(author) as change:
        first, second = accounts.create(change, "z"), accounts.create(change, "a")
        with pytest.raises(AlreadyExists):
            accounts.create(change, "a")
    with database.read() as connection:
        assert accounts.find_all(connection) == [first, second]
        assert accounts.management(connection) == first
        assert accounts.find(connection, second.id) == second
        with pytest.raises(NotFound):
            accounts.find(connection, "1")
        assert access.roles(connection, first.id) == []
        (way_in,) = access.roles(connection, second.id)
        (policy,) = access.policies_of(connection, second.id, PrincipalKind.ROLE, way_in.name)
    assert account_of(way_in.arn) == second.id
    assert policy.name == "AdministratorAccess"
    for account, decision in ((first, Decision.ALLOWED), (second, Decision.NOT_ALLOWED)):
        assert may_assume(way_in.trust, Caller("RAM", (root_arn(account.id),))) is decision


def test_names_are_each_accounts_own(database: Database, changes: Changes, author: Author) -> None:
    with changes.by(author) as change:
        both = [accounts.create(change, name).id for name in ("one", "two")]
        for account in both:
            access.create_user(change, account, "p2p", comment="")
            access.put_role(change, account, "edge", comment="", trust="{}", max_session_s=3600)
            access.put_policy(change, account, "read", comment=account, document="{}")
            access.attach(change, account, "read", PrincipalKind.ROLE, "edge")
            access.put_provider(change, OidcProvider(account, "x", "https://i", (), "", 1))
        access.remove_user(change, both[0], "p2p")
        access.detach(change, both[0], "read", PrincipalKind.ROLE, "edge")
        access.remove_policy(change, both[0], "read")
        access.remove_provider(change, both[0], "x")
        edge = access.role(change.connection, both[0], "edge")
        access.remove_role(change, both[0], "edge")
    with database.read() as connection:
        assert access.role_by_id(connection, edge.id) is None
        kept = access.role(connection, both[1], "edge")
        assert access.role_by_id(connection, kept.id) == kept
        assert [user.name for user in access.users(connection, both[1])] == ["p2p"]
        (policy,) = access.policies_of(connection, both[1], PrincipalKind.ROLE, "edge")
        assert policy.comment == both[1]
        assert [one.account for one in access.providers(connection)] == [both[1]]
