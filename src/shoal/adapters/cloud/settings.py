"""How the cloud is asked, and with whose credentials. Secrets are files, and never in here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shoal.core.cloud.failures import Attempt
from shoal.core.console.chart_values import Method

ACCESS_KEY_DIR = Path("/etc/shoal/access-key")
TOKEN_FILE = Path("/var/run/secrets/ack.alibabacloud.com/rrsa-tokens/token")
DEFAULT_EXPIRE_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudSettings:
    """What the chart's parameters come to.

    Attributes:
        method: how to authenticate.
        region: of the instances; empty for the cluster's, which the metadata service tells.
        vpc_id: VPC that is linked to the instances; empty for the cluster's.
        access_key_dir: folder with `accessKey` and `accessKeySecret`, for that method.
        role_arn: role of the cluster's account, for RRSA.
        provider_arn: the cluster's OIDC provider, for RRSA.
        token_file: the pod's projected token, for RRSA.
        assume_role_arn: role of the account that owns the instances; empty for the same account.
        expire_s: seconds of a session of `assume_role_arn`.
        endpoint: URL of a console that answers instead of the cloud; empty for the cloud.
        ca_file: what vouches for `endpoint`, if not the usual authorities.
        metadata_proxy: URL of who answers for the metadata service; empty for 100.100.100.200.
        private_network: ask the cloud's endpoints that only VPCs reach.
    """

    method: Method
    region: str = ""
    vpc_id: str = ""
    access_key_dir: Path = ACCESS_KEY_DIR
    role_arn: str = ""
    provider_arn: str = ""
    token_file: Path = TOKEN_FILE
    assume_role_arn: str = ""
    expire_s: int = DEFAULT_EXPIRE_S
    endpoint: str = ""
    ca_file: Path | None = None
    metadata_proxy: str = ""
    private_network: bool = False

    def asked_at(self, environment: Mapping[str, str]) -> "CloudSettings":
        """Return these, with who is asked as SHOAL_CLOUD_* variables name it."""
        ca_file = environment.get("SHOAL_CLOUD_CA_FILE", "")
        return replace(
            self,
            endpoint=environment.get("SHOAL_CLOUD_ENDPOINT", ""),
            ca_file=Path(ca_file) if ca_file else None,
            metadata_proxy=environment.get("SHOAL_CLOUD_METADATA", ""),
            private_network=environment.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "") == "true",
        )

    def attempt(self) -> Attempt:
        """Return what a sentence about a failure is filled in with."""
        return Attempt(
            method=self.method,
            region=self.region,
            vpc_id=self.vpc_id,
            role_arn=self.role_arn,
            provider_arn=self.provider_arn,
            assume_role_arn=self.assume_role_arn,
            expire_s=self.expire_s,
        )
