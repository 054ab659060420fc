"""A call to the cloud that failed, and what a person is told about it."""

from dataclasses import dataclass
from enum import StrEnum

from shoal.core.console.chart_values import Method
from shoal.core.errors import ShoalError


class Stage(StrEnum):
    """On the way from a pod to an instance's endpoints: what was being asked."""

    METADATA = "metadata"
    KEY_FILES = "key-files"
    OIDC = "oidc"
    ASSUME = "assume-role"
    REGISTRY = "registry"


class Mistake(StrEnum):
    """What can be wrong. Every one has a sentence, and a test that makes it."""

    INSTANCE_UNKNOWN = "instance-unknown"
    OTHER_ACCOUNT = "other-account"
    EDITION_TOO_LOW = "edition-too-low"
    EDITION_UNKNOWN = "edition-unknown"
    INSTANCE_NOT_RUNNING = "instance-not-running"
    P2P_OFF = "p2p-off"
    SWITCH_UNKNOWN = "switch-unknown"
    VPC_NOT_LINKED = "vpc-not-linked"
    VPC_UNKNOWN = "vpc-unknown"
    ENDPOINT_CREATING = "endpoint-creating"
    VPC_ENDPOINT_OFF = "vpc-endpoint-off"
    NO_DOMAINS = "no-domains"
    ACTION_DENIED = "action-denied"
    KEY_UNKNOWN = "key-unknown"
    KEY_MISSING = "key-missing"
    WRONG_SECRET = "wrong-secret"  # noqa: S105 (a name)
    CLOCK_SKEWED = "clock-skewed"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 (a name)
    TOKEN_MISSING = "token-missing"  # noqa: S105 (a name)
    TOKEN_INVALID = "token-invalid"  # noqa: S105 (a name)
    OIDC_PROVIDER = "oidc-provider"
    OIDC_ISSUER = "oidc-issuer"
    OIDC_AUDIENCE = "oidc-audience"
    OIDC_SUBJECT = "oidc-subject"
    ROLE_UNKNOWN = "role-unknown"
    ROLE_NOT_TRUSTING = "role-not-trusting"
    ASSUME_ACCESS_MISSING = "assume-access-missing"
    ASSUME_DENIED = "assume-denied"
    DURATION_TOO_LONG = "duration-too-long"
    METADATA_ABSENT = "metadata-absent"
    NO_WORKER_ROLE = "no-worker-role"
    REGION_MISSING = "region-missing"
    REGION_UNREACHABLE = "region-unreachable"
    THROTTLED = "throttled"
    CLOUD_FAILED = "cloud-failed"
    NODE_CANNOT_REACH_REGISTRY = "node-cannot-reach-registry"
    NODE_CANNOT_REACH_NODE = "node-cannot-reach-node"
    OTHER = "other"


# What may pass by itself: the same call can succeed later, without anybody's doing.
PASSING = frozenset(
    {
        Mistake.ENDPOINT_CREATING,
        Mistake.INSTANCE_NOT_RUNNING,
        Mistake.METADATA_ABSENT,
        Mistake.REGION_UNREACHABLE,
        Mistake.THROTTLED,
        Mistake.TOKEN_EXPIRED,
        Mistake.CLOUD_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a pod's token says of itself, unverified: for sentences, never for decisions."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Who asked, for what, and how: what sentences are filled in with. It holds no secret."""

    method: Method
    region: str = ""
    vpc_id: str = ""
    instance_id: str = ""
    account: str = ""  # of the credentials, where it is known
    role_arn: str = ""
    provider_arn: str = ""
    assume_role_arn: str = ""
    expire_s: int = 0
    claims: Claims | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A call without the answer that was asked for. No code: nobody answered.

    `denied_*` are the parts of the cloud's `AccessDeniedDetail`.
    """

    stage: Stage
    action: str
    target: str = ""  # the endpoint or file that was asked
    code: str = ""
    message: str = ""
    denied_action: str = ""
    denied_principal: str = ""
    denied_policy_type: str = ""
    denied_explicitly: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One sentence about one mistake.

    Attributes:
        mistake: which.
        step: the step of the documentation that was missed.
        sentence: the step, what is wrong, on which thing, and what to do.
        document: the policy document to paste, where that is what mends it.
        blocks: whether nothing can be accelerated because of it; otherwise it is a note.
    """

    mistake: Mistake
    step: str
    sentence: str
    document: str = ""
    blocks: bool = True

    @property
    def passes(self) -> bool:
        """Whether it may be gone the next time, without anybody's doing."""
        return self.mistake in PASSING


PREREQUISITES = "Prerequisites"
ENABLE_STEP = "Step 1"
INSTALL_STEP = "Step 3"
_GRANT_STEPS = {
    Method.WORKER_ROLE: "Step 2, Method 1 (worker RAM role)",
    Method.ACCESS_KEY: "Step 2, Method 2 (AccessKey pair)",
    Method.RRSA: "Step 2, Method 3 (RRSA)",
}


def grant_step(attempt: Attempt) -> str:
    """Return the step that gives the component its access, by the documentation's headings."""
    across = ", cross-account" if attempt.assume_role_arn else ""
    return _GRANT_STEPS[attempt.method] + across


class CloudFailed(ShoalError):
    """The cloud did not give what was asked; `advice` is what to do, and the message says it."""

    exit_code = 69

    def __init__(self, advice: Advice, failure: Failure | None = None) -> None:
        super().__init__(advice.sentence)
        self.advice = advice
        self.failure = failure
