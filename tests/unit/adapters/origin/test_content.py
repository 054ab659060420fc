"""Bytes of blobs: whole, in parts, and every way in which a registry can send others."""

import os
from pathlib import Path

import pytest

from shoal.adapters.origin.client import OriginClient
from shoal.core.blob import BlobSpec, ContentKind
from shoal.core.errors import OriginDenied, OriginError, OriginLied
from shoal.core.oci.manifests import OCI_INDEX
from shoal.testing.registry import EmbeddedRegistry
from shoal.testing.registry_faults import (
    Answer,
    Disconnect,
    Drip,
    Fault,
    Hang,
    IgnoreRange,
    Redirect,
    Stall,
    Truncate,
    Unframed,
    WithHeaders,
    WrongLength,
    WrongRange,
)
from unit.adapters.origin.asking import BLOB, Right, drain, fetched, spec_of


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_blob_is_fetched_whole_and_in_parts(
    client: OriginClient, registry: EmbeddedRegistry, algorithm: str
) -> None:
    spec = spec_of(registry, algorithm=algorithm)
    assert await fetched(client, spec, 0, len(BLOB)) == BLOB
    assert await fetched(client, spec, 1000, 200_000) == BLOB[1000:200_000]
    assert await fetched(client, spec, len(BLOB) - 1, len(BLOB)) == BLOB[-1:]
    assert registry.counters.requests["GET blobs"] == 3


async def test_a_file_backed_blob_is_fetched(
    client: OriginClient, registry: EmbeddedRegistry, tmp_path: Path
) -> None:
    path = tmp_path / "layer"
    path.write_bytes(BLOB * 20)
    digest = registry.add_blob(path, repository="team/app")
    spec = BlobSpec(registry.address, digest, len(BLOB) * 20)
    assert await fetched(client, spec, 100, 5_000_000) == (BLOB * 20)[100:5_000_000]
    assert registry.counters.total_blob_body_bytes == 5_000_000 - 100


async def test_connections_are_used_again(client: OriginClient, registry: EmbeddedRegistry) -> None:
    spec = spec_of(registry)
    ports = set()
    for start in range(0, 100_000, 10_000):
        await fetched(client, spec, start, start + 10_000)
        ports.add(registry.log[-1].client_port)
    assert len(ports) == 1


async def test_nothing_is_asked_for_an_empty_stretch(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    assert await fetched(client, spec_of(registry, b""), 0, 0) == b""
    assert await fetched(client, spec_of(registry), 5, 5) == b""
    assert not registry.log
    with pytest.raises(ValueError, match="not within"):
        await fetched(client, spec_of(registry), 0, len(BLOB) + 1)


async def test_a_manifest_is_fetched_by_its_own_route_whole_or_in_parts(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    digest = registry.content.add_image("team/app", "1", [BLOB])
    body = registry.content.repositories["team/app"].manifests[digest].body
    spec = BlobSpec(registry.address, digest, len(body), ContentKind.MANIFEST)
    assert await fetched(client, spec, 0, len(body)) == body
    assert await fetched(client, spec, 10, 30) == body[10:30]
    assert registry.counters.requests == {"GET manifests": 2}
    assert "Range" not in registry.log[-1].headers
    assert OCI_INDEX in registry.log[-1].headers["Accept"]


@pytest.mark.parametrize(
    ("fault", "error", "complaint"),
    [
        (WrongRange(), OriginLied, "were asked for"),
        (WithHeaders({"Content-Range": "bytes 10-19/11"}), OriginLied, "impossible"),
        (WithHeaders({"Content-Range": "bytes 10-99999/999999"}), OriginLied, "999999 bytes long"),
        (IgnoreRange(), OriginLied, "answered 200 to a Range"),
        (WrongLength(5), OriginLied, "99995 bytes where 99990"),
        (WrongLength(-5), OriginLied, "99985 bytes where 99990"),
        (Unframed(1), OriginLied, "more than the 99990 bytes"),
        (WithHeaders({"Content-Encoding": "gzip"}), OriginLied, "content-encoding 'gzip'"),
        (
            WithHeaders({"Docker-Content-Digest": "sha256:" + "0" * 64}),
            OriginLied,
            "answered with the content of sha256:000",
        ),
        (Truncate(500), OriginError, "cut after 500 bytes"),
        (Truncate(0), OriginError, "cut after 0 bytes"),
        (Disconnect(), OriginError, "closed the connection"),
        (Redirect(), OriginError, "redirects"),
        (Answer(404), OriginError, "answered 404"),
        (Answer(500), OriginError, "answered 500"),
        (Answer(204), OriginError, "answered 204"),
        (Answer(416, {"Content-Range": "bytes */5"}), OriginLied, "shorter than its manifest says"),
        (Answer(401, {"WWW-Authenticate": "Basic"}), OriginDenied, "answered 401"),
        (Answer(403), OriginDenied, "answered 403"),
    ],
)
async def test_a_part_that_is_not_what_was_asked_for_is_an_error_that_says_why(
    client: OriginClient,
    registry: EmbeddedRegistry,
    fault: Fault,
    error: type[OriginError],
    complaint: str,
) -> None:
    registry.fail(fault, route="blobs")
    with pytest.raises(OriginError, match=complaint) as caught:
        await fetched(client, spec_of(registry), 10, 100_000)
    assert type(caught.value) is error
    registry.heal()
    assert await fetched(client, spec_of(registry), 10, 100_000) == BLOB[10:100_000]


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (Stall(5000), r"after 5000 in all: gave up"),
        (Drip(0.05), "gave up"),
        (Hang(), "no answer"),
    ],
)
async def test_a_part_that_does_not_come_is_given_up(
    hasty_client: OriginClient, registry: EmbeddedRegistry, fault: Fault, complaint: str
) -> None:
    registry.fail(fault, route="blobs")
    with pytest.raises(OriginError, match=complaint):
        await fetched(hasty_client, spec_of(registry), 10, 100_000)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (WrongLength(5), OriginLied),
        (WrongLength(-5), OriginLied),
        (Unframed(1), OriginLied),
        (Truncate(500), OriginError),
    ],
)
async def test_a_whole_blob_of_another_length_is_an_error(
    client: OriginClient, registry: EmbeddedRegistry, fault: Fault, error: type[OriginError]
) -> None:
    registry.fail(fault, route="blobs")
    with pytest.raises(OriginError) as caught:
        await fetched(client, spec_of(registry), 0, len(BLOB))
    assert type(caught.value) is error


