"""The people who sign in to the pages, and their sessions."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from shoal.control.store import accounts, ids
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse, from_row
from shoal.control.store.tables import ADMINISTRATOR, WEB_SESSION

IDLE_S = 8 * 3600  # a working day: who comes back the next morning signs in anew
LONGEST_S = 7 * 24 * 3600
_SEEN_EVERY_S = 60  # a session's last use is written no more often than this


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. Its token is kept only as a hash: a stolen database signs nobody in."""

    token_hash: str
    administrator: str
    csrf_token: str
    account: str
    region: str
    created_at: int
    seen_at: int


def names(connection: Connection) -> list[str]:
    """Return the names of those who may sign in."""
    query = select(ADMINISTRATOR.c.name).order_by(ADMINISTRATOR.c.name)
    return list(connection.execute(query).scalars())


def password_hash(connection: Connection, name: str) -> str | None:
    """Return the hash of someone's password, or None if nobody has this name."""
    query = select(ADMINISTRATOR.c.password_hash).where(ADMINISTRATOR.c.name == name)
    return connection.execute(query).scalar_one_or_none()


def first_administrator(change: Change, name: str, *, hash_: str) -> None:
    """Make the administrator of a console that has none, and its first account.

    Raises:
        AlreadyExists: There is one.
    """
    if names(change.connection):
        raise AlreadyExists("this console has an administrator already: sign in")
    accounts.create(change, accounts.FIRST_NAME)
    add_administrator(change, name, hash_=hash_)


def add_administrator(change: Change, name: str, *, hash_: str) -> None:
    """Let one more person sign in.

    Raises:
        AlreadyExists: The name is taken.
    """
    if name in names(change.connection):
        raise AlreadyExists(f"there is an administrator {name} already")
    change.connection.execute(
        insert(ADMINISTRATOR).values(name=name, password_hash=hash_, created_at=change.now_s)
    )
    change.record("CreateAdministrator", f"administrator/{name}")


def set_password(change: Change, name: str, *, hash_: str) -> None:
    """Change a password; every session of that person ends.

    Raises:
        NotFound: Nobody has this name.
    """
    done = change.connection.execute(
        update(ADMINISTRATOR).where(ADMINISTRATOR.c.name == name).values(password_hash=hash_)
    )
    if not done.rowcount:
        raise NotFound(f"there is no administrator {name}")
    change.connection.execute(delete(WEB_SESSION).where(WEB_SESSION.c.administrator == name))
    change.record("ChangePassword", f"administrator/{name}")


def remove_administrator(change: Change, name: str) -> None:
    """Let someone sign in no more; their sessions end.

    Raises:
        NotFound: Nobody has this name.
        StillInUse: Nobody would be left.
    """
    known = names(change.connection)
    if name not in known:
        raise NotFound(f"there is no administrator {name}")
    if len(known) == 1:
        raise StillInUse(f"{name} is the only administrator: add another first")
    change.connection.execute(delete(ADMINISTRATOR).where(ADMINISTRATOR.c.name == name))
    change.record("DeleteAdministrator", f"administrator/{name}")


def hashed(token: str) -> str:
    """Return what is kept of a session's token, which has 256 bits of its own."""
    return hashlib.sha256(token.encode()).hexdigest()


def sign_in(change: Change, name: str) -> str:
    """Begin a session, which looks at all regions of the first account.

    Returns:
        Its token, which only the browser keeps.
    """
    token = ids.web_token()
    old = change.now_s - LONGEST_S
    change.connection.execute(
        delete(WEB_SESSION).where(
            (WEB_SESSION.c.created_at < old) | (WEB_SESSION.c.seen_at < change.now_s - IDLE_S)
        )
    )
    change.connection.execute(
        insert(WEB_SESSION).values(
            token_hash=hashed(token),
            administrator=name,
            csrf_token=ids.web_token(),
            account=accounts.management(change.connection).id,
            region="",
            created_at=change.now_s,
            seen_at=change.now_s,
        )
    )
    change.record("SignIn", f"administrator/{name}")
    return token


def session(connection: Connection, token: str, *, now_s: int) -> Session | None:
    """Return the session of a token, unless it has run out."""
    query = select(WEB_SESSION).where(WEB_SESSION.c.token_hash == hashed(token))
    row = connection.execute(query).one_or_none()
    if row is None or now_s - row.seen_at > IDLE_S or now_s - row.created_at > LONGEST_S:
        return None
    return from_row(Session, row)


def seen(change: Change, current: Session) -> None:
    """Note that a session is in use."""
    change.connection.execute(
        update(WEB_SESSION)
        .where(WEB_SESSION.c.token_hash == current.token_hash)
        .values(seen_at=change.now_s)
    )
    change.is_routine()


def is_to_be_noted(current: Session, *, now_s: int) -> bool:
    """Return whether the last noted use is long enough ago to note this one."""
    return now_s - current.seen_at >= _SEEN_EVERY_S


def choose(change: Change, current: Session, *, account: str, region: str) -> None:
    """Keep which account and region a session looks at.

    Raises:
        NotFound: There is no such account.
    """
    accounts.find(change.connection, account)
    change.connection.execute(
        update(WEB_SESSION)
        .where(WEB_SESSION.c.token_hash == current.token_hash)
        .values(account=account, region=region)
    )
    change.is_routine()


def sign_out(change: Change, current: Session) -> None:
    """End a session."""
    change.connection.execute(
        delete(WEB_SESSION).where(WEB_SESSION.c.token_hash == current.token_hash)
    )
    change.record("SignOut", f"administrator/{current.administrator}")


def open_sessions(connection: Connection, name: str) -> int:
    """Return how many sessions someone has."""
    query = select(func.count()).where(WEB_SESSION.c.administrator == name)
    return int(connection.execute(query).scalar_one())
