"""The private authority: its servers are trusted by those who know it, and by nobody else."""

import asyncio
import ssl
from pathlib import Path

import pytest

from shoal.testing.certificates import PrivateAuthority


async def shake_hands(port: int, trust: ssl.SSLContext, name: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname=name)
    writer.close()
    await writer.wait_closed()


async def test_a_server_is_trusted_under_its_names_by_who_knows_the_authority(
    tmp_path: Path,
) -> None:
    authority = PrivateAuthority(tmp_path)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    tls = authority.server_context("127.0.0.1", "r.example")
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        knows = ssl.create_default_context(cafile=authority.ca_file)
        await shake_hands(port, knows, "127.0.0.1")
        await shake_hands(port, knows, "r.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            await shake_hands(port, knows, "other.example")
        with pytest.raises(ssl.SSLCertVerificationError):
            await shake_hands(port, ssl.create_default_context(), "127.0.0.1")
