"""A registry that lies, drips or loops: a whole agent says so in time, keeps nothing, goes on.

Each blob here has several pieces, so that bytes can flow before it is known that they are wrong.
"""

import asyncio
import json
import os
import re

import pytest

from agent.conftest import PATIENCE_S, REPOSITORY, SLACK_S, Agent, Answer, Client, Registry
from shoal.core.digest import Digest
from shoal.core.oci.manifests import OCI_MANIFEST
from shoal.testing.registry_faults import (
    Answer as Status,
)
from shoal.testing.registry_faults import (
    Disconnect,
    Drip,
    Fault,
    Hang,
    IgnoreRange,
    Oversize,
    Redirect,
    Stall,
    Truncate,
    Unframed,
    WithHeaders,
    WrongBytes,
    WrongLength,
    WrongRange,
)

SIZE_BYTES = 3_000_000  # twelve pieces


def held(registry: Registry, fault: Fault | None = None) -> tuple[Digest, bytes]:
    """Let the registry hold a blob, and `fault` befall every GET of it."""
    data = os.urandom(SIZE_BYTES)
    digest = registry.inner.add_blob(data, repository=REPOSITORY)
    if fault is not None:
        registry.inner.fail(fault, route="blobs", digest=digest, method="GET")
    return digest, data


def check_refused(answer: Answer, data: bytes) -> None:
    """Check that the client got, in time, a 404 with a reason, or never all of the bytes."""
    assert answer.seconds < PATIENCE_S + SLACK_S
    if answer.status == 404:
        error = json.loads(answer.body)["errors"][0]
        assert error["code"] == "BLOB_UNKNOWN"
        assert len(error["message"]) > 20  # a reason, for whoever sees only the client
    else:
        assert answer.status == 200
        assert answer.cut
        assert len(answer.body) < len(data)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (WrongLength(5), "bytes where"),
        (WrongLength(-5), "bytes where"),
        (Truncate(1000), "cut after 1000 bytes"),
        (IgnoreRange(), "answered 200 to a Range"),
        (WrongRange(), "were asked for"),
        (WithHeaders({"Content-Range": "bytes 0-99/100"}), "were asked for"),
        (WithHeaders({"Content-Encoding": "gzip"}), "content-encoding"),
        (Redirect(), "redirects"),
        (Redirect("http://169.254.169.254/latest/meta-data/"), "169.254.169.254"),
        (Redirect("file:///etc/passwd"), "redirect"),
        (Disconnect(), "closed the connection"),
    ],
    ids=repr,
)
async def test_a_blob_that_does_not_come_as_it_should_is_refused_with_a_reason(
    agent: Agent, registry: Registry, client: Client, fault: Fault, complaint: str
) -> None:
    digest, data = held(registry, fault)
    mark = agent.mark()
    answer, _ = await asyncio.gather(client.blob(digest), client.works())
    check_refused(answer, data)
    said = agent.said(complaint, since=mark)
    assert str(digest) in said
    assert digest.hex not in agent.stored()
    registry.inner.heal()
    again = await client.blob(digest)
    assert (again.status, again.body == data) == (200, True)


async def test_bytes_beyond_a_blobs_end_are_not_taken(
    agent: Agent, registry: Registry, client: Client
) -> None:
    digest, data = held(registry, Unframed(1))
    mark = agent.mark()
    answer, _ = await asyncio.gather(client.blob(digest), client.works())
    if answer.status == 200 and not answer.cut:  # what came before them was right
        assert answer.body == data
    else:
        check_refused(answer, data)
    agent.said(f"{digest}.*more than the", since=mark)


@pytest.mark.parametrize("at", [0, SIZE_BYTES - 1], ids=["first byte", "last byte"])
async def test_wrong_bytes_are_never_completed_nor_kept(
    agent: Agent, registry: Registry, client: Client, at: int
) -> None:
    digest, data = held(registry, WrongBytes(at))
    mark = agent.mark()
    answer, _ = await asyncio.gather(client.blob(digest), client.works())
    check_refused(answer, data)
    agent.said(f'"event": "blob_rejected".*{digest}', since=mark)
    assert digest.hex not in agent.stored()
    registry.inner.heal()
    again = await client.blob(digest)
    assert (again.status, again.body == data) == (200, True)


