"""What the metadata service says of the node besides its role: region, VPC and account.

The cloud's SDK has nothing for this. As it does, a token is asked for first, which hardened nodes
demand; where there are none, the question is asked without.
"""

import aiohttp

from shoal.adapters.cloud.settings import CloudSettings
from shoal.adapters.cloud.sources import METADATA_HOST, METADATA_TIMEOUT_MS

TOKEN_TTL_S = 300
MAX_ANSWER_BYTES = 1_024
REGION, VPC, ACCOUNT = "region-id", "vpc-id", "owner-account-id"
_TTL_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 (a header's name)


async def node_facts(settings: CloudSettings) -> dict[str, str]:
    """Return what is known of this node by REGION, VPC and ACCOUNT; empty outside the cloud."""
    timeout = aiohttp.ClientTimeout(total=METADATA_TIMEOUT_MS / 1000)
    proxy = settings.metadata_proxy or None
    facts: dict[str, str] = {}
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            token = await _ask(session, "PUT", "api/token", {_TTL_HEADER: str(TOKEN_TTL_S)}, proxy)
            headers = {_TOKEN_HEADER: token} if token else {}
            for name in (REGION, VPC, ACCOUNT):
                if found := await _ask(session, "GET", f"meta-data/{name}", headers, proxy):
                    facts[name] = found
    except (aiohttp.ClientError, TimeoutError, OSError):
        return facts
    return facts


async def _ask(
    session: aiohttp.ClientSession,
    method: str,
    path: str,
    headers: dict[str, str],
    proxy: str | None,
) -> str:
    url = f"http://{METADATA_HOST}/latest/{path}"
    async with session.request(
        method, url, headers=headers, proxy=proxy, allow_redirects=False
    ) as answer:
        raw = await answer.content.read(MAX_ANSWER_BYTES)
        text = raw.decode("ascii", errors="replace").strip()
        # A line of text: a page of somebody else's is none.
        return text if answer.status == 200 and text.isprintable() and " " not in text else ""
