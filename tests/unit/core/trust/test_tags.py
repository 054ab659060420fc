"""TagMemory."""

from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.trust.access import Facts, Holder
from shoal.core.trust.credentials import Fingerprint
from shoal.core.trust.tags import TagMemory

ALICE = Holder("registry.example", "team/app", Fingerprint(b"a" * 16))
BOB = Holder("registry.example", "team/app", Fingerprint(b"b" * 16))
FACTS = Facts(500, "type", ContentKind.MANIFEST)
ONE, TWO = Digest("sha256", "1" * 64), Digest("sha256", "2" * 64)


def test_the_last_word_counts() -> None:
    memory = TagMemory()
    memory.remember(ALICE, "v1", ONE, FACTS, now_s=0.0)
    memory.remember(ALICE, "v1", TWO, FACTS, now_s=1.0)
    record = memory.last(ALICE, "v1")
    assert record is not None
    assert (record.digest, record.seen_s) == (TWO, 1.0)


def test_what_one_credential_saw_is_not_told_to_another() -> None:
    memory = TagMemory()
    memory.remember(ALICE, "v1", ONE, FACTS, now_s=0.0)
    assert memory.last(BOB, "v1") is None
    assert memory.last(ALICE, "v2") is None


def test_a_tag_that_is_gone_is_forgotten() -> None:
    memory = TagMemory()
    memory.remember(ALICE, "v1", ONE, FACTS, now_s=0.0)
    memory.forget(ALICE, "v1")
    memory.forget(ALICE, "v1")
    assert memory.last(ALICE, "v1") is None


def test_the_least_recently_used_goes_first() -> None:
    memory = TagMemory(max_tags=2)
    memory.remember(ALICE, "v1", ONE, FACTS, now_s=0.0)
    memory.remember(ALICE, "v2", ONE, FACTS, now_s=0.0)
    memory.last(ALICE, "v1")
    memory.remember(ALICE, "v3", ONE, FACTS, now_s=0.0)
    assert len(memory) == 2
    assert memory.last(ALICE, "v2") is None
    assert memory.last(ALICE, "v1") is not None
