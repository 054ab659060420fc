"""AccessTable: one example per rule, then any order."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.trust.access import (
    MAX_ENTRIES_PER_HOLDER,
    AccessTable,
    Facts,
    Holder,
    Standing,
)
from shoal.core.trust.credentials import Fingerprint

ALICE = Holder("registry.example", "team/app", Fingerprint(b"a" * 16))
BOB = Holder("registry.example", "team/app", Fingerprint(b"b" * 16))
ELSEWHERE = Holder("registry.example", "bob/app", Fingerprint(b"a" * 16))
OTHER_REGISTRY = Holder("other.example", "team/app", Fingerprint(b"a" * 16))
BLOB = ContentKind.BLOB
MANIFEST = ContentKind.MANIFEST


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def test_without_a_word_of_the_registry_nothing_is_known() -> None:
    assert AccessTable().decide(ALICE, digest(1), BLOB, now_s=0.0).standing is Standing.UNKNOWN


def test_a_yes_is_for_one_credential_repository_registry_digest_and_kind() -> None:
    table = AccessTable()
    table.grant(ALICE, digest(1), Facts(7), now_s=0.0)
    access = table.decide(ALICE, digest(1), BLOB, now_s=1.0)
    assert (access.standing, access.facts.length_bytes) == (Standing.YES, 7)
    for holder, wanted, kind in (
        (BOB, digest(1), BLOB),
        (ELSEWHERE, digest(1), BLOB),
        (OTHER_REGISTRY, digest(1), BLOB),
        (ALICE, digest(2), BLOB),
        (ALICE, digest(1), MANIFEST),
    ):
        assert table.decide(holder, wanted, kind, now_s=1.0).standing is Standing.UNKNOWN


def test_a_yes_lapses_and_is_then_forgotten() -> None:
    table = AccessTable(trusted_for_s=10.0, grace_s=100.0)
    table.grant(ALICE, digest(1), Facts(7), now_s=0.0)
    assert table.decide(ALICE, digest(1), BLOB, now_s=10.0).standing is Standing.YES
    assert table.decide(ALICE, digest(1), BLOB, now_s=10.1).standing is Standing.LAPSED
    assert table.decide(ALICE, digest(1), BLOB, now_s=100.1).standing is Standing.UNKNOWN
    assert len(table) == 0


def test_a_later_yes_counts_from_then() -> None:
    table = AccessTable(trusted_for_s=10.0)
    table.grant(ALICE, digest(1), Facts(7), now_s=0.0)
    table.grant(ALICE, digest(1), Facts(), now_s=9.0)
    access = table.decide(ALICE, digest(1), BLOB, now_s=15.0)
    assert (access.standing, access.facts.length_bytes) == (Standing.YES, 7)


def test_what_a_manifest_lists_is_as_old_as_the_yes_for_the_manifest() -> None:
    table = AccessTable(trusted_for_s=10.0)
    table.grant(ALICE, digest(1), Facts(500, "type", MANIFEST), now_s=0.0)
    table.grant_listed(ALICE, digest(1), [(digest(2), Facts(7))])
    assert table.decide(ALICE, digest(2), BLOB, now_s=9.0).standing is Standing.YES
    assert table.decide(ALICE, digest(2), BLOB, now_s=11.0).standing is Standing.LAPSED


def test_a_listing_does_not_make_an_own_yes_older() -> None:
    table = AccessTable(trusted_for_s=10.0)
    table.grant(ALICE, digest(1), Facts(500, "type", MANIFEST), now_s=0.0)
    table.grant(ALICE, digest(2), Facts(7), now_s=8.0)
    table.grant_listed(ALICE, digest(1), [(digest(2), Facts(7))])
    assert table.decide(ALICE, digest(2), BLOB, now_s=15.0).standing is Standing.YES


def test_a_manifest_without_a_yes_lists_nothing() -> None:
    table = AccessTable()
    table.grant_listed(ALICE, digest(1), [(digest(2), Facts(7))])
    table.grant(BOB, digest(1), Facts(500, "type", MANIFEST), now_s=0.0)
    table.grant_listed(ALICE, digest(1), [(digest(2), Facts(7))])
    assert table.decide(ALICE, digest(2), BLOB, now_s=0.0).standing is Standing.UNKNOWN


def test_a_refusal_forgets_that_credential_in_that_repository_and_no_other() -> None:
    table = AccessTable()
    for holder in (ALICE, BOB, ELSEWHERE):
        table.grant(holder, digest(1), Facts(7), now_s=0.0)
    table.refuse(ALICE, now_s=0.0)
    assert table.decide(ALICE, digest(1), BLOB, now_s=0.0).standing is Standing.UNKNOWN
    for holder in (BOB, ELSEWHERE):
        assert table.decide(holder, digest(1), BLOB, now_s=0.0).standing is Standing.YES


def test_a_yes_to_an_older_question_does_not_undo_a_refusal() -> None:
    table = AccessTable()
    table.refuse(ALICE, now_s=5.0)
    assert not table.grant(ALICE, digest(1), Facts(7), now_s=6.0, asked_s=4.0)
    assert table.decide(ALICE, digest(1), BLOB, now_s=6.0).standing is Standing.UNKNOWN
    assert table.grant(ALICE, digest(1), Facts(7), now_s=7.0, asked_s=6.0)
    assert table.decide(ALICE, digest(1), BLOB, now_s=7.0).standing is Standing.YES


def test_a_yes_that_lies_in_the_future_counts_for_nothing() -> None:
    table = AccessTable(trusted_for_s=10.0, grace_s=100.0)
    table.grant(ALICE, digest(1), Facts(7), now_s=1000.0)
    assert table.decide(ALICE, digest(1), BLOB, now_s=999.0).standing is Standing.UNKNOWN
    assert table.decide(ALICE, digest(1), BLOB, now_s=1001.0).standing is Standing.UNKNOWN


def test_a_realm_that_refuses_an_account_ends_it_in_every_repository_of_the_registry() -> None:
    table = AccessTable()
    for holder in (ALICE, BOB, ELSEWHERE, OTHER_REGISTRY):
        table.grant(holder, digest(1), Facts(7), now_s=0.0)
    table.refuse_everywhere("registry.example", ALICE.credential, now_s=1.0)
    for holder in (ALICE, ELSEWHERE):
        assert table.decide(holder, digest(1), BLOB, now_s=1.0).standing is Standing.UNKNOWN
    for holder in (BOB, OTHER_REGISTRY):
        assert table.decide(holder, digest(1), BLOB, now_s=1.0).standing is Standing.YES


def test_a_refusal_of_one_that_had_nothing_is_nothing_to_write_down() -> None:
    table = AccessTable()
    table.refuse(ALICE, now_s=0.0)
    assert (table.changes, table.withdrawn) == (0, 0)
    table.grant(ALICE, digest(1), Facts(7), now_s=1.0)
    table.refuse(ALICE, now_s=2.0)
    assert (table.changes, table.withdrawn) == (2, 1)


def test_what_was_written_down_counts_as_old_as_it_is() -> None:
    before = AccessTable(trusted_for_s=10.0, grace_s=100.0)
    before.grant(ALICE, digest(1), Facts(7), now_s=0.0)
    before.grant(ALICE, digest(2), Facts(500, "type", MANIFEST), now_s=8.0)
    after = AccessTable(trusted_for_s=10.0, grace_s=100.0)
    after.restore(before.all(now_s=9.0), now_s=5000.0)
    assert after.decide(ALICE, digest(1), BLOB, now_s=5000.5).standing is Standing.YES
    assert after.decide(ALICE, digest(1), BLOB, now_s=5002.0).standing is Standing.LAPSED
    access = after.decide(ALICE, digest(2), MANIFEST, now_s=5005.0)
    assert (access.standing, access.facts) == (Standing.YES, Facts(500, "type", MANIFEST))
    assert after.decide(ALICE, digest(1), BLOB, now_s=5092.0).standing is Standing.UNKNOWN


def test_the_least_recently_used_holder_goes_first() -> None:
    table = AccessTable(max_entries=4)
    table.grant(ALICE, digest(1), Facts(), now_s=0.0)
    table.grant(BOB, digest(1), Facts(), now_s=0.0)
    table.decide(ALICE, digest(1), BLOB, now_s=0.0)
    for number in range(3):
        table.grant(ELSEWHERE, digest(number), Facts(), now_s=0.0)
    assert table.decide(BOB, digest(1), BLOB, now_s=0.0).standing is Standing.UNKNOWN
    assert table.decide(ALICE, digest(1), BLOB, now_s=0.0).standing is Standing.YES
    table.check()


def test_one_holder_cannot_take_all_the_room() -> None:
    table = AccessTable(max_entries=3 * MAX_ENTRIES_PER_HOLDER)
    table.grant(ALICE, digest(1), Facts(), now_s=0.0)
    for number in range(MAX_ENTRIES_PER_HOLDER + 10):
        table.grant(BOB, digest(number), Facts(), now_s=0.0)
    assert len(table) == MAX_ENTRIES_PER_HOLDER + 1
    assert table.decide(ALICE, digest(1), BLOB, now_s=0.0).standing is Standing.YES
    table.check()


HOLDERS = st.sampled_from([ALICE, BOB, ELSEWHERE, OTHER_REGISTRY])
NUMBERS = st.integers(0, 6)


class AnyOrder(RuleBasedStateMachine):
    """Whatever is said in whatever order, a yes is never better than what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.table = AccessTable(trusted_for_s=5.0, grace_s=20.0, max_entries=8)
        self.said: dict[tuple[Holder, int], float] = {}
        self.now_s = 0.0

    @rule(seconds=st.floats(0.0, 8.0))
    def time_passes(self, seconds: float) -> None:
        """Nothing else happens."""
        self.now_s += seconds

    @rule(holder=HOLDERS, number=NUMBERS)
    def grant(self, holder: Holder, number: int) -> None:
        """The registry says yes to a manifest."""
        self.table.grant(holder, digest(number), Facts(1, "type", MANIFEST), now_s=self.now_s)
        self.said[holder, number] = self.now_s

    @rule(holder=HOLDERS, parent=NUMBERS, child=NUMBERS)
    def read(self, holder: Holder, parent: int, child: int) -> None:
        """A manifest is read that lists another."""
        facts = Facts(1, "type", MANIFEST)
        self.table.grant_listed(holder, digest(parent), [(digest(child), facts)])
        if (holder, parent) in self.said:
            inherited_s = self.said[holder, parent]
            self.said[holder, child] = max(inherited_s, self.said.get((holder, child), -1e9))

    @rule(holder=HOLDERS)
    def forget(self, holder: Holder) -> None:
        """The registry refuses a credential."""
        self.table.refuse(holder, now_s=self.now_s)
        self.said = {key: when for key, when in self.said.items() if key[0] != holder}

    @rule(holder=HOLDERS, number=NUMBERS)
    def decide(self, holder: Holder, number: int) -> None:
        """Somebody asks."""
        access = self.table.decide(holder, digest(number), MANIFEST, now_s=self.now_s)
        age_s = self.now_s - self.said.get((holder, number), -1e9)
        if access.standing is Standing.YES:
            assert age_s <= 5.0
        elif access.standing is Standing.LAPSED:
            assert age_s <= 20.0

    @invariant()
    def invariants_hold(self) -> None:
        """The table's own."""
        self.table.check()


TestAnyOrder = AnyOrder.TestCase