async def test_no_byte_beyond_what_was_asked_for_is_handed_out(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.fail(Unframed(100_000), route="blobs")
    received = bytearray()
    async with client.fetch(spec_of(registry), Right(), start=10, end=1000) as chunks:
        with pytest.raises(OriginLied):
            await drain(chunks, received)
    assert received in (b"", BLOB[10:1000])


async def test_a_chunked_body_of_the_right_length_is_taken(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.fail(Unframed(), route="blobs")
    assert await fetched(client, spec_of(registry), 0, len(BLOB)) == BLOB
    assert await fetched(client, spec_of(registry), 7, 99) == BLOB[7:99]


async def test_a_registry_that_ignores_range_is_recognised_by_the_errors_status(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    registry.fail(IgnoreRange(), route="blobs")
    with pytest.raises(OriginLied) as caught:
        await fetched(client, spec_of(registry), 0, 10)
    assert caught.value.status == 200
    assert await fetched(client, spec_of(registry), 0, len(BLOB)) == BLOB


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_handed_on(
    client: OriginClient, registry: EmbeddedRegistry, status: int
) -> None:
    registry.fail(Answer(status, {"Retry-After": "120"}), route="blobs")
    with pytest.raises(OriginError) as caught:
        await fetched(client, spec_of(registry), 0, 10)
    assert (caught.value.status, caught.value.retry_after_s) == (status, 120.0)
    assert caught.value.retryable


async def test_leaving_a_fetch_early_ends_it_at_the_registry(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    spec = spec_of(registry, os.urandom(20_000_000))
    async with client.fetch(spec, Right(), start=0, end=spec.length_bytes) as chunks:
        async for _ in chunks:
            break
    assert await fetched(client, spec, 0, 10) == await fetched(client, spec, 0, 10)
    assert registry.counters.total_blob_body_bytes < spec.length_bytes


async def test_a_blob_may_be_passed_through_with_its_status_and_range(
    client: OriginClient, registry: EmbeddedRegistry
) -> None:
    spec = spec_of(registry)
    path = f"/v2/team/app/blobs/{spec.digest}"
    async with client.stream(registry.config(), path, headers={"Range": "bytes=5-14"}) as stream:
        assert stream.status == 206
        assert stream.headers["Content-Range"] == f"bytes 5-14/{len(BLOB)}"
        assert b"".join([chunk async for chunk in stream.chunks]) == BLOB[5:15]
    registry.fail(Truncate(1000), route="blobs")
    async with client.stream(registry.config(), path, headers={}) as stream:
        with pytest.raises(OriginError, match="cut after 1000 bytes"):
            await drain(stream.chunks, bytearray())


async def test_what_an_error_says_holds_no_secret(registry: EmbeddedRegistry) -> None:
    registry.fail(Redirect("http://127.0.0.1:1/x?X-Amz-Signature=secret"), route="blobs")
    async with OriginClient([registry.config()]) as client:
        with pytest.raises(OriginError) as caught:
            await fetched(client, spec_of(registry), 0, 10, Right(authorization="Basic secret"))
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
