"""From what a failed call looks like to the sentence that says which step was missed.

The rules are tried in order, and the first that fits is taken. The codes are the cloud's own: those
of OIDC from STS's list of errors, those of signatures and permissions as its platform spells them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shoal.core.cloud.failures import (
    INSTALL_STEP,
    PREREQUISITES,
    Advice,
    Attempt,
    Failure,
    Mistake,
    Stage,
    grant_step,
)
from shoal.core.cloud.policies import (
    AUDIENCE,
    assume_document,
    permissions_document,
    trust_document,
    trusting_role_document,
)
from shoal.core.console.chart_values import Method
from shoal.core.console.documents import SERVICE_ACCOUNTS
from shoal.core.iam.policies import matches

_Text = Callable[[Failure, Attempt], str]


def explain(failure: Failure, attempt: Attempt) -> Advice:
    """Return what to tell about `failure`."""
    rule = next(rule for rule in _RULES if rule.fits(failure, attempt))
    step = rule.step(failure, attempt)
    return Advice(
        mistake=rule.mistake,
        step=step,
        sentence=f"{step}: {rule.text(failure, attempt)}",
        document=rule.document(failure, attempt) if rule.document else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    mistake: Mistake
    text: _Text
    codes: tuple[str, ...] = ("*",)  # patterns; () is for no answer at all
    stages: frozenset[Stage] = frozenset(Stage)
    when: Callable[[Failure, Attempt], bool] = lambda failure, attempt: True
    step: _Text = lambda failure, attempt: grant_step(attempt)
    document: _Text | None = None

    def fits(self, failure: Failure, attempt: Attempt) -> bool:
        coded = (
            any(matches(pattern, failure.code) for pattern in self.codes)
            if self.codes
            else not failure.code
        )
        return coded and failure.stage in self.stages and self.when(failure, attempt)


def _stage(*stages: Stage) -> frozenset[Stage]:
    return frozenset(stages)


def _install(failure: Failure, attempt: Attempt) -> str:
    return INSTALL_STEP


def _said(failure: Failure) -> str:
    """Return the cloud's own words, short."""
    words = " ".join(failure.message.split())[:300]
    return f"{failure.code}: {words}" if failure.code else words or "no reason given"


def _who(attempt: Attempt) -> str:
    match attempt.method:
        case Method.ACCESS_KEY:
            return "the RAM user"
        case Method.WORKER_ROLE:
            return "the worker RAM role"
        case Method.RRSA:
            return f"the RAM role {attempt.assume_role_arn or attempt.role_arn}"


def _denied(failure: Failure, attempt: Attempt) -> str:
    action = failure.denied_action or f"cr:{failure.action}"
    who = failure.denied_principal or _who(attempt)
    if failure.denied_explicitly:
        return (
            f"{who} is denied {action} by a Deny statement, which no Allow outweighs: take "
            "the action out of that statement."
        )
    return f"{who} may not do {action}: add the policy document to {_who(attempt)}."


def _unknown_instance(failure: Failure, attempt: Attempt) -> str:
    account = f" of account {attempt.account}" if attempt.account else ""
    return (
        f"there is no instance {attempt.instance_id} in region {attempt.region}{account}: take the "
        "ID from the instance's Overview page, and set region to the instance's."
    )


def _other_account(failure: Failure, attempt: Attempt) -> str:
    account = attempt.account or "the cluster's account"
    return (
        f"the worker RAM role belongs to account {account}, which has no instance "
        f"{attempt.instance_id} in region {attempt.region}: if the instance is another account's, "
        "Method 1 cannot be used, so take Method 3 (RRSA), cross-account; otherwise correct "
        "acrInstances or region."
    )


def _claims(attempt: Attempt) -> str:
    claims = attempt.claims
    return "unknown" if claims is None else f"{claims.subject} of {claims.issuer}"


def _issuer(attempt: Attempt) -> str:
    return attempt.claims.issuer if attempt.claims is not None else "<oidc_issuer_url>"


