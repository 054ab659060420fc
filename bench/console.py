"""How many calls a second does the console answer, and how soon?

`shoal console serve` on SQLite, one process, over loopback. Calls are signed beforehand, as the
cloud's SDKs sign them: half are look-ups (GetInstanceVpcEndpoint), half AssumeRole, from 100 users'
access keys. First they come at a fixed rate of 500 a second, each at its time, whether or not
earlier ones are answered; `p50` and `p99` are from the time a call was due to its answer, and `cpu`
is what the console takes meanwhile, in percent of a core. Then 16 connections ask one call after
the other: `most` is how many a second that makes. `page` is the largest page, with its styles and
scripts, as the console sends it.
"""

import asyncio
import json
import re
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import ClientSession, CookieJar

from bench.ledger import Figure, Ledger, parser
from shoal.control.api.signatures import ALGORITHM, NEEDED_HEADERS, Call, acs3_signature
from shoal.control.passwords import hash_password
from shoal.control.store import access, accounts, administrators, clusters, instances
from shoal.control.store.changes import Author, Change, Changes
from shoal.control.store.database import Database
from shoal.control.store.migrate import migrate
from shoal.control.store.vault import open_vault
from shoal.core.console.documents import PERMISSIONS
from shoal.core.console.models import (
    Cluster,
    Edition,
    Instance,
    InstanceStatus,
    LinkStatus,
    PrincipalKind,
    VpcLink,
)

RATE_PER_S = 500
P99_BOUND_MS, PAGE_BOUND_KB = 50, 100
USERS = 100
_CONNECTIONS, _CLOSED_CONNECTIONS = 64, 16
_WARM_CALLS = 500
_PATIENCE_S = 60.0
_ID = "cri-bench0000000000"
_PASSWORD = "a password for the bench"  # noqa: S105 (of a console that lives for a minute)
_PAGES = (
    "instances",
    f"instances/{_ID}",
    f"instances/{_ID}/network",
    "clusters",
    "access/users",
    "access/roles",
    "access/policies",
    "marketplace",
    "audit",
)


@dataclass(frozen=True, slots=True)
class _World:
    """What the calls are made with."""

    account: str
    keys: tuple[tuple[str, str], ...]


def main() -> int:
    """Measure, print, write down."""
    options = parser(__doc__, runs=3)
    options.add_argument("--seconds", type=float, default=10.0, help="of calls at the rate (10)")
    args = options.parse_args()
    ledger = Ledger("console", question="How many calls a second does the console answer?")
    runs = [asyncio.run(_run(args.seconds)) for _ in range(args.runs)]
    p50, p99, cpu, most, page = zip(*runs, strict=True)
    ledger.add(Figure.shown("p50", p50, unit="ms"))
    ledger.add(Figure.at_most("p99", p99, bound=P99_BOUND_MS, unit="ms"))
    ledger.add(Figure.at_most("cpu", cpu, bound=100, unit="% of a core"))
    ledger.add(Figure.at_least("most", most, bound=RATE_PER_S, unit="calls/s"))
    ledger.add(Figure.at_most("page", page, bound=PAGE_BOUND_KB, unit="KB"))
    ledger.note(
        "The process that calls runs on the same machine. First paint is in docs/console.md: it "
        "takes a browser, and tests/console holds it to its bound."
    )
    return ledger.finish(args)


