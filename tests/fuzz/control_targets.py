"""Targets for what reaches the set-up pods and the console: pods, nodes and users of a cluster."""

import base64
import contextlib
import json
from collections.abc import Callable

from shoal.control.api import oidc
from shoal.control.api.faults import Fault
from shoal.control.api.signatures import parse_authorization
from shoal.core.cloud.policies import lacking_permissions, lacking_trust
from shoal.core.errors import BadInput
from shoal.core.reference import Reference
from shoal.setup.cluster.reports import Report
from shoal.setup.cluster.rewrite import patch, wanted
from shoal.setup.cluster.webhook import Review

_REWRITTEN = {"registry.example.com": "127.0.0.1:65001/registry.example.com", "docker.io": "hub"}
_KEYS = json.dumps({"keys": [{"kid": "a", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]})


def references(data: bytes) -> None:
    """An image's name; what was accepted means the same once written out."""
    with contextlib.suppress(BadInput):
        found = Reference.parse(data.decode("utf-8", "replace"))
        assert Reference.parse(str(found)) == found, found


def reviews(data: bytes) -> None:
    """A pod as the API server shows it to the webhook, and the patch for it."""
    with contextlib.suppress(BadInput):
        review = Review.parse(data)
        what = wanted(review.pod, review.before, _REWRITTEN)
        operations = patch(review.pod, what, ["copy"]) if what.images else []
        json.dumps(review.answer(operations))


def node_reports(data: bytes) -> None:
    """What a node tells of itself; it ends in a node's condition and an event."""
    with contextlib.suppress(ValueError, RecursionError):  # BadInput is a ValueError
        body = json.loads(data)
        if isinstance(body, dict):
            json.dumps(Report.parse(body).message)


def identity_tokens(data: bytes) -> None:
    """An OIDC token, as it came and put together of its parts, one a line; none is signed."""
    pieces = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in data.split(b"\n"))
    for token in (data.decode("utf-8", "replace"), ".".join(pieces)):
        with contextlib.suppress(Fault):
            oidc.issuer_of(token)
            oidc.key_id_of(token)
        with contextlib.suppress(Fault):
            raise AssertionError(oidc.verify(token, jwks=_KEYS, now_s=1_800_000_000))


def key_sets(data: bytes) -> None:
    """What an issuer says its keys are."""
    head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"a"}').decode().rstrip("=")
    for token in (f"{head}.e30.{'A' * 86}", f"{head.replace('RVMyNTYi', 'UlMyNTYi')}.e30.AAAA"):
        with contextlib.suppress(Fault):
            raise AssertionError(
                oidc.verify(token, jwks=data.decode("utf-8", "replace"), now_s=1_800_000_000)
            )


def policies(data: bytes) -> None:
    """A policy document, of permissions and of trust; and a call's Authorization header."""
    text = data.decode("utf-8", "replace")
    lacking_permissions(text)
    lacking_trust(text, provider_arn="acs:ram::1:oidc-provider/p", issuer="https://i.example.com")
    parse_authorization(text)


CONTROL_TARGETS: tuple[Callable[[bytes], None], ...] = (
    references,
    reviews,
    node_reports,
    identity_tokens,
    key_sets,
    policies,
)
