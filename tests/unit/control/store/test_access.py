"""Users, keys, roles, policies and OIDC providers."""

import pytest

from shoal.control.store import access
from shoal.control.store.changes import Author, Changes, events
from shoal.control.store.database import Database
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse
from shoal.control.store.vault import Vault
from shoal.core.console.models import OidcProvider, PrincipalKind
from unit.control.account import ACCOUNT


@pytest.fixture(autouse=True)
def people(changes: Changes, author: Author) -> None:
    with changes.by(author) as change:
        access.create_user(change, ACCOUNT, "p2p", comment="for the component")
        access.put_role(change, ACCOUNT, "edge", comment="", trust="{}", max_session_s=3600)
        access.put_policy(change, ACCOUNT, "read", comment="", document="{}")
        access.put_policy(change, ACCOUNT, "system", comment="", document="{}", system=True)


def test_names_are_taken_once(changes: Changes, author: Author, database: Database) -> None:
    with pytest.raises(AlreadyExists), changes.by(author) as change:
        access.create_user(change, ACCOUNT, "p2p", comment="")
    with database.read() as connection:
        assert [user.name for user in access.users(connection, ACCOUNT)] == ["p2p"]


def test_a_key_gives_its_secret_back_to_who_has_the_vault_and_keeps_it_from_the_trail(
    changes: Changes, author: Author, database: Database, vault: Vault
) -> None:
    with changes.by(author) as change:
        key, secret = access.create_key(change, vault, ACCOUNT, "p2p")
        access.create_key(change, vault, ACCOUNT, "p2p")
        with pytest.raises(access.LimitReached):
            access.create_key(change, vault, ACCOUNT, "p2p")
    with database.read() as connection:
        assert access.find_key(connection, vault, key.id) == (key, secret)
        assert secret not in repr(events(connection))
        assert len(access.keys(connection, ACCOUNT, "p2p")) == 2
    with changes.by(author) as change:
        access.set_key_active(change, ACCOUNT, "p2p", key.id, active=False)
        with pytest.raises(NotFound):
            access.set_key_active(change, ACCOUNT, "other", key.id, active=False)
    with database.read() as connection:
        assert not access.find_key(connection, vault, key.id)[0].active
    with changes.by(author) as change:
        access.remove_key(change, ACCOUNT, "p2p", key.id)
        with pytest.raises(NotFound):
            access.remove_key(change, ACCOUNT, "p2p", key.id)
    with database.read() as connection, pytest.raises(NotFound):
        access.find_key(connection, vault, key.id)


def test_a_policy_is_attached_once_and_detached_once(
    changes: Changes, author: Author, database: Database
) -> None:
    with changes.by(author) as change:
        for _ in range(2):
            access.attach(change, ACCOUNT, "read", PrincipalKind.ROLE, "edge")
        access.attach(change, ACCOUNT, "read", PrincipalKind.USER, "p2p")
        with pytest.raises(NotFound):
            access.attach(change, ACCOUNT, "read", PrincipalKind.USER, "nobody")
    with database.read() as connection:
        assert access.counts(connection, ACCOUNT) == {"read": 2}
        assert access.attached_to(connection, ACCOUNT, "read") == [
            (PrincipalKind.ROLE, "edge"),
            (PrincipalKind.USER, "p2p"),
        ]
        (policy,) = access.policies_of(connection, ACCOUNT, PrincipalKind.ROLE, "edge")
        assert policy.name == "read"
    with changes.by(author) as change:
        access.detach(change, ACCOUNT, "read", PrincipalKind.ROLE, "edge")
        with pytest.raises(NotFound):
            access.detach(change, ACCOUNT, "read", PrincipalKind.ROLE, "edge")


def test_system_policies_and_those_in_use_stay(changes: Changes, author: Author) -> None:
    with changes.by(author) as change:
        access.attach(change, ACCOUNT, "read", PrincipalKind.USER, "p2p")
        with pytest.raises(StillInUse, match="user p2p"):
            access.remove_policy(change, ACCOUNT, "read")
        with pytest.raises(StillInUse, match="system"):
            access.remove_policy(change, ACCOUNT, "system")
        with pytest.raises(StillInUse, match="copy it"):
            access.put_policy(change, ACCOUNT, "system", comment="", document="[]")
        access.remove_user(change, ACCOUNT, "p2p")
        access.remove_policy(change, ACCOUNT, "read")


def test_a_role_is_replaced_but_keeps_its_id(
    changes: Changes, author: Author, database: Database
) -> None:
    with database.read() as connection:
        before = access.role(connection, ACCOUNT, "edge")
    with changes.by(author) as change:
        access.put_role(change, ACCOUNT, "edge", comment="new", trust="[]", max_session_s=43200)
        access.put_policy(change, ACCOUNT, "read", comment="", document="[]")
    with database.read() as connection:
        after = access.role(connection, ACCOUNT, "edge")
        assert access.policy(connection, ACCOUNT, "read").document == "[]"
        assert len(access.roles(connection, ACCOUNT)) == 1
    assert (after.id, after.trust, after.max_session_s) == (before.id, "[]", 43200)
    with changes.by(author) as change:
        access.remove_role(change, ACCOUNT, "edge")
        with pytest.raises(NotFound):
            access.role(change.connection, ACCOUNT, "edge")


def test_an_issuer_belongs_to_one_provider(
    changes: Changes, author: Author, database: Database
) -> None:
    provider = OidcProvider(ACCOUNT, "rrsa", "https://issuer", ("sts.aliyuncs.com",), "", 1)
    with changes.by(author) as change:
        access.put_provider(change, provider)
        access.put_provider(change, provider)
        with pytest.raises(AlreadyExists):
            access.put_provider(change, OidcProvider(ACCOUNT, "other", "https://issuer", (), "", 1))
    with database.read() as connection:
        assert access.providers(connection, ACCOUNT) == [provider]
    with changes.by(author) as change:
        access.remove_provider(change, ACCOUNT, "rrsa")
        with pytest.raises(NotFound):
            access.remove_provider(change, ACCOUNT, "rrsa")
