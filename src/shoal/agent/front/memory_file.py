"""The front's memory in a file, so that a restart in an outage shuts nobody out.

No credential is in it: an account or a token is 16 bytes of an HMAC under the key of
credential_key.py. Ages stand in it instead of dates, beside the moment of writing, so that no clock
that is set back makes anything younger (core/trust/moments.py). Whatever is wrong with the file
costs a question to the registry and no more: then it counts as empty.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoal.adapters.store.files import store_error, sync_folder
from shoal.agent.front.memory import Memory, moment
from shoal.core.blob import ContentKind
from shoal.core.digest import Digest
from shoal.core.errors import StoreError
from shoal.core.trust.access import Facts, Holder, Yes
from shoal.core.trust.credentials import FINGERPRINT_BYTES, Fingerprint
from shoal.core.trust.moments import Moment, elapsed_s
from shoal.core.trust.realms import Accepted, Realm

_log = logging.getLogger("shoal.agent.front")

FORMAT = 1
# The largest memory has some 3 MiB.
MAX_FILE_BYTES = 16 * 1024 * 1024


def as_document(memory: Memory, *, now: Moment) -> dict[str, Any]:
    """Return all of `memory` that is worth keeping, ready for JSON; `now` has the boot clock."""
    now_s = now.boot_s
    holders: dict[Holder, dict[str, list[Any]]] = {}
    for yes in memory.access.all(now_s=now_s):
        kept = holders.setdefault(yes.holder, {"yes": [], "tags": []})
        facts = yes.facts
        kept["yes"].append(
            [str(yes.digest), str(facts.kind), facts.length_bytes, facts.media_type, yes.age_s]
        )
    for holder, tag, record in memory.tags.all():
        if holder in holders:  # without a yes a tag is of no use
            facts = record.facts
            holders[holder]["tags"].append(
                [tag, str(record.digest), facts.length_bytes, facts.media_type]
            )
    return {
        "format": FORMAT,
        "written": {"boot_id": now.boot_id, "boot_s": now.boot_s, "wall_s": now.wall_s},
        "holders": [[h.registry, h.repository, h.credential.hex(), k] for h, k in holders.items()],
        "realms": [[realm.registry, realm.url, realm.service] for realm in memory.realms.all()],
        "basic": [list(pair) for pair in memory.realms.all_basic()],
        "accounts": [
            [entry.realm.id, entry.account.hex(), entry.age_s]
            for entry in memory.realms.all_accepted(now_s=now_s)
        ],
    }


def take_over(document: dict[str, Any], memory: Memory, *, now: Moment) -> None:
    """Put into `memory` what `document` says, as much older as time has passed.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not what `as_document` returns.
    """
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']!r}, not {FORMAT}")
    written = document["written"]
    then = Moment(str(written["boot_id"]), float(written["boot_s"]), float(written["wall_s"]))
    passed_s = elapsed_s(then, now)
    if passed_s is None:
        raise ValueError("it was written later than it is now: the clock was set back")
    realms = {
        realm.id: realm
        for realm in (Realm(str(r), str(url), str(s)) for r, url, s in document["realms"])
    }
    accepted = [
        Accepted(realms[realm_id], _fingerprint(account), float(age_s) + passed_s)
        for realm_id, account, age_s in document["accounts"]
        if realm_id in realms
    ]
    known = list(_known(document, passed_s))
    tags = list(_tags(document))
    basic = [(str(registry), str(text)) for registry, text in document["basic"]]
    memory.realms.restore(realms.values(), accepted, basic=basic, now_s=now.boot_s)
    memory.access.restore(known, now_s=now.boot_s)
    for holder, tag, digest, facts in tags:
        memory.tags.remember(holder, tag, digest, facts, now_s=now.boot_s)


def load(path: Path, memory: Memory) -> None:
    """Put into `memory` what the file at `path` holds; blocks on the disk. Never fails."""
    try:
        take_over(json.loads(_read(path)), memory, now=moment())
    except FileNotFoundError:
        return
    except (
        OSError,
        StoreError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        _log.warning("access_memory_not_read", extra={"path": str(path), "reason": str(error)})


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if os.fstat(descriptor).st_mode & 0o077:
            raise ValueError("others can read it, so it is not believed")
        text = file.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ValueError("it is too long")
    return text


def encoded(document: dict[str, Any]) -> bytes:
    """Return `document` as the file has it."""
    return json.dumps(document, separators=(",", ":")).encode()


def save(path: Path, text: bytes) -> None:
    """Put `text` into the file at `path`, whole or not at all; blocks on the disk.

    What cannot be written is removed as well: a yes that was taken back since must not return.

    Raises:
        StoreError: the disk is full or failed.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with suppress(FileNotFoundError):
            beside.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        for left in (beside, path):
            with suppress(OSError):
                left.unlink()
        raise store_error(error, path) from error


def snapshot(memory: Memory) -> bytes:
    """Return what to save of `memory` now.

    Encoded at once: it takes the interpreter's lock wherever it is done, and thousands of small
    objects that lived on meanwhile would leave holes among those that stay.

    Raises:
        StoreError: the kernel does not tell which boot this is.
    """
    return encoded(as_document(memory, now=moment()))


def _known(document: dict[str, Any], passed_s: float) -> Iterator[Yes]:
    for registry, repository, credential, kept in document["holders"]:
        holder = Holder(str(registry), str(repository), _fingerprint(credential))
        for digest, kind, length, media_type, age_s in kept["yes"]:
            facts = Facts(_length(length), _text(media_type), ContentKind(kind))
            yield Yes(holder, Digest.parse(digest), facts, float(age_s) + passed_s)


def _tags(document: dict[str, Any]) -> Iterator[tuple[Holder, str, Digest, Facts]]:
    for registry, repository, credential, kept in document["holders"]:
        holder = Holder(str(registry), str(repository), _fingerprint(credential))
        for tag, digest, length, media_type in kept["tags"]:
            facts = Facts(_length(length), _text(media_type), ContentKind.MANIFEST)
            yield holder, str(tag), Digest.parse(digest), facts


def _fingerprint(text: str) -> Fingerprint:
    found = Fingerprint(bytes.fromhex(text))
    if len(found) != FINGERPRINT_BYTES:
        raise ValueError(f"a fingerprint of {len(found)} bytes")
    return found


def _length(value: object) -> int | None:
    if value is None or (isinstance(value, int) and value >= 0):
        return value
    raise ValueError("a length that is none")


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError("a media type that is none")
