"""People who sign in: the first one, their sessions, and how both end."""

import pytest

from shoal.control.store import accounts
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse


@pytest.fixture
def admin(changes: Changes, author: Author) -> str:
    with changes.by(author) as change:
        accounts.first_administrator(change, "admin", hash_="h")
    return "admin"


def test_only_an_empty_console_takes_a_first_administrator(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with pytest.raises(AlreadyExists), changes.by(author) as change:
        accounts.first_administrator(change, "other", hash_="h")
    with database.read() as connection:
        assert accounts.administrators(connection) == [admin]
        assert len(accounts.account_id(connection)) == 16
        assert accounts.password_hash(connection, "admin") == "h"
        assert accounts.password_hash(connection, "nobody") is None


def test_a_session_is_found_by_its_token_which_is_not_kept(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        token = accounts.sign_in(change, admin, region="cn-hangzhou")
        now_s = change.now_s
    with database.read() as connection:
        found = accounts.session(connection, token, now_s=now_s)
        assert found is not None
        assert found.administrator == admin
        assert token not in repr(found)
        assert accounts.session(connection, "other", now_s=now_s) is None
        assert accounts.session(connection, token, now_s=now_s + accounts.IDLE_S + 1) is None
    with changes.by(author) as change:
        accounts.choose_region(change, found, "eu-central-1")
        accounts.seen(change, found)
    assert accounts.is_to_be_noted(found, now_s=now_s + 60)
    assert not accounts.is_to_be_noted(found, now_s=now_s + 59)
    with changes.by(author) as change:
        accounts.sign_out(change, found)
    with database.read() as connection:
        assert accounts.session(connection, token, now_s=now_s) is None


def test_a_new_password_ends_all_sessions(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        accounts.sign_in(change, admin, region="")
    with database.read() as connection:
        assert accounts.open_sessions(connection, admin) == 1
    with changes.by(author) as change:
        accounts.set_password(change, admin, hash_="new")
    with database.read() as connection:
        assert accounts.open_sessions(connection, admin) == 0
    with pytest.raises(NotFound), changes.by(author) as change:
        accounts.set_password(change, "nobody", hash_="new")


def test_the_last_administrator_stays(admin: str, changes: Changes, author: Author) -> None:
    with pytest.raises(StillInUse), changes.by(author) as change:
        accounts.remove_administrator(change, admin)
    with changes.by(author) as change:
        accounts.add_administrator(change, "second", hash_="h")
        accounts.sign_in(change, admin, region="")
        accounts.remove_administrator(change, admin)
        with pytest.raises(NotFound):
            accounts.remove_administrator(change, admin)
        with pytest.raises(AlreadyExists):
            accounts.add_administrator(change, "second", hash_="h")