async def _run(seconds: float) -> tuple[float, float, float, float, float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world = _fill(folder)
        async with _console(folder) as (pid, host):
            await _at_rate(host, _calls(world, host, _WARM_CALLS), RATE_PER_S)
            calls = _calls(world, host, int(RATE_PER_S * seconds))
            before_s = _cpu_s(pid)
            took = await _at_rate(host, calls, RATE_PER_S)
            cpu_percent = 100 * (_cpu_s(pid) - before_s) / seconds
            most = await _flat_out(host, _calls(world, host, int(3_000 * seconds / 2)), seconds / 2)
            page_kb = await _largest_page_kb(host)
    took.sort()
    found = (
        1000 * statistics.median(took),
        1000 * took[int(len(took) * 0.99)],
        cpu_percent,
        most,
        page_kb,
    )
    told = "p50 {:.1f} ms, p99 {:.1f} ms, {:.0f} % of a core, {:.0f}/s, {:.1f} KB".format(*found)
    print(told, file=sys.stderr)
    return found


def _fill(folder: Path) -> _World:
    """Write a database that has what is asked for."""
    database = Database(f"sqlite:///{folder}/console.db")
    vault = open_vault(folder / "console.key")
    keys = []

    def fill(change: Change) -> None:
        administrators.first_administrator(change, "admin", hash_=hash_password(_PASSWORD))
        account = accounts.management(change.connection).id
        access.put_policy(change, account, "p2p", comment="", document=PERMISSIONS)
        statement = {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"RAM": [f"acs:ram::{account}:root"]},
        }
        trust = json.dumps({"Version": "1", "Statement": [statement]})
        access.put_role(change, account, "p2p", comment="", trust=trust, max_session_s=3600)
        for number in range(USERS):
            user = f"user-{number}"
            access.create_user(change, account, user, comment="")
            key, secret = access.create_key(change, vault, account, user)
            keys.append((key.id, secret))
            for policy in ("p2p", "AliyunSTSAssumeRoleAccess"):
                access.attach(change, account, policy, PrincipalKind.USER, user)
        instance = Instance(
            id=_ID,
            account=account,
            name="bench",
            region="cn-hangzhou",
            edition=Edition.ADVANCED,
            status=InstanceStatus.RUNNING,
            registry_url="http://127.0.0.1:5000",
            p2p_enabled=True,
            p2p_generation=1,
            p2p_changed_at=None,
            created_at=change.now_s,
            modified_at=change.now_s,
        )
        instances.create(change, instance)
        instances.add_link(
            change,
            VpcLink(
                instance_id=_ID,
                vpc_id="vpc-1",
                vswitch_id="vsw-1",
                ip="10.0.0.9",
                status=LinkStatus.RUNNING,
                default_access=True,
            ),
        )
        clusters.create(
            change,
            Cluster(
                id="c1",
                account=account,
                name="edge",
                region="cn-hangzhou",
                vpc_id="vpc-1",
                edge=True,
                version="1.28.3",
                rrsa_enabled=False,
                rrsa_issuer="",
                created_at=change.now_s,
            ),
        )

    try:
        migrate(database)
        with Changes(database).by(Author("bench", "", "R-0")) as change:
            fill(change)
            account = accounts.management(change.connection).id
    finally:
        database.close()
    return _World(account, tuple(keys))


def _calls(world: _World, host: str, count: int) -> list[bytes]:
    """Return signed requests as bytes: look-ups and AssumeRole in turn, from all users in turn."""
    return list(_signed(world, host, count))


