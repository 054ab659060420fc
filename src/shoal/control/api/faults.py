"""Refusals as the cloud spells them."""

from collections.abc import Mapping

from shoal.core.errors import ShoalError


class Fault(ShoalError):
    """A call that is refused: an HTTP status, one of the cloud's codes, and why."""

    def __init__(
        self, status: int, code: str, message: str, *, detail: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.detail = detail

    def body(self, request_id: str, host: str) -> dict[str, object]:
        """Return the answer's body."""
        body: dict[str, object] = {
            "RequestId": request_id,
            "HostId": host,
            "Code": self.code,
            "Message": str(self),
        }
        return body if self.detail is None else {**body, "AccessDeniedDetail": dict(self.detail)}


def missing(name: str) -> Fault:
    """Return the refusal of a call without a parameter that it needs."""
    return Fault(400, "MissingParameter", f"The parameter {name} is mandatory for this action.")


IDENTITY_POLICY = "AccountLevelIdentityBasedPolicy"
TRUST_POLICY = "AssumeRolePolicy"


def no_permission(*, action: str, who: str, kind: str, policy_type: str = IDENTITY_POLICY) -> Fault:
    """Return the refusal of an action that no policy allows, or that one denies.

    Args:
        action: Such as `cr:GetInstance`.
        who: The caller's ARN.
        kind: `ImplicitDeny` or `ExplicitDeny`.
        policy_type: Whether the caller's own policies say no, or the trust policy of a role.
    """
    return Fault(
        403,
        "NoPermission",
        f"You are not authorized to do this action: {action}.",
        detail={
            "AuthAction": action,
            "AuthPrincipalDisplayName": who,
            "NoPermissionType": kind,
            "PolicyType": policy_type,
        },
    )
