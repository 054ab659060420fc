"""What the tests of the Kubernetes discovery share: a server, an account, times that are short."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shoal.adapters.kube.api import KubeAccess
from shoal.adapters.kube.reflector import Waits
from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.api_server import KubeApiServer

QUICK = Waits(first_s=0.01, most_s=0.05, short_s=0.0)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A server, and the account that may ask it."""

    server: KubeApiServer
    access: KubeAccess

    def issue_token(self, token: str) -> None:
        """Let in `token` alone; the account has it."""
        self.server.tokens = {token}
        (self.access.account_dir / "token").write_text(token + "\n")


@asynccontextmanager
async def cluster(folder: Path, *, bookmark_every_s: float = 60.0) -> AsyncIterator[Cluster]:
    """Run a server over HTTPS with an account in `folder`."""
    authority = PrivateAuthority(folder)
    authority.ca_file.rename(folder / "ca.crt")
    tls = authority.server_context("127.0.0.1")
    async with KubeApiServer(tls=tls, bookmark_every_s=bookmark_every_s) as server:
        made = Cluster(server, KubeAccess(server.url, folder))
        made.issue_token("first")
        yield made
