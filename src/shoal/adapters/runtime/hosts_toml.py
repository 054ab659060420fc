"""The text of a hosts.toml: Shoal's entry put first in it, recognised in it, taken out of it."""

# Rule 1: the administrator's text is never reformatted. The entry is inserted as whole lines
# between two marker comments, and the result is accepted only if a TOML parser reads it as "what
# was there, plus our entry, ours first". tomlkit could insert the table too, but it moves blank
# lines and comments when a table goes before others, and an insertion can be undone exactly.
# Rule 2: everything that `remove` must know later stands in the marker: whether file and folders
# are ours, and the file's hash, which tells whether somebody edited it since.

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from shoal.core.errors import BadInput, SettingsError

BEGIN = "# >>> shoal"
END = "# <<< shoal"

# containerd waits 30 s for a connection by default. Loopback answers or refuses at once, so a
# second is ample. Honoured by containerd 2.1 and later, ignored by those before.
DIAL_TIMEOUT = "1s"
CAPABILITIES = ("pull", "resolve")

MAX_FILE_BYTES = 1024 * 1024  # a hosts.toml has some hundred bytes; more is a mistake

_STATE = re.compile(
    r"^# >>> shoal state: made-file=(?P<made_file>yes|no) made-folders=(?P<made_folders>[0-9]) "
    r"sha256=(?P<sha256>[0-9a-f]{64})",
    re.ASCII | re.MULTILINE,
)
_HOST_TABLE = re.compile(r"""^[ \t]*\[[ \t]*(?:host|"host"|'host')[ \t]*[.\]]""", re.MULTILINE)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
_AT_LINE = re.compile(r"at line (\d+)")
_NO_HASH = "0" * 64


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """What hosts.toml must say about the agent's front."""

    url: str
    headers: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for name, value in self.headers:
            if _HEADER_NAME.fullmatch(name) is None:
                raise BadInput(f"not a header name: {name[:160]!r}")
            if not value.isprintable() or len(value) > 4096:
                raise BadInput(f"the value of header {name} is not printable, or too long")

    def __repr__(self) -> str:
        # A header may be this node's secret; its name is enough to debug with.
        return f"AgentEntry({self.url!r}, headers={[name for name, _ in self.headers]})"

    def as_toml(self) -> dict[str, Any]:
        """Return the table that a TOML parser must find under `host."<url>"`."""
        table: dict[str, Any] = {
            "capabilities": list(CAPABILITIES),
            "dial_timeout": DIAL_TIMEOUT,
        }
        if self.headers:
            table["header"] = dict(self.headers)
        return table


@dataclass(frozen=True, slots=True)
class Ownership:
    """What `install` made beside the entry, so that `remove` can take it away.

    `made_folders` counts upwards from the file: 1 is the registry's folder, 2 also certs.d.
    """

    made_file: bool = False
    made_folders: int = 0


@dataclass(frozen=True, slots=True)
class ManagedText:
    """A hosts.toml that holds Shoal's entry."""

    ownership: Ownership
    untouched: bool  # nobody has edited the file since Shoal wrote it
    without_entry: str
    agent_url: str | None  # None if the marked block no longer parses


