"""FileSender: stretches of files to a socket."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shoal.agent.front.sending import ClientStalled, FileSender, cut

DATA = os.urandom(3 * 1024 * 1024)
Job = Callable[[asyncio.Transport], Awaitable[None]]


@asynccontextmanager
async def client_of(job: Job) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.Future[None]]]:
    """Serve one connection with `job`; give its client, and how the job ended."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert isinstance(writer.transport, asyncio.Transport)
            await job(writer.transport)
            ended.set_result(None)
        except (ClientStalled, OSError) as error:
            ended.set_exception(error)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    try:
        yield reader, ended
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


@pytest.fixture
def file_fd() -> Iterator[int]:
    fd = os.memfd_create("content")
    os.write(fd, DATA)
    yield fd
    os.close(fd)


async def test_stretches_arrive_whole_and_the_files_position_stays(file_fd: int) -> None:
    position = os.lseek(file_fd, 0, os.SEEK_CUR)

    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=5.0) as sender:
            await sender.flushed()
            await sender.send(file_fd, start=10, end=20)
            await sender.send(file_fd, start=20, end=20)
            await sender.send(file_fd, start=20, end=len(DATA))
            assert sender.sent_bytes == len(DATA) - 10

    async with client_of(job) as (reader, ended):
        assert await reader.read(-1) == DATA[10:]
        await ended
    assert os.lseek(file_fd, 0, os.SEEK_CUR) == position


async def test_what_was_written_before_goes_first(file_fd: int) -> None:
    head = bytes(2 * 1024 * 1024)  # more than the socket takes at once

    async def job(transport: asyncio.Transport) -> None:
        transport.write(head)
        with FileSender(transport, stall_s=5.0) as sender:
            await sender.flushed()
            await sender.send(file_fd, start=0, end=len(DATA))

    async with client_of(job) as (reader, ended):
        assert await reader.read(-1) == head + DATA
        await ended


async def test_a_file_that_is_too_short_is_an_error(file_fd: int) -> None:
    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=5.0) as sender:
            await sender.send(file_fd, start=0, end=len(DATA) + 1)

    async with client_of(job) as (reader, ended):
        assert await reader.read(-1) == DATA
        with pytest.raises(OSError, match="the file ends"):
            await ended


async def test_a_client_that_takes_nothing_is_stalled(file_fd: int) -> None:
    os.ftruncate(file_fd, 64 * 1024 * 1024)

    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=0.2) as sender:
            await sender.send(file_fd, start=0, end=64 * 1024 * 1024)

    async with client_of(job) as (_, ended):
        with pytest.raises(ClientStalled):
            await ended


async def test_a_client_that_does_not_take_the_headers_is_stalled() -> None:
    async def job(transport: asyncio.Transport) -> None:
        transport.write(bytes(64 * 1024 * 1024))
        with FileSender(transport, stall_s=0.2) as sender:
            await sender.flushed()

    async with client_of(job) as (_, ended):
        with pytest.raises(ClientStalled):
            await ended


async def test_a_client_that_has_left_is_noticed(file_fd: int) -> None:
    async def job(transport: asyncio.Transport) -> None:
        transport.abort()
        with FileSender(transport, stall_s=5.0):
            pass

    async with client_of(job) as (_, ended):
        with pytest.raises(ConnectionError):
            await ended


async def test_a_cut_client_sees_its_connection_end(file_fd: int) -> None:
    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=5.0) as sender:
            await sender.send(file_fd, start=0, end=1000)
        raise cut(transport)

    async with client_of(job) as (reader, ended):
        assert await reader.read(-1) == DATA[:1000]
        with pytest.raises(ConnectionResetError):
            await ended
    assert isinstance(cut(None), ConnectionResetError)


async def test_cancelling_leaves_nothing_registered(file_fd: int) -> None:
    os.ftruncate(file_fd, 64 * 1024 * 1024)
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=5.0) as sender, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await sender.send(file_fd, start=0, end=64 * 1024 * 1024)
        transport.abort()

    async with client_of(job) as (_, ended):
        await ended
    for _ in range(100):  # sockets are closed in the next rounds of the loop
        if len(os.listdir("/proc/self/fd")) == descriptors:  # noqa: PTH208
            break
        await asyncio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


async def test_what_is_not_in_the_page_cache_is_sent_too(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(DATA)
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    async def job(transport: asyncio.Transport) -> None:
        with FileSender(transport, stall_s=5.0) as sender:
            await sender.send(fd, start=0, end=len(DATA))

    try:
        async with client_of(job) as (reader, ended):
            assert await reader.read(-1) == DATA
            await ended
    finally:
        os.close(fd)
