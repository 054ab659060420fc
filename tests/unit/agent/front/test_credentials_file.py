"""CredentialsFile: read again when it changes, and never if others can read it."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from shoal.adapters.origin.docker_config import MAX_CONFIG_BYTES
from shoal.agent.front.credentials_file import LOOK_S, CredentialsFile

REGISTRY = "registry.example"


@dataclass(slots=True)
class Clock:
    """Goes on when it is told to."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def write(path: Path, password: str, *, mode: int = 0o600) -> None:
    beside = path.with_suffix(".new")
    entry = {"username": "node", "password": password}
    beside.write_text(json.dumps({"auths": {REGISTRY: entry}}))
    beside.chmod(mode)
    beside.rename(path)


async def password(file: CredentialsFile, clock: Clock) -> str | None:
    clock.now_s += LOOK_S
    found = await file.credentials_for(REGISTRY, repository="team/app")
    return None if found is None else found.password


async def test_a_changed_file_counts_from_the_next_look_on(tmp_path: Path) -> None:
    path, clock = tmp_path / "config.json", Clock()
    file = CredentialsFile(path, clock_s=clock)
    assert await password(file, clock) is None
    write(path, "one")
    assert await file.credentials_for(REGISTRY, repository="") is None  # too soon to look
    assert await password(file, clock) == "one"
    write(path, "two")
    assert await password(file, clock) == "two"
    path.unlink()
    assert await password(file, clock) is None


async def test_what_others_can_read_is_not_used_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "config.json", Clock()
    file = CredentialsFile(path, clock_s=clock)
    write(path, "one")
    assert await password(file, clock) == "one"
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert await password(file, clock) is None
    said = [vars(record)["reason"] for record in caplog.records]
    assert said == [f"others can read {path}: set its mode to 0600"]
    path.chmod(0o400)
    assert await password(file, clock) == "one"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to root")
async def test_roots_file_may_be_read_by_this_process_s_group_as_kubernetes_does_it(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "config.json", Clock()
    file = CredentialsFile(path, clock_s=clock)
    for user, group, mode, is_used in (
        (0, os.getegid(), 0o440, True),
        (0, os.getegid(), 0o640, True),
        (0, os.getegid(), 0o660, False),
        (0, os.getegid(), 0o444, False),
        (0, 64999, 0o440, False),
        (64999, os.getegid(), 0o440, False),
    ):
        write(path, "one")
        os.chown(path, user, group)
        path.chmod(mode)
        assert (await password(file, clock) == "one") is is_used, (user, group, oct(mode))


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"auths": {"registry.example": {"auth": "?"}}}'])
async def test_what_is_malformed_holds_nothing_and_shows_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    path, clock = tmp_path / "config.json", Clock()
    path.write_bytes(body + b" " * 3)
    path.chmod(0o600)
    with caplog.at_level(logging.WARNING):
        assert await password(CredentialsFile(path, clock_s=clock), clock) is None
    assert str(path) in vars(caplog.records[0])["reason"]


async def test_a_file_that_is_too_long_or_needs_a_helper_holds_nothing(tmp_path: Path) -> None:
    path, clock = tmp_path / "config.json", Clock()
    file = CredentialsFile(path, clock_s=clock)
    path.write_bytes(b" " * (MAX_CONFIG_BYTES + 1))
    path.chmod(0o600)
    assert await password(file, clock) is None
    path.write_text(json.dumps({"credHelpers": {REGISTRY: "pass"}}))
    assert await password(file, clock) is None
