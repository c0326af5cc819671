"""The relay that makes a server be far away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bench.delay import far_away

pytestmark = pytest.mark.filterwarnings("error")


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that sends back what it gets, and ends with its client."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_each_round_trip_takes_longer_by_that_and_opening_too() -> None:
    loop = asyncio.get_running_loop()
    async with echo() as port, far_away("127.0.0.1", port, 0.05) as near:
        began = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", near)
        for _ in range(2):
            writer.write(b"there and back")
            assert await reader.readexactly(14) == b"there and back"
        assert loop.time() - began >= 0.15
        writer.close()


async def test_what_is_sent_arrives_whole_and_in_its_order() -> None:
    sent = b"".join(number.to_bytes(4) for number in range(500_000))
    async with echo() as port, far_away("127.0.0.1", port, 0.01) as near:
        reader, writer = await asyncio.open_connection("127.0.0.1", near)

        async def send() -> None:
            for start in range(0, len(sent), 100_000):
                writer.write(sent[start : start + 100_000])
                await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(sent)) == sent
        await sending
        writer.close()


async def test_both_ends_are_passed_on() -> None:
    async with echo() as port, far_away("127.0.0.1", port, 0.01) as near:
        reader, writer = await asyncio.open_connection("127.0.0.1", near)
        writer.write(b"the last")
        writer.write_eof()
        assert await reader.read() == b"the last"
        writer.close()


async def test_a_server_that_is_not_there_is_not_there_behind_the_relay() -> None:
    async with echo() as port:
        pass
    async with far_away("127.0.0.1", port, 0.01) as near:
        reader, writer = await asyncio.open_connection("127.0.0.1", near)
        with suppress(ConnectionError):  # the same in other words
            assert await reader.read() == b""
        writer.close()


async def test_it_ends_with_its_body_whatever_is_open() -> None:
    async with echo() as port:
        async with far_away("127.0.0.1", port, 60.0) as near:
            reader, writer = await asyncio.open_connection("127.0.0.1", near)
            writer.write(b"too early")
        writer.close()
        assert reader is not None
