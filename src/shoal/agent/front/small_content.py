"""Reads something small and whole through transfers, checked against its digest."""

import asyncio
import hashlib
import os

from shoal.agent.ports import OriginGrant, Transfers
from shoal.core.blob import BlobSpec
from shoal.core.errors import TransferFailed


async def read_whole(
    transfers: Transfers, spec: BlobSpec, grant: OriginGrant, *, timeout_s: float
) -> bytes:
    """Return the bytes of `spec`, which the caller has found to be small enough.

    Raises:
        TransferFailed: not within `timeout_s`, or not the bytes that the digest says.
        StoreError: the store failed or has no room.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader = await transfers.open(spec, grant)
            try:
                length = reader.spec.length_bytes
                at = 0
                while at < length:
                    at = await reader.readable(at)
                body = await asyncio.to_thread(os.pread, reader.fd, length, 0)
            finally:
                reader.close()
    except TimeoutError as error:
        raise TransferFailed(f"{spec.digest} did not arrive within {timeout_s:g} s") from error
    except OSError as error:
        raise TransferFailed(f"{spec.digest} cannot be read: {error}") from error
    if hashlib.new(spec.digest.algorithm, body).hexdigest() != spec.digest.hex:
        raise TransferFailed(f"what was stored as {spec.digest} has other bytes")
    return body
