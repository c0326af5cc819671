"""A TCP relay that makes a server be far away: each byte arrives half a round trip later, either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK = 256 * 1024
_WAITING = 1000
"""Chunks on their way in one direction of a connection; the sender then waits, as for a full window."""

_END = b""
"""What stands for the end of a direction."""


@asynccontextmanager
async def far_away(host: str, port: int, round_trip: float) -> AsyncIterator[int]:
    """Relay to a server on this machine, for as long as the body runs; gives the local port.

    `round_trip`: seconds that every round trip takes longer, that of opening a connection included.
    """
    connections: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _connection(reader, writer, host, port, round_trip)
        except asyncio.CancelledError:
            return  # the relay ends; asyncio would report this as a failure of the server
        finally:
            connections.discard(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=_CHUNK)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _connection(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, round_trip: float
) -> None:
    """One connection, until both directions have ended."""
    try:
        await asyncio.sleep(round_trip)
        there, back = await asyncio.open_connection(host, port, limit=_CHUNK)
        try:
            await asyncio.gather(
                _relay(reader, back, round_trip / 2),
                _relay(there, writer, round_trip / 2),
            )
        finally:
            back.close()
    except OSError:
        return  # the server is not there: the client sees the connection end
    finally:
        writer.close()


async def _relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    """One direction of a connection, to its end."""
    now = asyncio.get_running_loop().time
    coming: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)

    async def read() -> None:
        data = None
        while data != _END:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = _END
            await coming.put((now() + delay, data))

    reading = asyncio.create_task(read())
    try:
        with suppress(OSError):
            while True:
                due, data = await coming.get()
                await asyncio.sleep(max(0.0, due - now()))
                if data == _END:
                    return
                sink.write(data)
                await sink.drain()
    finally:
        reading.cancel()
        with suppress(OSError, RuntimeError):
            sink.write_eof()
