"""The tables as SQLAlchemy names them. Their truth is migrations/*.sql; a test compares the two."""

from sqlalchemy import BigInteger, Boolean, Column, MetaData, String, Table
from sqlalchemy.types import TypeEngine

METADATA = MetaData()


def _table(table_name: str, /, *keys: str, **columns: type[TypeEngine[object]]) -> Table:
    # A name that ends in "_or_none" may be NULL; the column has the name before it.
    return Table(
        table_name,
        METADATA,
        *(
            Column(
                column.removesuffix("_or_none"),
                kind,
                primary_key=column in keys,
                nullable=column.endswith("_or_none"),
                autoincrement=False,
            )
            for column, kind in columns.items()
        ),
    )


def _text(names: str) -> dict[str, type[TypeEngine[object]]]:
    return dict.fromkeys(names.split(), String)  # type: ignore[arg-type] # String is one of str


def _flags(names: str) -> dict[str, type[TypeEngine[object]]]:
    return dict.fromkeys(names.split(), Boolean)  # type: ignore[arg-type] # Boolean is one of bool


def _whole(names: str) -> dict[str, type[TypeEngine[object]]]:
    return dict.fromkeys(names.split(), BigInteger)  # type: ignore[arg-type] # BigInteger: int


ACCOUNT = _table(
    "account", "id", **_text("id name"), **_flags("management"), **_whole("created_at")
)
ADMINISTRATOR = _table(
    "administrator", "name", **_text("name password_hash"), **_whole("created_at")
)
WEB_SESSION = _table(
    "web_session",
    "token_hash",
    **_text("token_hash administrator csrf_token account region"),
    **_whole("created_at seen_at"),
)
INSTANCE = _table(
    "instance",
    "id",
    **_text("id account name region edition status registry_url"),
    **_flags("p2p_enabled"),
    **_whole("p2p_generation p2p_changed_at_or_none created_at modified_at"),
)
ENDPOINT = _table(
    "endpoint",
    "instance_id",
    "kind",
    **_text("instance_id kind domains acl"),
    **_flags("enabled acl_enabled"),
)
VPC_LINK = _table(
    "vpc_link",
    "instance_id",
    "vpc_id",
    **_text("instance_id vpc_id vswitch_id ip status"),
    **_flags("default_access"),
)
USER = _table(
    "ram_user", "account", "name", **_text("account name id comment"), **_whole("created_at")
)
ACCESS_KEY = _table(
    "access_key",
    "id",
    **_text("id account user_name sealed_secret"),
    **_flags("active"),
    **_whole("created_at"),
)
ROLE = _table(
    "ram_role",
    "account",
    "name",
    **_text("account name id comment trust"),
    **_whole("max_session_s created_at"),
)
POLICY = _table(
    "policy",
    "account",
    "name",
    **_text("account name comment document"),
    **_flags("system"),
    **_whole("created_at"),
)
ATTACHMENT = _table(
    "attachment",
    "account",
    "policy_name",
    "principal_kind",
    "principal_name",
    **_text("account policy_name principal_kind principal_name"),
)
OIDC_PROVIDER = _table(
    "oidc_provider",
    "account",
    "name",
    **_text("account name issuer audiences keys"),
    **_whole("created_at"),
)
CLUSTER = _table(
    "cluster",
    "id",
    **_text("id account name region vpc_id version rrsa_issuer"),
    **_flags("edge rrsa_enabled"),
    **_whole("created_at"),
)
NODE_POOL = _table(
    "node_pool",
    "id",
    **_text("id cluster_id name kind"),
    **_flags("dedicated interconnected"),
    **_whole("nodes"),
)
COMPONENT = _table(
    "component",
    "cluster_id",
    "instance_id",
    **_text("cluster_id instance_id version method"),
    **_whole("p2p_generation installed_at reported_at"),
)
AUDIT = _table(
    "audit",
    "id",
    **_text("actor source action resource detail request_id"),
    **_flags("allowed"),
    **_whole("id at"),
)
