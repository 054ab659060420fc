"""The memory's file: all comes back, as old as it is, and nothing in it is a credential."""

import json
import logging
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.agent.front.memory import Memory, moment
from shoal.agent.front.memory_file import (
    MAX_FILE_BYTES,
    as_document,
    encoded,
    load,
    save,
    snapshot,
    take_over,
)
from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import StoreError
from shoal.core.trust.access import Facts, Holder, Standing
from shoal.core.trust.credentials import Fingerprint, fingerprint
from shoal.core.trust.moments import Moment
from shoal.core.trust.realms import Realm

SECRET = "Basic S3CRET-of-alice"
ALICE = fingerprint(SECRET, key=bytes(32))
HOLDER = Holder("registry.example", "team/app", ALICE)
LAYER, MANIFEST = Digest("sha256", "1" * 64), Digest("sha512", "2" * 128)
REALM = Realm("registry.example", "https://auth.example/token", "svc")
THEN = Moment("boot-a", 1000.0, 50_000.0)


def filled() -> Memory:
    memory = Memory.lasting(trusted_for_s=10.0, grace_s=100.0)
    facts = Facts(500, "type", ContentKind.MANIFEST)
    memory.access.grant(HOLDER, LAYER, Facts(7), now_s=THEN.boot_s - 5)
    memory.access.grant(HOLDER, MANIFEST, facts, now_s=THEN.boot_s)
    memory.tags.remember(HOLDER, "v1", MANIFEST, facts, now_s=THEN.boot_s)
    memory.realms.named(REALM)
    memory.realms.accepted(REALM, ALICE, now_s=THEN.boot_s - 50)
    memory.realms.wants_basic("other.example", "the other")
    return memory


def read(document: dict[str, Any], now: Moment) -> Memory:
    memory = Memory.lasting(trusted_for_s=10.0, grace_s=100.0)
    take_over(json.loads(json.dumps(document)), memory, now=now)
    return memory


def standing(memory: Memory, digest: Digest, kind: ContentKind, now: Moment) -> Standing:
    return memory.access.decide(HOLDER, digest, kind, now_s=now.boot_s).standing


def test_all_comes_back_as_old_as_it_is() -> None:
    now = Moment("boot-a", 1006.0, 50_006.0)
    memory = read(as_document(filled(), now=THEN), now)
    assert standing(memory, LAYER, ContentKind.BLOB, now) is Standing.LAPSED
    assert standing(memory, MANIFEST, ContentKind.MANIFEST, now) is Standing.YES
    record = memory.tags.last(HOLDER, "v1")
    assert record is not None
    assert (record.digest, record.facts) == (MANIFEST, Facts(500, "type", ContentKind.MANIFEST))
    assert memory.realms.get(REALM.id) == REALM
    assert memory.realms.basic_of("other.example") == "the other"
    assert memory.realms.is_accepted(REALM, ALICE, now_s=now.boot_s + 44)
    assert not memory.realms.is_accepted(REALM, ALICE, now_s=now.boot_s + 45)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (Moment("boot-a", 1020.0, 10.0), Standing.LAPSED),  # set back: the boot clock counts
        (Moment("boot-a", 1001.0, 90_000.0), Standing.UNKNOWN),  # set forth: ends early
        (Moment("boot-b", 3.0, 50_020.0), Standing.LAPSED),
        (Moment("boot-b", 3.0, 50_101.0), Standing.UNKNOWN),
    ],
)
def test_no_clock_makes_it_younger(now: Moment, expected: Standing) -> None:
    memory = read(as_document(filled(), now=THEN), now)
    assert standing(memory, MANIFEST, ContentKind.MANIFEST, now) is expected


def test_after_a_boot_with_the_clock_set_back_it_counts_for_nothing() -> None:
    with pytest.raises(ValueError, match="set back"):
        read(as_document(filled(), now=THEN), Moment("boot-b", 3.0, 49_999.0))


def test_the_file_is_the_owners_only_and_holds_no_credential(tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    save(path, encoded(as_document(filled(), now=THEN)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "S3CRET" not in path.read_text()
    assert "Basic" not in path.read_text()
    assert [entry.name for entry in tmp_path.iterdir()] == ["access.json"]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    before = Memory()
    before.access.grant(HOLDER, LAYER, Facts(7), now_s=moment().boot_s)
    save(path, snapshot(before))
    after = Memory()
    load(path, after)
    now = moment()
    assert standing(after, LAYER, ContentKind.BLOB, now) is Standing.YES


def test_a_missing_file_is_an_empty_memory(tmp_path: Path) -> None:
    memory = Memory()
    load(tmp_path / "access.json", memory)
    assert len(memory.access) == 0


def test_a_file_that_others_can_read_or_that_is_a_link_or_too_long_counts_as_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = tmp_path / "access.json"
    save(good, snapshot(filled()))
    link = tmp_path / "link.json"
    link.symlink_to(good)
    long = tmp_path / "long.json"
    with open(long, "wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    long.chmod(0o600)
    opened = tmp_path / "open.json"
    opened.write_bytes(good.read_bytes())
    opened.chmod(0o640)
    for path in (link, long, opened):
        memory = Memory()
        with caplog.at_level(logging.WARNING):
            load(path, memory)
        assert len(memory.access) == 0
        assert caplog.records[-1].msg == "access_memory_not_read"


def test_what_cannot_be_written_leaves_nothing_old_behind(tmp_path: Path) -> None:
    path = tmp_path / "access.json"
    save(path, encoded(as_document(filled(), now=THEN)))
    (tmp_path / ".access.json.new").mkdir()
    with pytest.raises(StoreError):
        save(path, encoded(as_document(Memory(), now=THEN)))
    assert not path.exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["format", "written", "holders", "realms", "basic", "accounts", "yes", "tags"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(st.data())
def test_whatever_is_in_the_file_the_agent_starts(data: st.DataObject) -> None:
    document = as_document(filled(), now=THEN)
    key = data.draw(st.sampled_from(sorted(document)))
    document[key] = data.draw(JSON)
    memory = Memory()
    now = replace(THEN, boot_s=THEN.boot_s + 1)
    try:
        take_over(document, memory, now=now)
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    memory.access.check()


def test_a_fingerprint_of_another_length_is_none() -> None:
    document = as_document(filled(), now=THEN)
    document["holders"][0][2] = Fingerprint(b"short").hex()
    with pytest.raises(ValueError, match="fingerprint"):
        take_over(document, Memory(), now=THEN)
