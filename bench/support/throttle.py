"""A thin line between client and server: a TCP proxy that passes so many bytes a second, each way on its own.

    throttle.py PORT TARGET_PORT UP DOWN            (MiB/s per connection; 0: as fast as it goes)

It holds a few KiB per connection and reads no faster than it writes, so that whoever sends too fast is pushed back by
TCP itself. Segments are as short as on a real line: with those of the loopback a small window comes to a halt.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys

PIECE = 4096  # bytes passed on at a time
WINDOW = 16 * 1024  # receive buffer of both sockets, which the kernel doubles
SEGMENT = 1448


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_per_s: float) -> None:
    """Pass on until the one end closes, then close the other's way in."""
    loop = asyncio.get_running_loop()
    free_at = 0.0
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()
            if bytes_per_s:
                free_at = max(free_at, loop.time()) + len(piece) / bytes_per_s
                await asyncio.sleep(free_at - loop.time())
        writer.write_eof()


async def carry(client: tuple[asyncio.StreamReader, asyncio.StreamWriter], port: int, up: float, down: float) -> None:
    """One connection, until both ways are closed."""
    upstream = thin(socket.socket())
    upstream.setblocking(False)
    await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", port))
    server = await asyncio.open_connection(sock=upstream, limit=PIECE)
    for _, writer in (client, server):
        writer.transport.set_write_buffer_limits(high=PIECE)
    try:
        await asyncio.gather(pump(client[0], server[1], up), pump(server[0], client[1], down))
    finally:
        for _, writer in (client, server):
            writer.close()


def thin(sock: socket.socket) -> socket.socket:
    """Short segments and a small window: to be set before it listens or connects."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    return sock


async def serve(port: int, target_port: int, up: float, down: float) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await carry((reader, writer), target_port, up * 2**20, down * 2**20)

    listener = thin(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.start_server(accepted, sock=listener, limit=PIECE, backlog=256)
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with server:
        await over.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
