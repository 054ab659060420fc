"""The console's process: what stops it from starting is one sentence."""

import socket
from pathlib import Path

import pytest

from shoal.control.serving import serve
from shoal.core.errors import SettingsError


async def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1 port {port}"):
            await serve(
                database_url=f"sqlite:///{tmp_path}/console.db",
                key_file=tmp_path / "console.key",
                host="127.0.0.1",
                port=port,
                https=False,
                setup_code="code",
                say=said.append,
            )
    assert said == ["database: applied 0001_start", "database: applied 0002_accounts"]
