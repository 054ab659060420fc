"""Who may do what: users, access keys, roles, policies and OIDC providers."""

from sqlalchemy import Connection, delete, func, insert, select, update

from shoal.control.store import ids
from shoal.control.store.changes import Change
from shoal.control.store.records import AlreadyExists, NotFound, StillInUse, from_row, to_row
from shoal.control.store.tables import ACCESS_KEY, ATTACHMENT, OIDC_PROVIDER, POLICY, ROLE, USER
from shoal.control.store.vault import Vault
from shoal.core.console.models import (
    AccessKey,
    OidcProvider,
    Policy,
    PrincipalKind,
    Role,
    User,
    ram_arn,
)

MAX_KEYS = 2  # a user's keys, as in the cloud: one in use, one to change over to


class LimitReached(StillInUse):
    """There may be no more of these: delete one first."""


def users(connection: Connection, account: str) -> list[User]:
    """Return the users of an account, by name."""
    query = select(USER).where(USER.c.account == account).order_by(USER.c.name)
    return [from_row(User, row) for row in connection.execute(query)]


def user(connection: Connection, account: str, name: str) -> User:
    """Return one user.

    Raises:
        NotFound: There is none of this name.
    """
    row = connection.execute(
        select(USER).where(USER.c.account == account, USER.c.name == name)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no user {name}")
    return from_row(User, row)


def create_user(change: Change, account: str, name: str, *, comment: str) -> User:
    """Add a user.

    Raises:
        AlreadyExists: The name is taken.
    """
    if any(known.name == name for known in users(change.connection, account)):
        raise AlreadyExists(f"there is a user {name} already")
    made = User(
        id=ids.principal_id(), account=account, name=name, comment=comment, created_at=change.now_s
    )
    change.connection.execute(insert(USER).values(to_row(made)))
    change.record("CreateUser", ram_arn(account, "user", name), comment)
    return made


def remove_user(change: Change, account: str, name: str) -> None:
    """Delete a user with its keys and attachments."""
    user(change.connection, account, name)
    _detach_all(change, account, PrincipalKind.USER, name)
    change.connection.execute(delete(USER).where(USER.c.account == account, USER.c.name == name))
    change.record("DeleteUser", ram_arn(account, "user", name))


def all_keys(connection: Connection) -> list[AccessKey]:
    """Return the access keys of all users, the oldest first."""
    query = select(ACCESS_KEY).order_by(ACCESS_KEY.c.created_at, ACCESS_KEY.c.id)
    return [from_row(AccessKey, row) for row in connection.execute(query)]


def keys(connection: Connection, account: str, user_name: str) -> list[AccessKey]:
    """Return a user's access keys, the oldest first."""
    query = (
        select(ACCESS_KEY)
        .where(ACCESS_KEY.c.account == account, ACCESS_KEY.c.user_name == user_name)
        .order_by(ACCESS_KEY.c.created_at, ACCESS_KEY.c.id)
    )
    return [from_row(AccessKey, row) for row in connection.execute(query)]


def find_key(connection: Connection, vault: Vault, key_id: str) -> tuple[AccessKey, str]:
    """Return a key and its secret.

    Raises:
        NotFound: There is none of this id.
    """
    row = connection.execute(select(ACCESS_KEY).where(ACCESS_KEY.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"there is no access key {key_id}")
    return from_row(AccessKey, row), vault.open(row.sealed_secret, belongs_to=key_id)


def create_key(change: Change, vault: Vault, account: str, user_name: str) -> tuple[AccessKey, str]:
    """Add an access key; return it and its secret, which is shown to a person only now.

    Raises:
        LimitReached: The user has as many as one may have.
    """
    user(change.connection, account, user_name)
    if len(keys(change.connection, account, user_name)) >= MAX_KEYS:
        raise LimitReached(f"{user_name} has {MAX_KEYS} access keys: delete one first")
    key = AccessKey(
        id=ids.access_key_id(),
        account=account,
        user_name=user_name,
        active=True,
        created_at=change.now_s,
    )
    secret = ids.access_key_secret()
    change.connection.execute(
        insert(ACCESS_KEY).values(
            **to_row(key), sealed_secret=vault.seal(secret, belongs_to=key.id)
        )
    )
    change.record("CreateAccessKey", ram_arn(account, "user", user_name), key.id)
    return key, secret


def set_key_active(
    change: Change, account: str, user_name: str, key_id: str, *, active: bool
) -> None:
    """Switch an access key on or off.

    Raises:
        NotFound: The user has none of this id.
    """
    done = change.connection.execute(
        update(ACCESS_KEY)
        .where(
            ACCESS_KEY.c.id == key_id,
            ACCESS_KEY.c.account == account,
            ACCESS_KEY.c.user_name == user_name,
        )
        .values(active=active)
    )
    if not done.rowcount:
        raise NotFound(f"{user_name} has no access key {key_id}")
    change.record(
        "UpdateAccessKey",
        ram_arn(account, "user", user_name),
        f"{key_id} {'on' if active else 'off'}",
    )


def remove_key(change: Change, account: str, user_name: str, key_id: str) -> None:
    """Delete an access key.

    Raises:
        NotFound: The user has none of this id.
    """
    gone = change.connection.execute(
        delete(ACCESS_KEY).where(
            ACCESS_KEY.c.id == key_id,
            ACCESS_KEY.c.account == account,
            ACCESS_KEY.c.user_name == user_name,
        )
    )
    if not gone.rowcount:
        raise NotFound(f"{user_name} has no access key {key_id}")
    change.record("DeleteAccessKey", ram_arn(account, "user", user_name), key_id)


def roles(connection: Connection, account: str | None = None) -> list[Role]:
    """Return the roles of an account, or all, by name."""
    query = select(ROLE).order_by(ROLE.c.name, ROLE.c.account)
    if account is not None:
        query = query.where(ROLE.c.account == account)
    return [from_row(Role, row) for row in connection.execute(query)]


def role(connection: Connection, account: str, name: str) -> Role:
    """Return one role.

    Raises:
        NotFound: There is none of this name.
    """
    row = connection.execute(
        select(ROLE).where(ROLE.c.account == account, ROLE.c.name == name)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no role {name}")
    return from_row(Role, row)


def role_by_id(connection: Connection, id_: str) -> Role | None:
    """Return the role of a number that no other role has, of any account; None if it is gone."""
    row = connection.execute(select(ROLE).where(ROLE.c.id == id_)).one_or_none()
    return from_row(Role, row) if row is not None else None


def put_role(
    change: Change, account: str, name: str, *, comment: str, trust: str, max_session_s: int
) -> None:
    """Add a role, or replace what is said of the one of this name."""
    known = any(one.name == name for one in roles(change.connection, account))
    values = {"comment": comment, "trust": trust, "max_session_s": max_session_s}
    if known:
        change.connection.execute(
            update(ROLE).where(ROLE.c.account == account, ROLE.c.name == name).values(values)
        )
    else:
        change.connection.execute(
            insert(ROLE).values(
                account=account, name=name, id=ids.principal_id(), created_at=change.now_s, **values
            )
        )
    change.record("UpdateRole" if known else "CreateRole", ram_arn(account, "role", name), trust)


def remove_role(change: Change, account: str, name: str) -> None:
    """Delete a role and its attachments."""
    role(change.connection, account, name)
    _detach_all(change, account, PrincipalKind.ROLE, name)
    change.connection.execute(delete(ROLE).where(ROLE.c.account == account, ROLE.c.name == name))
    change.record("DeleteRole", ram_arn(account, "role", name))


def policies(connection: Connection, account: str) -> list[Policy]:
    """Return the policies of an account: the system's first, then by name."""
    query = (
        select(POLICY)
        .where(POLICY.c.account == account)
        .order_by(POLICY.c.system.desc(), POLICY.c.name)
    )
    return [from_row(Policy, row) for row in connection.execute(query)]


def policy(connection: Connection, account: str, name: str) -> Policy:
    """Return one policy.

    Raises:
        NotFound: There is none of this name.
    """
    row = connection.execute(
        select(POLICY).where(POLICY.c.account == account, POLICY.c.name == name)
    ).one_or_none()
    if row is None:
        raise NotFound(f"there is no policy {name}")
    return from_row(Policy, row)


def policy_of_kind(connection: Connection, account: str, name: str, *, system: bool) -> Policy:
    """Return one policy, if it is the system's, or is not, as is asked.

    Raises:
        NotFound: There is none of this name and kind.
    """
    found = policy(connection, account, name)
    if found.system is not system:
        raise NotFound(f"there is no {'system' if system else 'custom'} policy {name}")
    return found


def put_policy(
    change: Change, account: str, name: str, *, comment: str, document: str, system: bool = False
) -> None:
    """Add a policy, or replace the one of this name.

    Raises:
        StillInUse: It is a system policy, which cannot be changed.
    """
    known = next((one for one in policies(change.connection, account) if one.name == name), None)
    if known is not None and known.system:
        raise StillInUse(f"{name} is a system policy and cannot be changed: copy it")
    values = {"comment": comment, "document": document, "system": system}
    if known is not None:
        change.connection.execute(
            update(POLICY).where(POLICY.c.account == account, POLICY.c.name == name).values(values)
        )
    else:
        change.connection.execute(
            insert(POLICY).values(account=account, name=name, created_at=change.now_s, **values)
        )
    change.record(
        "CreatePolicy" if known is None else "UpdatePolicy",
        ram_arn(account, "policy", name),
        document,
    )


def remove_policy(change: Change, account: str, name: str) -> None:
    """Delete a policy.

    Raises:
        StillInUse: It is the system's, or attached to someone.
    """
    if policy(change.connection, account, name).system:
        raise StillInUse(f"{name} is a system policy and cannot be deleted")
    holders = [f"{kind} {who}" for kind, who in attached_to(change.connection, account, name)]
    if holders:
        raise StillInUse(f"{name} is attached to {', '.join(holders)}: detach it first")
    change.connection.execute(
        delete(POLICY).where(POLICY.c.account == account, POLICY.c.name == name)
    )
    change.record("DeletePolicy", ram_arn(account, "policy", name))


def attached_to(
    connection: Connection, account: str, policy_name: str
) -> list[tuple[PrincipalKind, str]]:
    """Return who has a policy."""
    query = select(ATTACHMENT.c.principal_kind, ATTACHMENT.c.principal_name).where(
        ATTACHMENT.c.account == account, ATTACHMENT.c.policy_name == policy_name
    )
    return sorted((PrincipalKind(kind), name) for kind, name in connection.execute(query))


def policies_of(
    connection: Connection, account: str, kind: PrincipalKind, name: str
) -> list[Policy]:
    """Return the policies that a user or role has, by name."""
    query = (
        select(POLICY)
        .join(
            ATTACHMENT,
            (ATTACHMENT.c.account == POLICY.c.account)
            & (ATTACHMENT.c.policy_name == POLICY.c.name),
        )
        .where(
            ATTACHMENT.c.account == account,
            ATTACHMENT.c.principal_kind == kind.value,
            ATTACHMENT.c.principal_name == name,
        )
        .order_by(POLICY.c.name)
    )
    return [from_row(Policy, row) for row in connection.execute(query)]


def counts(connection: Connection, account: str) -> dict[str, int]:
    """Return how many principals each policy is attached to."""
    query = (
        select(ATTACHMENT.c.policy_name, func.count())
        .where(ATTACHMENT.c.account == account)
        .group_by(ATTACHMENT.c.policy_name)
    )
    return {name: int(count) for name, count in connection.execute(query)}


def attach(change: Change, account: str, policy_name: str, kind: PrincipalKind, name: str) -> None:
    """Give a policy to a user or role that may have it already.

    Raises:
        NotFound: There is no such policy, user or role.
    """
    policy(change.connection, account, policy_name)
    (user if kind is PrincipalKind.USER else role)(change.connection, account, name)
    if (kind, name) not in attached_to(change.connection, account, policy_name):
        change.connection.execute(
            insert(ATTACHMENT).values(
                account=account,
                policy_name=policy_name,
                principal_kind=kind.value,
                principal_name=name,
            )
        )
    change.record("AttachPolicy", ram_arn(account, kind, name), policy_name)


def detach(change: Change, account: str, policy_name: str, kind: PrincipalKind, name: str) -> None:
    """Take a policy from a user or role.

    Raises:
        NotFound: They do not have it.
    """
    gone = change.connection.execute(
        delete(ATTACHMENT).where(
            ATTACHMENT.c.account == account,
            ATTACHMENT.c.policy_name == policy_name,
            ATTACHMENT.c.principal_kind == kind.value,
            ATTACHMENT.c.principal_name == name,
        )
    )
    if not gone.rowcount:
        raise NotFound(f"{kind} {name} does not have {policy_name}")
    change.record("DetachPolicy", ram_arn(account, kind, name), policy_name)


def _detach_all(change: Change, account: str, kind: PrincipalKind, name: str) -> None:
    change.connection.execute(
        delete(ATTACHMENT).where(
            ATTACHMENT.c.account == account,
            ATTACHMENT.c.principal_kind == kind.value,
            ATTACHMENT.c.principal_name == name,
        )
    )


def providers(connection: Connection, account: str | None = None) -> list[OidcProvider]:
    """Return the OIDC providers of an account, or all, by name."""
    query = select(OIDC_PROVIDER).order_by(OIDC_PROVIDER.c.name, OIDC_PROVIDER.c.account)
    if account is not None:
        query = query.where(OIDC_PROVIDER.c.account == account)
    return [from_row(OidcProvider, row) for row in connection.execute(query)]


def put_provider(change: Change, provider: OidcProvider) -> None:
    """Add an OIDC provider, or replace the one of this name.

    Raises:
        AlreadyExists: Another provider has this issuer.
    """
    others = [
        one for one in providers(change.connection, provider.account) if one.name != provider.name
    ]
    for other in others:
        if other.issuer == provider.issuer:
            raise AlreadyExists(f"{other.name} has the issuer {provider.issuer} already")
    change.connection.execute(
        delete(OIDC_PROVIDER).where(
            OIDC_PROVIDER.c.account == provider.account, OIDC_PROVIDER.c.name == provider.name
        )
    )
    change.connection.execute(insert(OIDC_PROVIDER).values(to_row(provider)))
    change.record("PutOIDCProvider", provider.arn, provider.issuer)


def remove_provider(change: Change, account: str, name: str) -> None:
    """Delete an OIDC provider.

    Raises:
        NotFound: There is none of this name.
    """
    gone = change.connection.execute(
        delete(OIDC_PROVIDER).where(
            OIDC_PROVIDER.c.account == account, OIDC_PROVIDER.c.name == name
        )
    )
    if not gone.rowcount:
        raise NotFound(f"there is no OIDC provider {name}")
    change.record("DeleteOIDCProvider", ram_arn(account, "oidc-provider", name))
