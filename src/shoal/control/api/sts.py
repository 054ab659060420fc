"""STS, version 2015-04-01: temporary credentials for roles."""

import re
from collections.abc import Mapping

from sqlalchemy import Connection

from shoal.control.api import oidc, sessions
from shoal.control.api.actions import Action, Asked, invalid, required, stamp, whole
from shoal.control.api.faults import TRUST_POLICY, Fault, no_permission
from shoal.control.api.issuer_keys import IssuerKeys
from shoal.control.console import Console
from shoal.control.store import access
from shoal.control.store.records import NotFound
from shoal.core.console.documents import problems
from shoal.core.console.models import OidcProvider, PrincipalKind, Role
from shoal.core.iam.policies import Decision
from shoal.core.iam.trust import Caller as Trusted
from shoal.core.iam.trust import may_assume

VERSION = "2015-04-01"
# Source: the cloud's documentation of AssumeRole.
MIN_SESSION_S = 900
DEFAULT_SESSION_S = 3600
LONGEST_SESSION_S = 43_200
_SESSION_NAME = re.compile(r"[A-Za-z0-9.@_-]{2,64}", re.ASCII)
_ROLE_ARN = re.compile(r"acs:ram::(?P<account>\d+):role/(?P<name>[A-Za-z0-9._-]{1,64})", re.ASCII)
_PROVIDER_ARN = re.compile(
    r"acs:ram::(?P<account>\d+):oidc-provider/(?P<name>[A-Za-z0-9._-]{1,128})", re.ASCII
)


async def assume_role(asked: Asked) -> dict[str, object]:
    """Give a known caller a role that trusts it, and that its own policies let it assume."""
    arn = asked.text("RoleArn")
    asked.caller.demand("sts:AssumeRole", arn)
    role = await asked.console.known(("role", arn), lambda connection: _role(connection, arn))
    trusted = Trusted("RAM", asked.caller.principals)
    if (decision := may_assume(role.trust, trusted)) is not Decision.ALLOWED:
        raise no_permission(
            action="sts:AssumeRole",
            who=asked.caller.arn,
            kind=decision.value,
            policy_type=TRUST_POLICY,
        )
    return _session(asked.console, role, asked.parameters)


async def get_caller_identity(asked: Asked) -> dict[str, object]:
    """Say who calls. Everybody may ask this."""
    caller = asked.caller
    is_user = caller.kind is PrincipalKind.USER
    return {
        "AccountId": caller.account,
        "Arn": caller.arn,
        "IdentityType": "RAMUser" if is_user else "AssumedRoleUser",
        "PrincipalId": caller.id,
        "UserId" if is_user else "RoleId": caller.id,
    }


async def assume_role_with_oidc(
    console: Console, issuer_keys: IssuerKeys, parameters: Mapping[str, str]
) -> dict[str, object]:
    """Give a role to whoever has a token that its trust policy accepts. Nothing is signed.

    Raises:
        Fault: The token, its provider or the role says no.
    """
    provider_arn = required(parameters, "OIDCProviderArn")
    arn, token = required(parameters, "RoleArn"), required(parameters, "OIDCToken")
    provider = await console.known(
        ("provider", provider_arn), lambda connection: _provider(connection, provider_arn)
    )
    role = await console.known(("role", arn), lambda connection: _role(connection, arn))
    if oidc.issuer_of(token) != provider.issuer:
        raise Fault(
            401,
            "AuthenticationFail.OIDCToken.IssuerNotMatch",
            "Invalid issuer: the token's is not that of the OIDC provider.",
        )
    jwks = provider.keys or await issuer_keys.of(provider.issuer, key_id=oidc.key_id_of(token))
    claims = oidc.verify(token, jwks=jwks, now_s=console.now_s)
    if not set(claims.audiences) & set(provider.audiences):
        raise Fault(401, "AuthenticationFail.OIDCToken.AudienceNotMatch", "Invalid audience.")
    trusted = Trusted(
        "Federated",
        (provider_arn,),
        {"oidc:aud": claims.audiences, "oidc:iss": [claims.issuer], "oidc:sub": [claims.subject]},
    )
    if may_assume(role.trust, trusted) is not Decision.ALLOWED:
        raise Fault(
            401,
            "AuthenticationFail.NoPermission",
            f"There is no permission: the role's trust policy does not accept {claims.subject}.",
        )
    return {
        **_session(console, role, parameters),
        "OIDCTokenInfo": {
            "Subject": claims.subject,
            "Issuer": claims.issuer,
            "ClientIds": ",".join(claims.audiences),
            "IssuanceTime": stamp(claims.issued_at_s),
            "ExpirationTime": stamp(claims.expires_at_s),
            "VerificationInfo": "Success",
        },
    }


ACTIONS: Mapping[str, Action] = {
    "AssumeRole": assume_role,
    "GetCallerIdentity": get_caller_identity,
}


def _session(console: Console, role: Role, parameters: Mapping[str, str]) -> dict[str, object]:
    name = required(parameters, "RoleSessionName")
    if not _SESSION_NAME.fullmatch(name):
        raise invalid("RoleSessionName", "2 to 64 letters, digits or .@-_")
    longest_s = min(role.max_session_s, LONGEST_SESSION_S)
    duration_s = whole(
        parameters,
        "DurationSeconds",
        default=min(DEFAULT_SESSION_S, longest_s),
        low=MIN_SESSION_S,
        high=longest_s,
    )
    policy = parameters.get("Policy", "")
    if policy and problems(policy, trust=False):
        raise invalid("Policy", "a policy document")
    session = sessions.Session(role.id, name, console.now_s + duration_s, policy)
    made = sessions.issue(console.vault, session)
    return {
        "AssumedRoleUser": {"Arn": f"{role.arn}/{name}", "AssumedRoleId": f"{role.id}:{name}"},
        "Credentials": {
            "AccessKeyId": made.key_id,
            "AccessKeySecret": made.secret,
            "SecurityToken": made.token,
            "Expiration": stamp(session.expires_at_s),
        },
    }


def _role(connection: Connection, arn: str) -> Role:
    found = _ROLE_ARN.fullmatch(arn)
    if found is None:
        raise invalid("RoleArn", "like acs:ram::<account>:role/<name>")
    try:
        return access.role(connection, found["account"], found["name"])
    except NotFound:
        raise Fault(404, "EntityNotExist.Role", f"The role {arn} does not exist.") from None


def _provider(connection: Connection, arn: str) -> OidcProvider:
    found = _PROVIDER_ARN.fullmatch(arn)
    if found is None:
        raise invalid("OIDCProviderArn", "like acs:ram::<account>:oidc-provider/<name>")
    for provider in access.providers(connection, found["account"]):
        if provider.name == found["name"]:
            return provider
    raise Fault(401, "AuthenticationFail.NoPermission", "No such OIDC Provider registered.")
