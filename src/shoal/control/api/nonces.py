"""Replayed calls: a signature is good once, and only near its time."""

import hashlib
import threading

from shoal.control.api.faults import Fault

MAX_SKEW_S = 900  # Source: the cloud refuses calls that are 15 minutes off
_BUCKET_S = 60
# A bound on memory, about 100 MB; 500 calls/s for the time that a nonce has to be kept.
MAX_NONCES = 2 * MAX_SKEW_S * 500


class Nonces:
    """Nonces that were used, by the minute of their signed time, which a replay has too."""

    def __init__(self) -> None:
        self._buckets: dict[int, set[bytes]] = {}
        # Calls are authenticated in worker threads: of two replays at once, one has to lose.
        self._lock = threading.Lock()

    def use(self, *, key_id: str, nonce: str, signed_at_s: int, now_s: int) -> None:
        """Take note of a nonce whose signature was right.

        Raises:
            Fault: The time is off, the nonce was used, or too many are kept.
        """
        if abs(signed_at_s - now_s) > MAX_SKEW_S:
            off_s = signed_at_s - now_s
            raise Fault(
                400,
                "InvalidTimeStamp.Expired",
                f"Specified time stamp or date value is expired: it is {abs(off_s)} s "
                f"{'ahead of' if off_s > 0 else 'behind'} the server's clock.",
            )
        with self._lock:
            self._note(key_id, nonce, signed_at_s, now_s)

    def _note(self, key_id: str, nonce: str, signed_at_s: int, now_s: int) -> None:
        oldest = (now_s - MAX_SKEW_S) // _BUCKET_S
        for bucket in [known for known in self._buckets if known < oldest]:
            del self._buckets[bucket]
        used = self._buckets.setdefault(signed_at_s // _BUCKET_S, set())
        mark = hashlib.sha256(f"{key_id}\n{nonce}".encode()).digest()[:16]
        if mark in used:
            raise Fault(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        if sum(map(len, self._buckets.values())) >= MAX_NONCES:
            raise Fault(503, "Throttling", "Request was denied due to request throttling.")
        used.add(mark)
