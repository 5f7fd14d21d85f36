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
from typing import Any, NamedTuple, Protocol

import gevent
import gevent.socket
from gevent import getcurrent, monkey

from harness.load.tls import tls_context

__all__ = ["Channel", "Received", "Resolver", "keep_kernel_stamps_on", "open_channel", "tls_context"]

_Socket: type[socket.socket] = monkey.get_original("socket", "socket")
_READ, _WRITE = 1, 2
_SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>; the module `socket` does not name it
_STAMP = (socket.SOL_SOCKET, _SO_TIMESTAMPNS)
_unpacked = struct.Struct("@qq").unpack
_STAMPS = sys.platform == "linux" and struct.calcsize("l") == 8
_SMALL, _LARGE = 1 << 12, 1 << 18
_RECORD = 1 << 14  # TLS hands out one record at a time, and none is larger (RFC 8446, 5.1)
_SLICE = 1 << 16  # encrypting a long body at one go would hold up all other sessions
_ATTEMPT_S = 3.0

Address = tuple[int, tuple[Any, ...]]  # (family, sockaddr)
Received = tuple[bytes, int | None]  # with the kernel's stamp of the last of these bytes, ns since the epoch


class Channel(Protocol):
    """What the wire needs of a socket. All methods block the calling greenlet only."""

    def write(self, chunk: bytes | memoryview) -> int:
        """Send some of the bytes, at least one; 0 means: full, and bytes to read may have come."""

    def read(self) -> Received:
        """Wait for bytes; (b"", None) at the end of the stream."""

    def read_now(self) -> Received | None:
        """Like `read`, but None when nothing is there."""

    def close(self) -> None:
        """Never raises."""


class _Watched:
    """A non-blocking socket and the watchers to wait for it.

    A wait switches to the hub and back without gevent's Waiter: whoever wakes the greenlet for another reason does no
    harm, it looks and waits again.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        hub = gevent.get_hub()
        self._switch_away = hub.switch
        self._readable = hub.loop.io(sock.fileno(), _READ)
        self._either = hub.loop.io(sock.fileno(), _READ | _WRITE)

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


class PlainChannel(_Watched):
    """A TCP socket with kernel timestamps where the system has them."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._room = _SMALL
        if _STAMPS:
            with contextlib.suppress(OSError):  # some sandboxes know the option's number, not the option
                sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def write(self, chunk: bytes | memoryview) -> int:
        try:
            return int(self._sock.send(chunk))
        except BlockingIOError:
            self._wait(self._either)
            return 0

    def read(self) -> Received:
        while True:
            self._wait(self._readable)
            received = self.read_now()
            if received is not None:
                return received

    def read_now(self) -> Received | None:
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


class TlsChannel(_Watched):
    """A TLS socket of gevent: the kernel sees ciphertext records, so there is no stamp for the last byte."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        sock.settimeout(0.0)  # gevent's own waits of a write are deaf to an answer that comes before its end

    def write(self, chunk: bytes | memoryview) -> int:
        # After a 0 the caller comes back with the same bytes, as OpenSSL wants it.
        try:
            return int(self._sock.write(chunk if len(chunk) <= _SLICE else memoryview(chunk)[:_SLICE]))
        except ssl.SSLWantWriteError:
            self._wait(self._either)
        except ssl.SSLWantReadError:
            self._wait(self._readable)
        return 0

    def read(self) -> Received:
        while True:
            try:
                return self._sock.recv(_RECORD), None
            except ssl.SSLWantReadError:  # what OpenSSL holds already would never make the socket readable
                self._wait(self._readable)
            except ssl.SSLWantWriteError:
                self._wait(self._either)

    def read_now(self) -> Received | None:
        try:
            return self._sock.recv(_RECORD), None
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None


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
        self._preferred: Address | None = None
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
            if self._preferred in self._known:
                self.prefer(self._preferred)
        return self._known

    def prefer(self, address: Address) -> None:
        """Try this one first from now on, also after the name was asked for again."""
        self._preferred = address
        self._known = [address, *(a for a in self._known if a != address)]


class Opened(NamedTuple):
    """A new channel, and the monotonic ns at which its name was looked up and its TCP connection stood."""

    channel: Channel
    resolved_at: int
    tcp_at: int


def open_channel(resolver: Resolver, tls: Any | None, host: str, limit_s: float) -> Opened:
    """Connect to the first address that answers; `tls` is an SSLContext. Raises OSError, ssl.SSLError, gaierror.

    An address that only swallows packets must not cost the whole `limit_s` while others wait: each but the last has
    its share of it, at most 3 s. The limit itself is kept by the caller.
    """
    refused: OSError | None = None
    addresses = resolver.addresses()
    resolved_at = time.perf_counter_ns()
    for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
        try:
            sock = _connected(address, min(_ATTEMPT_S, limit_s / len(addresses)) if left else None)
        except OSError as error:
            refused = error
            continue
        if address != addresses[0]:
            resolver.prefer(address)
        tcp_at = time.perf_counter_ns()
        return Opened(_secured(sock, tls, host) if tls is not None else PlainChannel(sock), resolved_at, tcp_at)
    assert refused is not None  # noqa: S101 - a resolver gives at least one address
    raise refused


def _connected(address: Address, within_s: float | None) -> socket.socket:
    family, sockaddr = address
    sock = _Socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(sockaddr)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        if code:
            _wait_connected(sock, within_s)
    except BaseException:
        sock.close()
        raise
    return sock


def _wait_connected(sock: socket.socket, within_s: float | None) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(sock.fileno(), _WRITE)
    try:
        if within_s is None:
            hub.wait(watcher)
        else:
            with gevent.Timeout(within_s, TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))):
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
