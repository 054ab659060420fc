"""Signed URLs: how long each vendor's is good, and what is kept."""

from datetime import UTC, datetime

import pytest
from yarl import URL

from shoal.adapters.origin.signed_urls import (
    DEFAULT_LIFETIME_S,
    MAX_LIFETIME_S,
    SignedUrls,
    lifetime_s,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", DEFAULT_LIFETIME_S),
        ("X-Amz-Date=20260102T030405Z&X-Amz-Expires=300&X-Amz-Signature=x", 290.0),
        ("x-oss-date=20260102T030405Z&x-oss-expires=300", 290.0),
        ("X-Goog-Date=20260102T030405Z&X-Goog-Expires=300", 290.0),
        ("X-Amz-Date=20260102T020405Z&X-Amz-Expires=300", 0.0),
        ("X-Amz-Date=20260102T030405Z&X-Amz-Expires=604800", MAX_LIFETIME_S),
        (f"Expires={EPOCH + 100}&Signature=x", 90.0),
        (f"Expires={EPOCH + 5}", 0.0),
        ("se=2026-01-02T03%3A05%3A05Z&sig=x", 50.0),
        ("se=2026-01-02", 0.0),
        ("se=tomorrow", DEFAULT_LIFETIME_S),
        ("X-Amz-Date=yesterday&X-Amz-Expires=300", DEFAULT_LIFETIME_S),
        ("X-Amz-Expires=300", DEFAULT_LIFETIME_S),
        ("Expires=never", DEFAULT_LIFETIME_S),
        ("Expires=" + "9" * 40, DEFAULT_LIFETIME_S),
        ("X-Amz-Date=99991231T235959Z&X-Amz-Expires=999999999", MAX_LIFETIME_S),
        ("X-Amz-Date=00010101T000000Z&X-Amz-Expires=1", 0.0),
    ],
)
def test_a_signature_says_how_long_it_is_good(query: str, expected: float) -> None:
    url = URL(f"https://s.example/blob?{query}", encoded=True)
    assert lifetime_s(url, headers={}, now=NOW) == expected


def test_the_answers_own_date_corrects_a_wrong_clock() -> None:
    url = URL(f"https://s.example/?Expires={EPOCH + 100}")
    wrong = datetime(2020, 1, 1, tzinfo=UTC)
    headers = {"Date": "Fri, 02 Jan 2026 03:04:05 GMT"}
    assert lifetime_s(url, headers=headers, now=wrong) == 90.0
    assert lifetime_s(url, headers={"Date": "nonsense"}, now=NOW) == 90.0


@pytest.mark.parametrize(
    ("cache_control", "expected"),
    [
        ("max-age=5", 5.0),
        ("private, max-age=7200", MAX_LIFETIME_S),
        ("no-store", 0.0),
        ("No-Cache, max-age=100", 0.0),
        ("s-maxage=5", DEFAULT_LIFETIME_S),
    ],
)
def test_without_a_signature_the_cache_control_says_it(cache_control: str, expected: float) -> None:
    url = URL("https://s.example/blob")
    assert lifetime_s(url, headers={"Cache-Control": cache_control}, now=NOW) == expected
    signed = URL(f"https://s.example/blob?Expires={EPOCH + 100}")
    assert lifetime_s(signed, headers={"Cache-Control": cache_control}, now=NOW) == 90.0


def test_a_url_is_remembered_until_its_time_and_the_oldest_goes_first() -> None:
    urls = SignedUrls(capacity=2)
    a, b, c = (URL(f"https://s.example/{x}") for x in "abc")
    urls.put(("a",), a, until_s=10.0)
    urls.put(("b",), b, until_s=10.0)
    assert urls.get(("a",), now_s=9.9) == a
    urls.put(("c",), c, until_s=10.0)
    assert urls.get(("b",), now_s=0.0) is None
    assert urls.get(("a",), now_s=10.0) is None
    assert len(urls) == 1
    urls.forget(("c",))
    urls.forget(("c",))
    assert len(urls) == 0
