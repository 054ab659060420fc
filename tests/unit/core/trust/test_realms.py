"""Realms: only those that a registry named, and whom they accepted lately."""

from shoal.core.trust.credentials import Fingerprint
from shoal.core.trust.realms import MAX_ACCOUNTS, MAX_REALMS, Accepted, Realm, Realms

REALM = Realm("registry.example", "https://auth.example/token", "registry.example")
ALICE = Fingerprint(b"a" * 16)
BOB = Fingerprint(b"b" * 16)


def test_a_realm_is_known_once_its_registry_has_named_it() -> None:
    realms = Realms()
    assert realms.get(REALM.id) is None
    realms.named(REALM)
    assert realms.get(REALM.id) == REALM
    assert realms.of("registry.example") == REALM
    assert realms.of("other.example") is None


def test_the_id_differs_by_registry_url_and_service() -> None:
    others = [
        Realm("other.example", REALM.url, REALM.service),
        Realm(REALM.registry, "https://auth.example/t", REALM.service),
        Realm(REALM.registry, REALM.url, "other"),
    ]
    assert len({realm.id for realm in (REALM, *others)}) == 4


def test_an_account_counts_for_the_grace_period_and_no_longer_than_until_it_is_refused() -> None:
    realms = Realms(grace_s=100.0)
    realms.named(REALM)
    realms.accepted(REALM, ALICE, now_s=0.0)
    assert realms.is_accepted(REALM, ALICE, now_s=100.0)
    assert not realms.is_accepted(REALM, ALICE, now_s=100.1)
    assert not realms.is_accepted(REALM, ALICE, now_s=-1.0)
    assert not realms.is_accepted(REALM, BOB, now_s=0.0)
    realms.refused(REALM, ALICE)
    assert not realms.is_accepted(REALM, ALICE, now_s=1.0)


def test_a_silent_realm_is_relayed_only_where_this_node_could_stand_in_for_it() -> None:
    realms = Realms(grace_s=100.0)
    realms.named(REALM)
    assert realms.is_worth_relaying(REALM, now_s=0.0)
    realms.silent(REALM, until_s=60.0)
    assert not realms.is_worth_relaying(REALM, now_s=1.0)
    assert realms.is_worth_relaying(REALM, now_s=60.0)
    realms.accepted(REALM, ALICE, now_s=70.0)
    realms.silent(REALM, until_s=200.0)
    assert realms.is_worth_relaying(REALM, now_s=80.0)
    assert not realms.is_worth_relaying(REALM, now_s=171.0)


def test_both_tables_are_bounded() -> None:
    realms = Realms()
    for number in range(MAX_REALMS + 5):
        realms.named(Realm("registry.example", f"https://auth.example/{number}"))
    assert len(realms) == MAX_REALMS
    last = realms.of("registry.example")
    assert last is not None
    for number in range(MAX_ACCOUNTS + 5):
        realms.accepted(last, Fingerprint(number.to_bytes(16, "big")), now_s=0.0)
    assert len(list(realms.all_accepted(now_s=0.0))) == MAX_ACCOUNTS


def test_a_realm_that_goes_takes_its_accounts_along() -> None:
    realms = Realms()
    realms.named(REALM)
    realms.accepted(REALM, ALICE, now_s=0.0)
    for number in range(MAX_REALMS):
        realms.named(Realm("registry.example", f"https://auth.example/{number}"))
    realms.named(REALM)
    assert not realms.is_accepted(REALM, ALICE, now_s=0.0)


def test_forms_are_known_to_be_taken_once_one_was() -> None:
    realms = Realms()
    realms.named(REALM)
    assert not realms.takes_forms(REALM)
    realms.form_taken(REALM)
    assert realms.takes_forms(REALM)


def test_what_was_written_down_counts_as_old_as_it_is() -> None:
    realms = Realms(grace_s=100.0)
    old, young = Accepted(REALM, BOB, 101.0), Accepted(REALM, ALICE, 40.0)
    realms.restore([REALM], [old, young], now_s=1000.0)
    assert realms.is_accepted(REALM, ALICE, now_s=1060.0)
    assert not realms.is_accepted(REALM, ALICE, now_s=1061.0)
    assert not realms.is_accepted(REALM, BOB, now_s=1000.0)


def test_which_registries_ask_for_a_password_is_known_and_bounded() -> None:
    realms = Realms()
    assert realms.basic_of("registry.example") is None
    realms.wants_basic("registry.example", "a realm")
    assert realms.basic_of("registry.example") == "a realm"
    for number in range(MAX_REALMS):
        realms.wants_basic(f"r{number}.example", "")
    assert realms.basic_of("registry.example") is None
    assert len(list(realms.all_basic())) == MAX_REALMS
