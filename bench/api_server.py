"""An API server for benches that need one: it stands alone, and lets in whoever has its token."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shoal.testing.certificates import PrivateAuthority
from shoal.testing.kube.api_server import KubeApiServer


@asynccontextmanager
async def api_server() -> AsyncIterator[tuple[KubeApiServer, Path]]:
    """Yield a running server, and a folder with `token` and `ca.crt` as pods have them mounted."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = PrivateAuthority(folder)
        authority.ca_file.rename(folder / "ca.crt")
        (folder / "token").write_text("bench")
        tls = authority.server_context("127.0.0.1")
        async with KubeApiServer(tls=tls, tokens={"bench"}) as server:
            yield server, folder
