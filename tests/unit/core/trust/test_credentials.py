"""Fingerprints of credentials."""

import pytest

from shoal.core.trust.credentials import KEY_BYTES, account_fingerprint, fingerprint

KEY = bytes(range(32))


def test_the_same_credential_has_the_same_fingerprint() -> None:
    assert fingerprint("Basic abc", key=KEY) == fingerprint("Basic abc", key=KEY)


def test_the_schemes_name_is_taken_without_case_and_nothing_else() -> None:
    assert fingerprint("Basic abc", key=KEY) == fingerprint("BASIC abc", key=KEY)
    assert fingerprint("Basic abc", key=KEY) != fingerprint("Basic ABC", key=KEY)


def test_different_credentials_schemes_and_keys_differ() -> None:
    texts = [None, "", "Basic abc", "Bearer abc", "anonymous", "Basic"]
    prints = {fingerprint(text, key=KEY) for text in texts}
    assert len(prints) == len(texts)
    assert fingerprint("Basic abc", key=bytes(32)) not in prints


def test_a_header_that_is_no_utf_8_has_one_too() -> None:
    assert len(fingerprint("Basic \udcff", key=KEY)) == 16


def test_nothing_of_it_shows_beyond_a_prefix() -> None:
    print_ = fingerprint("Basic abc", key=KEY)
    assert print_.hex() not in repr(print_)
    assert "abc" not in repr(print_)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        fingerprint("Basic abc", key=b"short")


def test_an_account_is_none_of_the_headers_that_could_be_sent_for_it() -> None:
    key = bytes(KEY_BYTES)
    account = account_fingerprint("basic", "alice:secret", key=key)
    assert account == account_fingerprint("basic", "alice:secret", key=key)
    assert account != account_fingerprint("basic", "alice:other", key=key)
    assert account != account_fingerprint("refresh", "alice:secret", key=key)
    assert account != account_fingerprint("basic", "alice:secret", key=b"k" * KEY_BYTES)
    for header in (None, "Basic alice:secret", "basic alice:secret", "account basic alice:secret"):
        assert account != fingerprint(header, key=key)
