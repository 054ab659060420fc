"""Judging an answer that should hold a blob or a manifest, before its first byte is used."""

from shoal.adapters.origin.connections import Opened, retry_after_s
from shoal.core.blob import BlobSpec
from shoal.core.digest import Digest
from shoal.core.errors import BadInput, OriginDenied, OriginError, OriginLied
from shoal.core.oci.ranges import ByteRange, parse_content_range


def status_error(opened: Opened, *, what: str) -> OriginError:
    """Return the error that an answer which is neither 200 nor 206 means."""
    response = opened.response
    status = response.status
    who = f"storage {opened.url.raw_host}" if opened.is_away else "the registry"
    message = f"{what}: {who} answered {status}"
    if status == 416:
        return OriginLied(f"{message}: it is shorter than its manifest says", status=status)
    # A refusal by the storage is about the signed URL, not about the client's credential.
    if status in (401, 403) and not opened.is_away:
        return OriginDenied(message, status=status)
    return OriginError(message, status=status, retry_after_s=retry_after_s(response.headers))


def check_content(opened: Opened, spec: BlobSpec, asked: ByteRange | None, *, what: str) -> None:
    """Check that a 200 or 206 holds the bytes asked for, as far as its headers tell.

    Args:
        opened: the answer.
        spec: the blob.
        asked: the range in the request, or None if there was none.
        what: begins every error's message.

    Raises:
        OriginLied: another range, length or digest.
    """
    response = opened.response
    status = response.status
    if asked is None:
        if status != 200:
            raise OriginLied(f"{what}: answered 206 to a request without Range", status=status)
        expected_bytes = spec.length_bytes
    else:
        if status != 206:
            raise OriginLied(
                f"{what}: answered 200 to a Range; it can only be asked for whole", status=status
            )
        _check_range(response.headers.get("Content-Range", ""), spec, asked, what=what)
        expected_bytes = asked.size_bytes
    length = response.headers.get("Content-Length")
    if length is not None and length != str(expected_bytes):
        raise OriginLied(f"{what}: has {length[:20]} bytes where {expected_bytes} were expected")
    _check_digest(response.headers.get("Docker-Content-Digest"), spec, what=what)


def _check_range(header: str, spec: BlobSpec, asked: ByteRange, *, what: str) -> None:
    try:
        sent = parse_content_range(header)
    except BadInput as exc:
        raise OriginLied(f"{what}: {exc}", status=206) from exc
    if (sent.start, sent.end) != (asked.start, asked.end):
        raise OriginLied(
            f"{what}: sent bytes {sent.start}..{sent.end} where {asked.start}..{asked.end} were "
            "asked for",
            status=206,
        )
    if sent.length_bytes not in (None, spec.length_bytes):
        raise OriginLied(
            f"{what}: is {sent.length_bytes} bytes long where {spec.length_bytes} were expected",
            status=206,
        )


def _check_digest(header: str | None, spec: BlobSpec, *, what: str) -> None:
    """A registry that names another digest has other bytes: no need to fetch them to know.

    A digest of another algorithm says nothing: distribution-spec v1.1 lets a registry answer with
    the one that it prefers.
    """
    if header is None:
        return
    try:
        named = Digest.parse(header)
    except BadInput:
        return
    if named.algorithm == spec.digest.algorithm and named != spec.digest:
        raise OriginLied(f"{what}: answered with the content of {named}")
