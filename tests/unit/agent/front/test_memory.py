"""Memory and its clock."""

from pathlib import Path

import pytest

from shoal.agent.front.memory import Memory, boot_clock_s, moment
from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import StoreError
from shoal.core.trust.access import Facts, Holder, Standing
from shoal.core.trust.credentials import Fingerprint

HOLDER = Holder("registry.example", "team/app", Fingerprint(b"a" * 16))
DIGEST = Digest("sha256", "1" * 64)


def test_a_moment_has_the_boot_and_both_clocks() -> None:
    before_s = boot_clock_s()
    now = moment()
    assert before_s <= now.boot_s <= boot_clock_s()
    assert len(now.boot_id) == 36
    assert now.wall_s > 1.6e9


def test_without_the_boots_name_there_is_no_moment(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="boot_id cannot be read"):
        moment(tmp_path / "boot_id")


def test_a_yes_is_trusted_and_kept_for_as_long_as_the_settings_say() -> None:
    memory = Memory.lasting(trusted_for_s=10.0, grace_s=100.0)
    memory.access.grant(HOLDER, DIGEST, Facts(7), now_s=0.0)
    for now_s, standing in ((10.0, Standing.YES), (99.0, Standing.LAPSED)):
        access = memory.access.decide(HOLDER, DIGEST, ContentKind.BLOB, now_s=now_s)
        assert access.standing is standing


def test_every_part_that_lasts_counts_as_a_change() -> None:
    memory = Memory()
    counts = [memory.changes]
    memory.access.grant(HOLDER, DIGEST, Facts(7), now_s=0.0)
    counts.append(memory.changes)
    memory.tags.remember(HOLDER, "v1", DIGEST, Facts(7), now_s=0.0)
    counts.append(memory.changes)
    assert counts == [0, 1, 2]
