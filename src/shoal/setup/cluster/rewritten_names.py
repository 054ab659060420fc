"""The names that images get from the webhook: `a.b.c` becomes `a.distributed.b.c:PORT`.

As in the product: `test-registry-vpc.cn-hangzhou.cr.aliyuncs.com` becomes
`test-registry-vpc.distributed.cn-hangzhou.cr.aliyuncs.com:65001`. No such host has to exist: the
runtime's hosts.toml sends it to the agent, and to the real registry where that does not answer.
"""

from collections.abc import Iterable, Mapping

from shoal.core.endpoint import Endpoint
from shoal.core.errors import BadInput

MARK = ".distributed."


def rewritten_name(registry: str, port: int) -> str:
    """Return the name for a registry's images.

    Args:
        registry: as image references name it, with a port if that is not 443.
        port: of the agent.

    Raises:
        BadInput: it has no domain to put the mark before.
    """
    endpoint = Endpoint.parse(registry, default_port=443)
    label, dot, domain = endpoint.host.partition(".")
    if endpoint.is_address or not dot or MARK in registry:
        raise BadInput(f"{registry!r} is no name that can be rewritten")
    # Two registries of one host differ by their ports alone, which has to be seen in the name.
    other = "" if endpoint.port == 443 else f"-{endpoint.port}"
    return f"{label}{other}{MARK}{domain}:{port}"


def rewrites(registries: Iterable[Mapping[str, object]], port: int) -> dict[str, str]:
    """Return which names are rewritten to which, by the agent's `registries`.

    Only those count that the agent answers to, as one of a registry's `aliases`.
    """
    found: dict[str, str] = {}
    for registry in registries:
        aliases = registry.get("aliases")
        listed = [str(alias) for alias in aliases] if isinstance(aliases, list) else []
        for name in (str(registry.get("name", "")), *listed):
            try:
                other = rewritten_name(name, port)
            except BadInput:
                continue
            if other in listed:
                found[name] = other
    return found
