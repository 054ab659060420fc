"""Who calls: a user by an access key, or a role by temporary credentials, proven by a signature."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from shoal.control.api import sessions, signatures
from shoal.control.api.faults import Fault, missing, no_permission
from shoal.control.api.nonces import Nonces
from shoal.control.api.signatures import Call
from shoal.control.console import Console
from shoal.control.store import access
from shoal.control.store.records import NotFound
from shoal.control.store.vault import Vault
from shoal.core.console.models import PrincipalKind, Role, User, root_arn
from shoal.core.iam.policies import Decision, Request, decide


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose signature was right.

    `principals` are the ARNs by which a trust policy may name them, the most exact first.
    """

    account: str
    kind: PrincipalKind
    id: str
    arn: str
    principals: tuple[str, ...]
    documents: tuple[str, ...]
    narrowing: str = ""  # a session's own policy

    def demand(self, action: str, resource: str, *, implied_by: str = "") -> None:
        """Return if the caller may do this.

        Args:
            action: Such as `cr:GetInstance`.
            resource: What it is done with.
            implied_by: Another action that allows this one too, unless a policy denies it by name.

        Raises:
            Fault: They may not: NoPermission.
        """
        decision = self._decision(action, resource)
        if decision is Decision.NOT_ALLOWED and implied_by:
            decision = self._decision(implied_by, resource)
        if decision is not Decision.ALLOWED:
            raise no_permission(action=action, who=self.arn, kind=decision.value)

    def _decision(self, action: str, resource: str) -> Decision:
        request = Request(action, resource)
        decision = decide(self.documents, request)
        if decision is Decision.ALLOWED and self.narrowing:
            decision = decide([self.narrowing], request)
        return decision


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a call says of its signer, before anything is known to be true."""

    key_id: str
    token: str
    nonce: str
    signed_at_s: int
    authorization: signatures.Authorization | None  # None: the older signature


def claimed(call: Call, parameters: Mapping[str, str]) -> Claimed:
    """Return who a call says signed it.

    Raises:
        Fault: It is not signed, or in a way that is not known here.
    """
    header = call.headers.get("authorization")
    if header is not None:
        authorization = signatures.parse_authorization(header)
        if authorization is None:
            raise Fault(400, "InvalidAuthorization", "Authorization is not ACS3-HMAC-SHA256.")
        needed = set(signatures.NEEDED_HEADERS)
        if "x-acs-security-token" in call.headers:
            needed.add("x-acs-security-token")
        for name in sorted(needed - set(authorization.signed_headers)):
            raise Fault(400, "IncompleteSignature", f"The header {name} has to be signed.")
        return Claimed(
            authorization.key_id,
            call.headers.get("x-acs-security-token", ""),
            call.headers.get("x-acs-signature-nonce") or _must("x-acs-signature-nonce"),
            _time(call.headers.get("x-acs-date", "")),
            authorization,
        )
    for name in ("AccessKeyId", "Signature", "SignatureNonce", "Timestamp"):
        if not parameters.get(name):
            raise missing(name)
    method = (parameters.get("SignatureMethod"), parameters.get("SignatureVersion"))
    if method != ("HMAC-SHA1", "1.0"):
        raise Fault(400, "InvalidSignatureMethod", "SignatureMethod is not HMAC-SHA1, version 1.0.")
    return Claimed(
        parameters["AccessKeyId"],
        parameters.get("SecurityToken", ""),
        parameters["SignatureNonce"],
        _time(parameters["Timestamp"]),
        None,
    )


async def authenticate(
    console: Console, nonces: Nonces, call: Call, parameters: Mapping[str, str]
) -> Caller:
    """Return who signed a call.

    Raises:
        Fault: Nobody that is known, or not this call, or not now.
    """
    who = claimed(call, parameters)
    now_s = console.now_s
    if who.token or who.key_id.startswith("STS."):
        session, secret = sessions.open_session(
            console.vault, key_id=who.key_id, token=who.token, now_s=now_s
        )
        holder = await console.known(
            ("holder", session.role_id), lambda connection: _role(connection, session.role_id)
        )
        caller = replace(holder, arn=f"{holder.arn}/{session.name}", narrowing=session.policy)
    else:
        user = await console.known(
            ("key", who.key_id), lambda connection: _user(connection, console.vault, who.key_id)
        )
        caller, secret = user.caller, user.secret
    if not _is_right(call, parameters, who, secret):
        raise Fault(
            400,
            "SignatureDoesNotMatch",
            "Specified signature does not match our calculation: the secret of this access key is "
            "another one, or the request was changed on its way.",
        )
    # Only now: whoever has no secret cannot fill the memory of nonces.
    nonces.use(key_id=who.key_id, nonce=who.nonce, signed_at_s=who.signed_at_s, now_s=now_s)
    return caller


@dataclass(frozen=True, slots=True)
class _KeyHolder:
    caller: Caller
    secret: str = field(repr=False)


def _is_right(call: Call, parameters: Mapping[str, str], who: Claimed, secret: str) -> bool:
    if who.authorization is None:
        made = signatures.rpc_signature(call.method, parameters, secret)
        return signatures.same(made, parameters["Signature"])
    made = signatures.acs3_signature(call, who.authorization.signed_headers, secret)
    return signatures.same(made, who.authorization.signature)


def _user(connection: Connection, vault: Vault, key_id: str) -> _KeyHolder:
    try:
        key, secret = access.find_key(connection, vault, key_id)
    except NotFound:
        raise Fault(
            404, "InvalidAccessKeyId.NotFound", "Specified access key is not found."
        ) from None
    if not key.active:
        raise Fault(400, "InvalidAccessKeyId.Inactive", "Specified access key is disabled.")
    user = access.user(connection, key.account, key.user_name)
    return _KeyHolder(_caller(connection, PrincipalKind.USER, user), secret)


def _role(connection: Connection, id_: str) -> Caller:
    role = access.role_by_id(connection, id_)
    if role is None:
        raise Fault(400, "InvalidSecurityToken.Expired", "The role of this session is gone.")
    return _caller(connection, PrincipalKind.ROLE, role)


def _caller(connection: Connection, kind: PrincipalKind, who: User | Role) -> Caller:
    policies = access.policies_of(connection, who.account, kind, who.name)
    return Caller(
        account=who.account,
        kind=kind,
        id=who.id,
        arn=who.arn,
        principals=(who.arn, root_arn(who.account)),
        documents=tuple(policy.document for policy in policies),
    )


def _must(name: str) -> str:
    raise missing(name)


def _time(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise Fault(
            400, "InvalidTimeStamp.Format", "Specified time stamp is not like 2026-01-31T12:00:00Z."
        ) from None
