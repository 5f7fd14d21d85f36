"""A connected socket under gevent: plaintext with kernel timestamps, or TLS.

Plaintext sockets are the standard library's own, driven by watchers kept for the life of the connection: gevent's
socket class makes a watcher and a timer per wait. `SO_TIMESTAMPNS` makes the kernel stamp each segment as it
arrives, and `recvmsg` hands the stamp of the last segment of what was read, so the end of an answer does not depend
on when this process got round to reading it. Linux: socket(7); Documentation/networking/timestamping.rst.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import struct
import sys
import time
from typing import Any, Protocol

import gevent
import gevent.socket
from gevent import getcurrent, monkey

from harness.load.tls import tls_context

__all__ = ["Channel", "Resolver", "keep_kernel_stamps_on", "open_channel", "tls_context"]

_Socket: type[socket.socket] = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
_SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; the module `socket` does not name it
_STAMP = (socket.SOL_SOCKET, _SO_TIMESTAMPNS)
_unpacked = struct.Struct("@qq").unpack
_STAMPS = sys.platform == "linux" and struct.calcsize("l") == 8
_SMALL, _LARGE = 1 << 12, 1 << 18

Address = tuple[int, tuple[Any, ...]]  # (family, sockaddr)


class Channel(Protocol):
    """What the wire needs of a socket. All methods block the calling greenlet only."""

    def write(self, chunk: bytes | memoryview) -> int:
        """Send some of the bytes, at least one; 0 means: full, and bytes to read may have come."""

    def read(self) -> tuple[bytes, int | None]:
        """Wait for bytes; (b"", None) at the end of the stream. The stamp is the kernel's, ns since the epoch."""

    def read_now(self) -> tuple[bytes, int | None] | None:
        """Like `read`, but None when nothing is there."""

    def close(self) -> None:
        """Never raises."""


class PlainChannel:
    """A non-blocking TCP socket with kernel timestamps where the system has them.

    A wait switches to the hub and back without gevent's Waiter: whoever wakes the greenlet for another reason does no
    harm, it looks and waits again.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        hub = gevent.get_hub()
        self._switch_away = hub.switch
        self._readable = hub.loop.io(sock.fileno(), _READ)
        self._either = hub.loop.io(sock.fileno(), _READ | _WRITE)
        self._room = _SMALL
        if _STAMPS:
            with contextlib.suppress(OSError):  # some sandboxes know the option's number, not the option
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def write(self, chunk: bytes | memoryview) -> int:
        try:
            return self._sock.send(chunk)
        except BlockingIOError:
            self._wait(self._either)
            return 0

    def read(self) -> tuple[bytes, int | None]:
        while True:
            self._wait(self._readable)
            received = self.read_now()
            if received is not None:
                return received

    def read_now(self) -> tuple[bytes, int | None] | None:
        try:
            chunk, ancillary, _flags, _address = self._sock.recvmsg(self._room, 64)
        except BlockingIOError:
            return None
        if len(chunk) == self._room:  # a small buffer suits small answers; one that was filled announces a large one
            self._room = min(4 * self._room, _LARGE)
        if ancillary and ancillary[0][:2] == _STAMP:
            seconds, nanoseconds = _unpacked(ancillary[0][2])
            return chunk, seconds * 1_000_000_000 + nanoseconds
        return chunk, None

    def _wait(self, watcher: Any) -> None:
        watcher.start(getcurrent().switch)
        try:
            self._switch_away()
        finally:
            watcher.stop()

    def close(self) -> None:
        for watcher in (self._readable, self._either):
            watcher.stop()
            watcher.close()
        self._sock.close()


class TlsChannel:
    """A TLS socket of gevent: the kernel sees ciphertext records, so there is no stamp for the last byte."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def write(self, chunk: bytes | memoryview) -> int:
        return int(self._sock.send(chunk))

    def read(self) -> tuple[bytes, int | None]:
        return self._sock.recv(_LARGE), None

    def read_now(self) -> tuple[bytes, int | None] | None:
        # Only asked for on an idle connection: whatever can be read there ends it.
        self._sock.settimeout(0.0)
        try:
            return self._sock.recv(1), None
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return None
        finally:
            self._sock.settimeout(None)

    def close(self) -> None:
        self._sock.close()


def keep_kernel_stamps_on() -> socket.socket | None:
    """A socket to hold for the whole run: the kernel stamps packets only while some socket asks for it, and is slow
    to begin, so the first answers of each connection would go without. None where there are no stamps."""
    if not _STAMPS:
        return None
    sock = _Socket(socket.AF_INET, socket.SOCK_DGRAM)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return sock


class Resolver:
    """Host name -> addresses, asked again after 30 s; the address that answered last is tried first."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._known: list[Address] = []
        self._asked_at = 0.0
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            self._fixed = False
        else:
            family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
            self._known = [(family, (host, port))]
            self._fixed = True

    def addresses(self) -> list[Address]:
        """At least one address. Raises socket.gaierror."""
        if not self._fixed and (not self._known or time.monotonic() - self._asked_at > 30):
            found = gevent.socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._known = [(family, sockaddr) for family, _, _, _, sockaddr in found]
            self._asked_at = time.monotonic()
        return self._known

    def prefer(self, address: Address) -> None:
        """Try this one first from now on."""
        self._known = [address, *(a for a in self._known if a != address)]


def open_channel(resolver: Resolver, tls: Any | None, host: str) -> Channel:
    """Connect to the first address that answers; `tls` is an SSLContext. Raises OSError, ssl.SSLError, gaierror."""
    refused: OSError | None = None
    addresses = resolver.addresses()
    for address in addresses:
        try:
            sock = _connected(address)
        except OSError as error:
            refused = error
            continue
        if len(addresses) > 1:
            resolver.prefer(address)
        return _secured(sock, tls, host) if tls is not None else PlainChannel(sock)
    assert refused is not None  # noqa: S101 - a resolver gives at least one address
    raise refused


def _connected(address: Address) -> socket.socket:
    family, sockaddr = address
    sock = _Socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(sockaddr)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        if code:
            _wait_connected(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait_connected(sock: socket.socket) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), _WRITE)
    try:
        hub.wait(watcher)
    finally:
        watcher.stop()
        watcher.close()
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _secured(plain: socket.socket, tls: Any, host: str) -> TlsChannel:
    wrapped = gevent.socket.socket(plain.family, plain.type, plain.proto, fileno=plain.detach())
    try:
        return TlsChannel(tls.wrap_socket(wrapped, server_hostname=host))
    except BaseException:
        wrapped.close()
        raise
