"""What the webhook needs in the cluster: its certificate, and that the API server trusts it."""

import base64
from datetime import datetime

from shoal.adapters.certificates.authority import Authority
from shoal.adapters.certificates.errors import CertificateError
from shoal.adapters.kube.api import KubeConflict, KubeConnection
from shoal.setup.cluster.authority import ServerCertificate, is_due, server_certificate
from shoal.setup.cluster.installation import Installation
from shoal.setup.cluster.objects import (
    AUTHORITIES,
    CERTIFICATE,
    HOOK,
    KEY,
    TLS_SECRET,
    collection,
    made,
    opened,
    sealed,
)
from shoal.setup.names import WEBHOOK, WEBHOOK_TLS


async def set_up_webhook(
    kube: KubeConnection, installation: Installation, authority: Authority, *, now: datetime
) -> bool:
    """Make or renew the webhook's certificate, and have it trusted; return whether it was due.

    Raises:
        KubeError: it could not be done.
    """
    renewed = await _keep_certificate(kube, installation, authority, now)
    await _have_trusted(kube, authority)
    return renewed


async def _keep_certificate(
    kube: KubeConnection, installation: Installation, authority: Authority, now: datetime
) -> bool:
    secrets = collection(installation.namespace, "secrets")
    found = await kube.find(f"{secrets}/{WEBHOOK_TLS}")
    if found is not None and not _is_due(opened(found), authority, now):
        return False
    new = server_certificate(authority, WEBHOOK, installation.namespace, now=now)
    data = sealed(
        {CERTIFICATE: new.certificate, KEY: new.key, AUTHORITIES: authority.certificate.pem}
    )
    if found is None:
        secret = made("Secret", WEBHOOK_TLS, installation.namespace)
        try:
            await kube.create(secrets, secret | {"type": TLS_SECRET, "data": data})
        except KubeConflict:
            return False  # by another, this moment
    else:
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        try:
            await kube.patch(f"{secrets}/{WEBHOOK_TLS}", {"metadata": version, "data": data})
        except KubeConflict:
            return False
    return True


def _is_due(held: dict[str, bytes], authority: Authority, now: datetime) -> bool:
    if held.get(AUTHORITIES) != authority.certificate.pem or KEY not in held:
        return True
    try:
        return is_due(ServerCertificate(held.get(CERTIFICATE, b""), held[KEY]), now=now)
    except CertificateError:
        return True


async def _have_trusted(kube: KubeConnection, authority: Authority) -> None:
    bundle = base64.b64encode(authority.certificate.pem).decode()
    found = await kube.find(HOOK)
    if found is None:
        return  # it was just uninstalled
    wanting = [
        {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": bundle}
        for index, hook in enumerate(found.get("webhooks") or ())
        if (hook.get("clientConfig") or {}).get("caBundle") != bundle
    ]
    if wanting:
        await kube.patch(HOOK, wanting, kind="json")
