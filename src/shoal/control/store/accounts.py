"""Accounts: who owns what. The first comes with the first administrator, and may make others.

Each begins with the system's policies. One that another made has, as in the cloud, a role by which
whoever may assume roles in the management account comes into it.
"""

import json

from sqlalchemy import Connection, insert, select

from shoal.control.store import access, ids
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, from_row, to_row
from shoal.control.store.system_policies import ADMINISTRATOR_ACCESS, add_system_policies
from shoal.control.store.tables import ACCOUNT
from shoal.core.console.models import Account, PrincipalKind, root_arn

FIRST_NAME = "default"
# Source: the cloud's resource directory, whose accounts have a role of this name.
ACCESS_ROLE = "ResourceDirectoryAccountAccessRole"
ACCESS_SESSION_S = 3600


def find_all(connection: Connection) -> list[Account]:
    """Return all accounts, the management account first, then by name."""
    query = select(ACCOUNT).order_by(ACCOUNT.c.management.desc(), ACCOUNT.c.name)
    return [from_row(Account, row) for row in connection.execute(query)]


def find(connection: Connection, id_: str) -> Account:
    """Return one account.

    Raises:
        NotFound: There is none of this number.
    """
    row = connection.execute(select(ACCOUNT).where(ACCOUNT.c.id == id_)).one_or_none()
    if row is None:
        raise NotFound(f"there is no account {id_}")
    return from_row(Account, row)


def management(connection: Connection) -> Account:
    """Return the first account.

    Raises:
        NotFound: There is none before the first administrator.
    """
    query = select(ACCOUNT).where(ACCOUNT.c.management.is_(True))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("there is no account yet")
    return from_row(Account, row)


def create(change: Change, name: str) -> Account:
    """Add an account; the first of all is the management account.

    Raises:
        AlreadyExists: The name is taken.
    """
    known = find_all(change.connection)
    if any(one.name == name for one in known):
        raise AlreadyExists(f"there is an account {name} already")
    made = Account(ids.account_id(), name, management=not known, created_at=change.now_s)
    change.connection.execute(insert(ACCOUNT).values(to_row(made)))
    change.record("CreateAccount", made.id, name)
    add_system_policies(change, made.id)
    if known:
        _let_in(change, made, known[0])
    return made


def _let_in(change: Change, made: Account, manager: Account) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"RAM": [root_arn(manager.id)]},
    }
    access.put_role(
        change,
        made.id,
        ACCESS_ROLE,
        comment=f"The way in from account {manager.name}.",
        trust=json.dumps({"Version": "1", "Statement": [statement]}, indent=2),
        max_session_s=ACCESS_SESSION_S,
    )
    access.attach(change, made.id, ADMINISTRATOR_ACCESS, PrincipalKind.ROLE, ACCESS_ROLE)