def _is_foreign_subject(failure: Failure, attempt: Attempt) -> bool:
    return attempt.claims is not None and attempt.claims.subject not in SERVICE_ACCOUNTS


def _trust(failure: Failure, attempt: Attempt) -> str:
    return trust_document(provider_arn=attempt.provider_arn, issuer=_issuer(attempt))


_PERMISSION = ("NoPermission", "NotAuthorized", "Forbidden*", "AuthFailed*")
_RULES = (
    # What is asked before the cloud: the metadata service, and files.
    _Rule(
        mistake=Mistake.KEY_MISSING,
        stages=_stage(Stage.KEY_FILES),
        step=_install,
        text=lambda failure, attempt: (
            f"the AccessKey pair cannot be read ({_said(failure)}): set accessKey, and "
            "accessKeySecret by --set-file."
        ),
    ),
    _Rule(
        mistake=Mistake.NO_WORKER_ROLE,
        stages=_stage(Stage.METADATA),
        codes=("403", "404"),
        text=lambda failure, attempt: (
            "the metadata service knows no RAM role of this node: attach the cluster's "
            "KubernetesWorkerRole to it, or use Method 2 or 3."
        ),
    ),
    _Rule(
        mistake=Mistake.METADATA_ABSENT,
        stages=_stage(Stage.METADATA),
        text=lambda failure, attempt: (
            f"no metadata service gives this node a RAM role at {failure.target} "
            f"({_said(failure)}): it is there on ECS instances only, so run the component's Job "
            "on a cloud node, or use Method 2 (AccessKey pair) or Method 3 (RRSA)."
        ),
    ),
    _Rule(
        mistake=Mistake.TOKEN_MISSING,
        stages=_stage(Stage.OIDC),
        codes=("TokenFile",),
        text=lambda failure, attempt: (
            f"the pod has no service account token at {failure.target} ({failure.message}): enable "
            "RRSA on the cluster, and reinstall the component afterwards."
        ),
    ),
    # Every call.
    _Rule(
        mistake=Mistake.THROTTLED,
        codes=("Throttling*", "*flow control*", "ServiceUnavailable.Throttling"),
        step=_install,
        text=lambda failure, attempt: (
            f"the cloud has had too many calls of this account ({_said(failure)}): nothing was "
            "missed, and the call is made again later."
        ),
    ),
    _Rule(
        mistake=Mistake.REGION_UNREACHABLE,
        codes=(),
        step=_install,
        text=lambda failure, attempt: (
            f"{failure.target} cannot be reached ({_said(failure)}): check that region "
            f"({attempt.region or 'not set'}) is the instance's, and that pods of this cluster "
            "reach the cloud's API there, over NAT or Express Connect."
        ),
    ),
    _Rule(
        mistake=Mistake.CLOCK_SKEWED,
        codes=("InvalidTimeStamp*", "*RequestTimeTooSkewed*", "SignatureNonceTimestamp*"),
        step=lambda failure, attempt: PREREQUISITES,
        text=lambda failure, attempt: (
            f"the clock of this node is off ({_said(failure)}): let NTP set it; signatures are "
            "good for 15 minutes."
        ),
    ),
    _Rule(
        mistake=Mistake.KEY_UNKNOWN,
        codes=("InvalidAccessKeyId*",),
        text=lambda failure, attempt: (
            f"the AccessKey ID is not known or switched off ({_said(failure)}): take an AccessKey "
            "pair of the RAM user that is in use, and set accessKey and accessKeySecret to it."
        ),
    ),
    _Rule(
        mistake=Mistake.WRONG_SECRET,
        codes=("SignatureDoesNotMatch", "IncompleteSignature", "InvalidAccessKeySecret*"),
        text=lambda failure, attempt: (
            "the AccessKey secret is not that of the AccessKey ID: set accessKeySecret by "
            "--set-file, from a file without further characters."
        ),
    ),
    _Rule(
        mistake=Mistake.TOKEN_EXPIRED,
        codes=("InvalidSecurityToken*", "SecurityTokenExpired", "*OIDCToken.Expired"),
        text=lambda failure, attempt: (
            f"the temporary credentials have run out or been revoked ({_said(failure)}): new ones "
            "are asked for; if this stays, check the node's clock, and that the role was not "
            "deleted and made anew."
        ),
    ),
    # RRSA: from the pod's token to a role.
    _Rule(
        mistake=Mistake.OIDC_ISSUER,
        stages=_stage(Stage.OIDC),
        codes=("*OIDCToken.IssuerNotMatch*", "*Issuer*"),
        text=lambda failure, attempt: (
            f"the token is of issuer {_issuer(attempt)}, which {attempt.provider_arn} is not for: "
            "set rrsa.rrsaOIDCProviderRoleARN to this cluster's OIDC IdP ARN, and oidc:iss of the "
            "trust policy to its URL."
        ),
        document=_trust,
    ),
    _Rule(
        mistake=Mistake.OIDC_AUDIENCE,
        stages=_stage(Stage.OIDC),
        codes=("*OIDCToken.AudienceNotMatch*", "*Audience*"),
        text=lambda failure, attempt: (
            f"the token is for {', '.join(attempt.claims.audiences) if attempt.claims else '?'}, "
            f"and has to be for {AUDIENCE}: add that client ID to {attempt.provider_arn}, and "
            "oidc:aud to the trust policy."
        ),
        document=_trust,
    ),
    _Rule(
        mistake=Mistake.OIDC_PROVIDER,
        stages=_stage(Stage.OIDC),
        when=lambda failure, attempt: (
            "No such OIDC" in failure.message or failure.code == "InvalidParameter.OIDCProviderArn"
        ),
        text=lambda failure, attempt: (
            f"there is no OIDC provider {attempt.provider_arn}: enable RRSA on the cluster, copy "
            "the OIDC IdP ARN from its Basic Information tab, and reinstall the component."
        ),
    ),
    _Rule(
        mistake=Mistake.OIDC_SUBJECT,
        stages=_stage(Stage.OIDC),
        codes=(*_PERMISSION, "AuthenticationFail.NoPermission"),
        when=_is_foreign_subject,
        text=lambda failure, attempt: (
            f"the token is of service account {_claims(attempt)}, which the trust policy of "
            f"{attempt.role_arn} does not name: install the component in namespace "
            "aliyun-acr-acceleration, under the accounts of the trust policy."
        ),
        document=_trust,
    ),
    _Rule(
        mistake=Mistake.ROLE_NOT_TRUSTING,
        stages=_stage(Stage.OIDC),
        codes=(*_PERMISSION, "AuthenticationFail.NoPermission"),
        text=lambda failure, attempt: (
            f"the trust policy of {attempt.role_arn} does not accept {_claims(attempt)} through "
            f"{attempt.provider_arn}: replace it by the policy document."
        ),
        document=_trust,
    ),
    _Rule(
        mistake=Mistake.TOKEN_INVALID,
        stages=_stage(Stage.OIDC),
        codes=("*OIDCToken*",),
        text=lambda failure, attempt: (
            f"STS does not accept the pod's token ({_said(failure)}): check that "
            f"{attempt.provider_arn} is of this cluster and has its present keys and fingerprints."
        ),
    ),
    # A role by ARN: of the cluster's account by OIDC, or of the instance's account after it.
    _Rule(
        mistake=Mistake.ROLE_UNKNOWN,
        stages=_stage(Stage.OIDC, Stage.ASSUME),
        codes=("EntityNotExist*", "InvalidParameter.RoleArn"),
        text=lambda failure, attempt: (
            f"there is no RAM role {_asked_role(failure, attempt)}: create it, or correct "
            f"{_role_parameter(failure)}."
        ),
    ),
    _Rule(
        mistake=Mistake.DURATION_TOO_LONG,
        stages=_stage(Stage.OIDC, Stage.ASSUME),
        codes=("InvalidParameter*",),
        when=lambda failure, attempt: (
            "DurationSeconds" in failure.code + failure.message
            or "MaxSessionDuration" in failure.message
        ),
        text=lambda failure, attempt: (
            f"rrsa.expireDuration is {attempt.expire_s} s, longer than the MaxSessionDuration of "
            f"{_asked_role(failure, attempt)}: lower it, or raise MaxSessionDuration (at most "
            "43200)."
        ),
    ),
    _Rule(
        mistake=Mistake.ROLE_NOT_TRUSTING,
        stages=_stage(Stage.ASSUME),
        codes=_PERMISSION,
        when=lambda failure, attempt: failure.denied_policy_type == "AssumeRolePolicy",
        text=lambda failure, attempt: (
            f"{attempt.assume_role_arn} does not trust {attempt.role_arn}: replace its trust "
            "policy by the policy document."
        ),
        document=lambda failure, attempt: trusting_role_document(attempt.role_arn),
    ),
    _Rule(
        mistake=Mistake.ASSUME_ACCESS_MISSING,
        stages=_stage(Stage.ASSUME),
        codes=_PERMISSION,
        when=lambda failure, attempt: (
            "IdentityBased" in failure.denied_policy_type or failure.denied_explicitly
        ),
        text=lambda failure, attempt: (
            f"{attempt.role_arn} may not assume {attempt.assume_role_arn}: attach the system "
            "policy AliyunSTSAssumeRoleAccess to it."
        ),
        document=lambda failure, attempt: assume_document(attempt.assume_role_arn),
    ),
    _Rule(
        mistake=Mistake.ASSUME_DENIED,
        stages=_stage(Stage.ASSUME),
        codes=_PERMISSION,
        text=lambda failure, attempt: (
            f"{attempt.role_arn} cannot assume {attempt.assume_role_arn}: attach "
            "AliyunSTSAssumeRoleAccess to the former, or put it into the trust policy of the "
            "latter, as in the policy document; the cloud does not say which is missing."
        ),
        document=lambda failure, attempt: trusting_role_document(attempt.role_arn),
    ),
    # The registry.
    _Rule(
        mistake=Mistake.OTHER_ACCOUNT,
        stages=_stage(Stage.REGISTRY),
        codes=("INSTANCE_NOT_EXIST*", "*InstanceNotExist*", "INSTANCE_NOT_FOUND*"),
        when=lambda failure, attempt: attempt.method is Method.WORKER_ROLE,
        text=_other_account,
    ),
    _Rule(
        mistake=Mistake.INSTANCE_UNKNOWN,
        stages=_stage(Stage.REGISTRY),
        codes=("INSTANCE_NOT_EXIST*", "*InstanceNotExist*", "INSTANCE_NOT_FOUND*"),
        step=_install,
        text=_unknown_instance,
    ),
    _Rule(
        mistake=Mistake.ACTION_DENIED,
        stages=_stage(Stage.REGISTRY),
        codes=_PERMISSION,
        text=_denied,
        document=lambda failure, attempt: permissions_document(),
    ),
    _Rule(
        mistake=Mistake.CLOUD_FAILED,
        codes=("ServiceUnavailable*", "InternalError*", "Internal*", "UnreadableAnswer"),
        step=_install,
        text=lambda failure, attempt: (
            f"{failure.target} failed ({_said(failure)}): nothing was missed, and the call is made "
            "again later."
        ),
    ),
    _Rule(
        mistake=Mistake.OTHER,
        text=lambda failure, attempt: (
            f"the cloud refused {failure.action} at {failure.target} ({_said(failure)})."
        ),
    ),
)


def _asked_role(failure: Failure, attempt: Attempt) -> str:
    return attempt.assume_role_arn if failure.stage is Stage.ASSUME else attempt.role_arn


def _role_parameter(failure: Failure) -> str:
    return "rrsa.assumeRoleARN" if failure.stage is Stage.ASSUME else "rrsa.rrsaRoleARN"
