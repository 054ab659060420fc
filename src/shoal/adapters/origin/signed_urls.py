"""Remembering where a registry keeps a blob, for as long as its signed URL is good.

A registry on object storage answers every request for a blob with a redirect. Asking the storage
directly saves the registry one request and the pull one round trip for every stretch of pieces.
A signed URL is a credential: it is kept in memory only, apart for each credential that it was
given to, and never printed.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from yarl import URL

DEFAULT_LIFETIME_S = 60.0  # for a redirect that says nothing; storage signs for 5 minutes and more
MAX_LIFETIME_S = 3600.0
# Taken off an expiry, for the time that the request is under way and for clocks that differ.
_MARGIN_S = 10.0
MAX_REMEMBERED = 1024  # some 2 KiB each

_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=([0-9]{1,9})(?:$|[\s,])", re.IGNORECASE)


def lifetime_s(url: URL, *, headers: Mapping[str, str], now: datetime) -> float:
    """Return how long a redirect's target may be used without asking again, in seconds.

    The signature's own expiry decides where there is one, even beside `no-store`: nobody but the
    same credential gets the URL. Times are compared with the answer's `Date`, so a node whose
    clock is wrong is not misled.

    Args:
        url: the target.
        headers: of the redirecting answer; looked up as `Date` and `Cache-Control`.
        now: local time, for an answer without `Date`.

    Returns:
        0 to 3600; 0 means do not remember it.

    Source: AWS "Authenticating requests: query parameters" (X-Amz-Date, X-Amz-Expires; Expires of
    signature version 2, CloudFront and Alibaba OSS), x-oss-date and x-oss-expires of OSS signature
    version 4, X-Goog-* of Google Cloud Storage, `se` of Azure's shared access signatures.
    """
    said_now = _http_date(headers.get("Date")) or now
    expiry = _signature_expiry(url)
    if expiry is not None:
        left = expiry - said_now.timestamp() - _MARGIN_S
        return min(max(left, 0.0), MAX_LIFETIME_S)
    cache_control = headers.get("Cache-Control", "")
    if "no-store" in cache_control.lower() or "no-cache" in cache_control.lower():
        return 0.0
    if (max_age := _MAX_AGE.search(cache_control)) is not None:
        return min(float(max_age[1]), MAX_LIFETIME_S)
    return DEFAULT_LIFETIME_S


class SignedUrls:
    """The targets remembered, by blob and credential; the least recently used goes first."""

    def __init__(self, *, capacity: int = MAX_REMEMBERED) -> None:
        self._capacity = capacity
        self._urls: OrderedDict[tuple[str, ...], tuple[URL, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._urls)

    def get(self, key: tuple[str, ...], *, now_s: float) -> URL | None:
        """Return the target for `key` if it is still good."""
        found = self._urls.get(key)
        if found is None:
            return None
        url, until_s = found
        if now_s >= until_s:
            del self._urls[key]
            return None
        self._urls.move_to_end(key)
        return url

    def put(self, key: tuple[str, ...], url: URL, *, until_s: float) -> None:
        """Remember `url` for `key` until the clock that `get` is given shows `until_s`."""
        self._urls[key] = (url, until_s)
        self._urls.move_to_end(key)
        while len(self._urls) > self._capacity:
            self._urls.popitem(last=False)

    def forget(self, key: tuple[str, ...]) -> None:
        """Forget the target for `key`, if any."""
        self._urls.pop(key, None)


def _signature_expiry(url: URL) -> float | None:
    """Return the expiry in seconds since 1970, or None; a float, for no year is too far."""
    query = {key.lower(): value for key, value in url.query.items()}
    for vendor in ("x-amz", "x-goog", "x-oss"):
        if (seconds := query.get(f"{vendor}-expires")) is not None:
            signed = _compact_date(query.get(f"{vendor}-date", ""))
            if signed is not None and seconds.isdecimal() and len(seconds) < 10:
                return signed.timestamp() + int(seconds)
    if (absolute := query.get("expires", "")).isdecimal() and len(absolute) < 12:
        return float(absolute)
    if (azure := query.get("se")) is not None:
        try:
            return _aware(datetime.fromisoformat(azure)).timestamp()
        except ValueError:
            return None
    return None


def _compact_date(text: str) -> datetime | None:
    try:
        return _aware(datetime.strptime(text, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None


def _http_date(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return _aware(parsedate_to_datetime(text))
    except ValueError:
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