def _signed(world: _World, host: str, count: int) -> Iterator[bytes]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    order = sorted(NEEDED_HEADERS)
    for number in range(count):
        key_id, secret = world.keys[number % len(world.keys)]
        if number % 2:
            action, version = "GetInstanceVpcEndpoint", "2018-12-01"
            query = {"InstanceId": _ID}
        else:
            action, version = "AssumeRole", "2015-04-01"
            query = {"RoleArn": f"acs:ram::{world.account}:role/p2p", "RoleSessionName": "bench"}
        headers = {
            "host": host,
            "x-acs-action": action,
            "x-acs-content-sha256": empty,
            "x-acs-date": now,
            "x-acs-signature-nonce": secrets.token_hex(16),
            "x-acs-version": version,
        }
        signature = acs3_signature(Call("POST", "/", query, headers, b"", {}), order, secret)
        headers["authorization"] = (
            f"{ALGORITHM} Credential={key_id},SignedHeaders={';'.join(order)},Signature={signature}"
        )
        lines = [f"POST /?{urlencode(query)} HTTP/1.1", "content-length: 0"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        yield ("\r\n".join(lines) + "\r\n\r\n").encode()


@asynccontextmanager
async def _console(folder: Path) -> AsyncIterator[tuple[int, str]]:
    """Run the console; give its process and where it listens."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shoal", "console", "serve"),
        *("--database", f"sqlite:///{folder}/console.db"),
        *("--key-file", str(folder / "console.key"), "--listen", "127.0.0.1:0"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not (line := await process.stdout.readline()).startswith(b"console: "):
                assert line, "the console has ended"
        yield process.pid, line.decode().split("/")[2]
    finally:
        process.terminate()
        await process.wait()


class _Connection:
    """One connection, one call at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, call: bytes) -> None:
        self._writer.write(call)
        head = await self._reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        assert found is not None
        body = await self._reader.readexactly(int(found[1]))
        assert head.startswith(b"HTTP/1.1 200"), head + body

    def close(self) -> None:
        self._writer.close()


@asynccontextmanager
async def _connections(host: str, count: int) -> AsyncIterator[list[_Connection]]:
    name, _, port = host.partition(":")
    made = [_Connection(*await asyncio.open_connection(name, int(port))) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


async def _at_rate(host: str, calls: Sequence[bytes], rate_per_s: float) -> list[float]:
    """Make each call when it is due; return seconds from then to its answer."""
    took: list[float] = []
    async with _connections(host, _CONNECTIONS) as connections, asyncio.timeout(_PATIENCE_S):
        free: asyncio.Queue[_Connection] = asyncio.Queue()
        for one in connections:
            free.put_nowait(one)

        async def make(call: bytes, due_s: float) -> None:
            connection = await free.get()
            await connection.ask(call)
            took.append(time.monotonic() - due_s)
            free.put_nowait(connection)

        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, call in enumerate(calls):
                due_s = began_s + number / rate_per_s
                await asyncio.sleep(max(due_s - time.monotonic(), 0))
                group.create_task(make(call, due_s))
    return took


async def _flat_out(host: str, calls: Sequence[bytes], seconds: float) -> float:
    """Return how many calls a second are answered to connections that never wait."""
    left = iter(calls)
    done = 0
    async with _connections(host, _CLOSED_CONNECTIONS) as connections:
        began_s = time.monotonic()

        async def ask(connection: _Connection) -> None:
            nonlocal done
            for call in left:
                await connection.ask(call)
                done += 1
                if time.monotonic() - began_s > seconds:
                    return

        async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(ask(connection))
        return done / (time.monotonic() - began_s)


async def _largest_page_kb(host: str) -> float:
    """Sign in, and return the size of the largest page with what it loads."""
    base = f"http://{host}/console"
    jar = CookieJar(unsafe=True)  # of an address instead of a name
    async with ClientSession(cookie_jar=jar) as session:
        async with session.get(f"{base}/sign-in") as answer:
            page = await answer.text()
        token = re.search(r'name="csrf[^"]*" value="([^"]+)"', page)
        form = {"name": "admin", "password": _PASSWORD, **({"csrf": token[1]} if token else {})}
        async with session.post(f"{base}/sign-in", data=form) as answer:
            assert answer.status == 200, await answer.text()
        return max([await _page_kb(session, host, f"/console/{path}") for path in _PAGES])


async def _page_kb(session: ClientSession, host: str, path: str) -> float:
    async with session.get(f"http://{host}{path}") as answer:
        page = await answer.read()
        assert answer.status == 200, (path, answer.status)
        assert b"Sign out" in page, path
    size = len(page)
    for found in set(re.findall(rb'(?:src|href)="(/console/static/[^"]+)"', page)):
        async with session.get(f"http://{host}{found.decode()}") as answer:
            size += len(await answer.read())
    return size / 1000


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
