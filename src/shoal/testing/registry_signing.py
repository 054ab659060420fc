"""Signed URLs of an embedded registry's storage: good for one method, blob and limited time."""

import hmac
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from shoal.core.digest import Digest

_FORMAT = "%Y%m%dT%H%M%SZ"


class UrlSigner:
    """Signs as Amazon S3 does in form, with one key that can be thrown away."""

    def __init__(self, *, lifetime_s: int) -> None:
        """Sign URLs that are good for `lifetime_s`."""
        self.lifetime_s = lifetime_s
        self._key = secrets.token_bytes(32)

    def query(self, method: str, digest: Digest) -> str:
        """Return the query that lets anybody ask for `digest` with `method` for a while."""
        query = {
            "X-Amz-Date": datetime.now(UTC).strftime(_FORMAT),
            "X-Amz-Expires": str(self.lifetime_s),
        }
        query["X-Amz-Signature"] = self._signature(method, digest, query)
        return urlencode(query)

    def allows(self, method: str, digest: Digest, query: Mapping[str, str]) -> bool:
        """Whether `query` was signed for this, and is not expired or revoked."""
        try:
            signed = datetime.strptime(query["X-Amz-Date"], _FORMAT).replace(tzinfo=UTC)
            expires = signed + timedelta(seconds=int(query["X-Amz-Expires"]))
            expected = self._signature(method, digest, query)
            is_signed = hmac.compare_digest(expected, query["X-Amz-Signature"])
        except (KeyError, ValueError):
            return False
        return is_signed and datetime.now(UTC) < expires

    def revoke(self) -> None:
        """Make every URL signed so far worthless."""
        self._key = secrets.token_bytes(32)

    def _signature(self, method: str, digest: Digest, query: Mapping[str, str]) -> str:
        text = f"{method} {digest} {query['X-Amz-Date']} {query['X-Amz-Expires']}"
        return hmac.new(self._key, text.encode(), "sha256").hexdigest()
