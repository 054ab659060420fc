"""What must be so before anything is made: version, permissions, and, with RRSA, its token."""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.adapters.kube.api import KubeConnection
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.objects import JOB_ACCOUNT
from shoal.setup.cluster.permissions import lacking
from shoal.setup.cluster.steps import StepFailed

# Source: the component's page, "Prerequisites".
_OLDEST = (1, 26, 3)
_RRSA_NAMESPACE = "aliyun-acr-acceleration"
_RRSA_AUDIENCE = "sts.aliyuncs.com"
RRSA_TOKEN = Path("/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token")
# What signs tokens in a cluster where RRSA is off: only that cluster can check them.
_INTERNAL_ISSUER = "kubernetes.default.svc"
_MAX_TOKEN_BYTES = 16 * 1024
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")

VERSION_STEP = "Prerequisite Kubernetes version"
PERMISSIONS_STEP = "Prerequisite permissions"
RRSA_STEP = "Prerequisite RRSA"


@dataclass(frozen=True, slots=True)
class Claims:
    """What the pod's token for the cloud says of itself, unverified: the cloud verifies it."""

    issuer: str
    audiences: tuple[str, ...]
    subject: str


async def check_version(kube: KubeConnection) -> str:
    """Return the version of Kubernetes.

    Raises:
        StepFailed: it is too old, or none.
        KubeError: the API server did not say.
    """
    told = str((await kube.page("/version", {})).get("gitVersion", ""))
    match = _VERSION.match(told)
    if match is None or tuple(map(int, match.groups())) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise StepFailed(
            VERSION_STEP, f"the cluster runs {told or 'an unknown version'}: upgrade it to {oldest}"
        )
    return told


async def check_permissions(kube: KubeConnection, installation: Installation) -> None:
    """Return if this account may do all that will be done.

    Raises:
        StepFailed: it may not.
        KubeError: the API server did not say.
    """
    missing = await lacking(kube, installation)
    if missing:
        raise StepFailed(
            PERMISSIONS_STEP,
            f"account {JOB_ACCOUNT} may not {', '.join(map(str, missing))}: install the chart as "
            "somebody who may grant that, and do not change its roles",
        )


def check_rrsa(
    installation: Installation, *, token: Path = RRSA_TOKEN, recorded_issuer: str = ""
) -> str:
    """Return who signs the tokens that are shown to the cloud; empty without RRSA.

    Args:
        installation: what the chart says.
        token: the pod's projected token for the cloud.
        recorded_issuer: who signed them when this was installed; empty: this is the install.

    Raises:
        StepFailed: RRSA cannot work, with what to do.
    """
    if installation.method != "rrsa":
        return ""
    if installation.namespace != _RRSA_NAMESPACE:
        raise StepFailed(
            RRSA_STEP,
            f"this is namespace {installation.namespace}, and the trust policy names "
            f"system:serviceaccount:{_RRSA_NAMESPACE}:{JOB_ACCOUNT}: install it there",
        )
    claims = _claims(token)
    if not claims.issuer or _INTERNAL_ISSUER in claims.issuer:
        raise StepFailed(
            RRSA_STEP,
            f"RRSA is not enabled on this cluster (its tokens are issued by {claims.issuer!r}): "
            "enable it on the cluster's Basic Information tab, then uninstall this release and "
            "install it again",
        )
    if recorded_issuer and recorded_issuer != claims.issuer:
        raise StepFailed(
            RRSA_STEP,
            f"RRSA was enabled on the cluster after this was installed (tokens were issued by "
            f"{recorded_issuer!r}, now by {claims.issuer!r}): uninstall this release and install "
            "it again",
        )
    expected = f"system:serviceaccount:{installation.namespace}:{JOB_ACCOUNT}"
    if _RRSA_AUDIENCE not in claims.audiences or claims.subject != expected:
        raise StepFailed(
            RRSA_STEP,
            f"the pod's token is of {claims.subject!r} for {', '.join(claims.audiences)!r}, and "
            f"the trust policy wants {expected!r} for {_RRSA_AUDIENCE!r}: install the chart "
            "unchanged",
        )
    return claims.issuer


def token_issuer(path: Path) -> str:
    """Return who signed the token in `path`; empty if there is none that can be read.

    What a cluster's own API token says is what is recorded where RRSA is not in use, so that a
    change to RRSA later shows.
    """
    try:
        return _claims(path).issuer
    except StepFailed:
        return ""


def _claims(path: Path) -> Claims:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise StepFailed(
            RRSA_STEP,
            f"the pod has no token for the cloud ({path}): the API server does not project it; "
            "enable RRSA on the cluster, then uninstall this release and install it again",
        ) from exc
    try:
        part = text.split(".")[1]
        told: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        audiences = told.get("aud") or []
        return Claims(
            str(told.get("iss", "")),
            (audiences,) if isinstance(audiences, str) else tuple(map(str, audiences)),
            str(told.get("sub", "")),
        )
    except (IndexError, ValueError, TypeError, AttributeError) as exc:
        raise StepFailed(RRSA_STEP, f"{path} holds what is no token: run the Job again") from exc
