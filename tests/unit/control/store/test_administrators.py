"""People who sign in: the first one, their sessions, and how both end."""

import pytest

from shoal.control.store import accounts, administrators
from shoal.control.store.changes import Author, Changes
from shoal.control.store.database import Database
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse


@pytest.fixture
def admin(changes: Changes, author: Author) -> str:
    with changes.by(author) as change:
        administrators.first_administrator(change, "admin", hash_="h")
    return "admin"


def test_only_an_empty_console_takes_a_first_administrator(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with pytest.raises(AlreadyExists), changes.by(author) as change:
        administrators.first_administrator(change, "other", hash_="h")
    with database.read() as connection:
        assert administrators.names(connection) == [admin]
        assert [one.name for one in accounts.find_all(connection)] == ["default"]
        assert administrators.password_hash(connection, "admin") == "h"
        assert administrators.password_hash(connection, "nobody") is None


def test_a_session_is_found_by_its_token_which_is_not_kept(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        token = administrators.sign_in(change, admin)
        now_s = change.now_s
    with database.read() as connection:
        found = administrators.session(connection, token, now_s=now_s)
        assert found is not None
        assert found.administrator == admin
        assert token not in repr(found)
        assert administrators.session(connection, "other", now_s=now_s) is None
        assert (
            administrators.session(connection, token, now_s=now_s + administrators.IDLE_S + 1)
            is None
        )
    with changes.by(author) as change:
        other = accounts.create(change, "other")
        administrators.choose(change, found, account=other.id, region="eu-central-1")
        with pytest.raises(NotFound):
            administrators.choose(change, found, account="1", region="")
        administrators.seen(change, found)
    assert administrators.is_to_be_noted(found, now_s=now_s + 60)
    assert not administrators.is_to_be_noted(found, now_s=now_s + 59)
    with changes.by(author) as change:
        administrators.sign_out(change, found)
    with database.read() as connection:
        assert administrators.session(connection, token, now_s=now_s) is None


def test_a_new_password_ends_all_sessions(
    admin: str, database: Database, changes: Changes, author: Author
) -> None:
    with changes.by(author) as change:
        administrators.sign_in(change, admin)
    with database.read() as connection:
        assert administrators.open_sessions(connection, admin) == 1
    with changes.by(author) as change:
        administrators.set_password(change, admin, hash_="new")
    with database.read() as connection:
        assert administrators.open_sessions(connection, admin) == 0
    with pytest.raises(NotFound), changes.by(author) as change:
        administrators.set_password(change, "nobody", hash_="new")


def test_the_last_administrator_stays(admin: str, changes: Changes, author: Author) -> None:
    with pytest.raises(StillInUse), changes.by(author) as change:
        administrators.remove_administrator(change, admin)
    with changes.by(author) as change:
        administrators.add_administrator(change, "second", hash_="h")
        administrators.sign_in(change, admin)
        administrators.remove_administrator(change, admin)
        with pytest.raises(NotFound):
            administrators.remove_administrator(change, admin)
        with pytest.raises(AlreadyExists):
            administrators.add_administrator(change, "second", hash_="h")