def decode(data: bytes, *, path: str, limit_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the text of a TOML file.

    Raises:
        SettingsError: longer than `limit_bytes` or not UTF-8; the message names the file and line.
    """
    if len(data) > limit_bytes:
        raise SettingsError(f"{path}: {len(data)} bytes are too many for a containerd setting")
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise SettingsError(f"{path}:{line}: not UTF-8 text; nothing was changed") from exc


def parse(text: str, *, path: str) -> dict[str, Any]:
    """Return what a TOML parser reads in `text`.

    Raises:
        SettingsError: not TOML; the message names the file and line.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        found = _AT_LINE.search(str(exc))
        line = int(found[1]) if found else text.count("\n") + 1
        raise SettingsError(f"{path}:{line}: not valid TOML: {exc}; nothing was changed") from exc


def with_entry(text: str, entry: AgentEntry, *, ownership: Ownership, path: str) -> str:
    """Return `text` with the agent's entry before every other host.

    Raises:
        SettingsError: `text` is not TOML, has an entry for this URL already, or writes its hosts
            in a way that nothing can be put before; the message says what to change.
    """
    before = parse(text, path=path)
    hosts = before.get("host", {})
    if not isinstance(hosts, dict):
        raise SettingsError(f"{path}: `host` is not a table; containerd cannot read this file")
    if entry.url in hosts:
        raise SettingsError(
            f"{path}: there is an entry for {entry.url} already that `shoal containerd install` "
            "did not write; take it out, then run this again"
        )
    newline = "\r\n" if "\r\n" in text else "\n"
    block = newline.join(_block_lines(entry, ownership)) + newline
    wanted = {**before, "host": {entry.url: entry.as_toml(), **hosts}}
    tables = (_above_comments(text, match.start()) for match in _HOST_TABLE.finditer(text))
    for place in [*tables, len(text)]:
        head = text[:place]
        if head and not head.endswith("\n"):
            head += newline
        candidate = head + block + text[place:]
        if _reads_as(candidate, wanted):
            return _sealed(candidate)
    raise SettingsError(
        f'{path}: its hosts are not written as [host."..."] tables, so that nothing can be put '
        "before them; write them as tables, then run this again"
    )


def _above_comments(text: str, place: int) -> int:
    """Return where the comments directly above the line at `place` begin: they belong to it."""
    while place:
        above = text.rfind("\n", 0, place - 1) + 1
        if not text.startswith("#", above):
            break
        place = above
    return place


def _block_lines(entry: AgentEntry, ownership: Ownership) -> list[str]:
    made_file = "yes" if ownership.made_file else "no"
    lines = [
        f"{BEGIN} containerd install wrote this entry; `shoal containerd remove` takes it out",
        f"{BEGIN} state: made-file={made_file} made-folders={ownership.made_folders} "
        f"sha256={_NO_HASH}",
        f"[host.{_quoted(entry.url)}]",
        f"  capabilities = [{', '.join(map(_quoted, CAPABILITIES))}]",
        f"  dial_timeout = {_quoted(DIAL_TIMEOUT)}",
    ]
    if entry.headers:
        lines.append(f"[host.{_quoted(entry.url)}.header]")
        lines += [f"  {_quoted(name)} = {_quoted(value)}" for name, value in entry.headers]
    return [*lines, END]


def _quoted(text: str) -> str:
    """Return `text` as a TOML basic string: JSON's escapes are a subset of TOML's."""
    return json.dumps(text)


def _reads_as(text: str, wanted: dict[str, Any]) -> bool:
    try:
        read = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
    # Equal dicts may differ in order, and the order of hosts is the order of containerd's asking.
    return _same(read, wanted) and list(read["host"]) == list(wanted["host"])


def _same(left: object, right: object) -> bool:
    """Equality for parsed TOML in which a not-a-number equals itself."""
    return repr(_sorted(left)) == repr(_sorted(right))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return [(key, _sorted(value[key])) for key in sorted(value)]
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _sealed(text: str) -> str:
    """Return `text` with its hash, taken while the hash was zeros, in the marker."""
    return _STATE.sub(lambda match: match[0].replace(_NO_HASH, _hash(text)), text, count=1)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def managed(text: str) -> ManagedText | None:
    """Return what Shoal's marker in `text` says, or None if Shoal has no entry there.

    An entry without its end marker is not ours to cut: how far would it go?
    """
    lines = _lines(text)
    begin = next((i for i, line in enumerate(lines) if line.startswith(BEGIN)), None)
    if begin is None:
        return None
    end = next((i for i in range(begin, len(lines)) if lines[i].startswith(END)), None)
    if end is None:
        return None
    block = "".join(lines[begin : end + 1])
    state = _STATE.search(block)
    if state is None:
        return ManagedText(Ownership(), False, _without(lines, begin, end), _url(block))
    unsealed = text.replace(state["sha256"], _NO_HASH, 1)
    return ManagedText(
        ownership=Ownership(state["made_file"] == "yes", int(state["made_folders"])),
        untouched=_hash(unsealed) == state["sha256"],
        without_entry=_without(lines, begin, end),
        agent_url=_url(block),
    )


def _lines(text: str) -> list[str]:
    """Return the lines with their ends. str.splitlines would also cut at U+2028 and its like."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _without(lines: list[str], begin: int, end: int) -> str:
    return "".join(lines[:begin] + lines[end + 1 :])


def _url(block: str) -> str | None:
    try:
        hosts = tomllib.loads(block).get("host")
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    return next(iter(hosts), None) if isinstance(hosts, dict) else None


def comes_first(text: str, *, url: str, path: str) -> bool:
    """Tell whether `url` is the first host that containerd asks.

    Raises:
        SettingsError: `text` is not TOML.
    """
    hosts = parse(text, path=path).get("host")
    return isinstance(hosts, dict) and next(iter(hosts), None) == url