@pytest.mark.parametrize("lie_bytes", [-1000, 1000, 10**12])
async def test_a_manifest_that_lies_about_a_layers_length_is_found_out(
    agent: Agent, registry: Registry, client: Client, lie_bytes: int
) -> None:
    digest, data = held(registry)
    config = registry.inner.add_blob(b"{}", repository=REPOSITORY)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": str(config),
            "size": 2,
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": str(digest),
                "size": SIZE_BYTES + lie_bytes,
            }
        ],
    }
    manifest = registry.inner.add_manifest(
        REPOSITORY, None, json.dumps(document).encode(), OCI_MANIFEST
    )
    mark = agent.mark()
    read = await client.ask(f"/v2/{REPOSITORY}/manifests/{manifest}")
    if lie_bytes > 10**10:  # longer than any blob may be: no manifest at all
        assert read.status == 404
        agent.said('"cause": "content-wrong"', since=mark)
        return
    assert read.status == 200
    answer, _ = await asyncio.gather(client.blob(digest), client.works())
    check_refused(answer, data)
    agent.said("bytes long|shorter than its manifest|of another length", since=mark)
    assert digest.hex not in agent.stored()


async def test_a_registry_that_drips_stalls_or_says_nothing_is_given_up_in_ten_seconds(
    agent: Agent, registry: Registry, client: Client
) -> None:
    faults: list[Fault] = [Drip(1.0), Stall(0), Stall(1000), Hang()]
    blobs = [held(registry, fault) for fault in faults]
    registry.inner.content.add_image(REPOSITORY, "v1", [os.urandom(1000)])
    registry.inner.fail(Drip(0.5), route="manifests")
    mark = agent.mark()
    pulls = [asyncio.ensure_future(client.blob(digest)) for digest, _ in blobs]
    read = asyncio.ensure_future(client.ask(f"/v2/{REPOSITORY}/manifests/v1"))
    for _ in range(5):
        await client.works()
        await asyncio.sleep(1)
    for (digest, data), answer in zip(blobs, await asyncio.gather(*pulls), strict=True):
        check_refused(answer, data)
        agent.said(str(digest), since=mark)
        assert digest.hex not in agent.stored()
    manifest = await read
    assert manifest.status == 404
    assert manifest.seconds < PATIENCE_S + SLACK_S
    agent.said("manifests/v1", since=mark)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_registry_that_asks_to_be_left_alone_for_an_hour_is_and_the_client_is_not_kept(
    agent: Agent, registry: Registry, client: Client, status: int
) -> None:
    digest, data = held(registry, Status(status, {"Retry-After": "3600"}))
    mark = agent.mark()
    asked = []
    for _ in range(2):
        answer, _ = await asyncio.gather(client.blob(digest), client.works())
        check_refused(answer, data)
        assert answer.seconds < PATIENCE_S - 2.0  # it does not wait for the end of its patience
        assert b"left alone" in answer.body
        gets = [seen for seen in registry.inner.log if seen.method == "GET"]
        asked.append(sum(str(digest) in seen.path for seen in gets))
    agent.said(f"{digest}.*answered {status}", since=mark)
    assert asked[1] == asked[0]


async def test_a_manifest_of_wrong_type_length_or_content_is_refused_with_a_reason(
    agent: Agent, registry: Registry, client: Client
) -> None:
    faults: list[tuple[Fault, str]] = [
        (Oversize(), "4194304"),
        (Status(200, {"Content-Type": "text/html"}, b"<html>"), "not JSON"),
        (WithHeaders({"Content-Type": "application/vnd.example+json"}), "not a manifest type"),
        (Status(200, {"Content-Type": OCI_MANIFEST}, b"{"), "JSON"),
        (Status(200, {"Content-Type": OCI_MANIFEST}, b"[]"), "no usable manifest"),
        (WrongBytes(), "the bytes are sha256:"),
        (Redirect(), "redirects"),
    ]
    layer = os.urandom(1000)
    digest = registry.inner.content.add_image(REPOSITORY, "v2", [layer])
    mark, before = agent.mark(), agent.stored()
    for fault, complaint in faults:
        registry.inner.heal()
        registry.inner.fail(fault, route="manifests")
        for reference in ("v2", str(digest)):
            answer = await client.ask(f"/v2/{REPOSITORY}/manifests/{reference}")
            assert answer.status == 404
            assert answer.seconds < SLACK_S
            message = json.loads(answer.body)["errors"][0]["message"]
            # By digest, that other bytes came is said before what they are.
            assert re.search(f"{complaint}|the bytes are sha256:", message), (fault, message)
    agent.said('"cause": "content-wrong", "reason": ".*manifest', since=mark)
    assert digest.hex not in agent.stored()
    # Blobs of the tests before may still come, now that the registry gives them; nothing else.
    blobs = {blob.hex for blob in registry.inner.content.blobs}
    assert agent.stored() - before <= blobs
    registry.inner.heal()
    assert (await client.ask(f"/v2/{REPOSITORY}/manifests/v2")).status == 200
