"""Connections over their life, on real sockets: kept, found dead, timed out, cut off. In child processes: gevent."""

from __future__ import annotations

import asyncio
import textwrap

from load_support import OK, Request, in_child, misbehave, raw_server

SETUP = """
import sys, time
import gevent.monkey; gevent.monkey.patch_all()
import gevent
from gevent.server import StreamServer
from harness.load import wire
from harness.load.wire import Connection, Exchange, Origin, Terms
OK = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
REQUEST = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

def request_of(sock):
    seen = b""
    while not seen.endswith(b"\\r\\n\\r\\n"):
        piece = sock.recv(4096)
        if not piece:
            return None
        seen += piece
    return seen

def always_ok(sock, address):
    while request_of(sock):
        sock.sendall(OK)

def serving(serve, host="127.0.0.1"):
    server = StreamServer((host, 0), serve)
    server.start()
    return Connection(Origin(f"http://{'[::1]' if ':' in host else host}:{server.server_port}", None))

def get(connection, timeout_s=5.0):
    x = Exchange(time.perf_counter_ns())
    connection.exchange(x, REQUEST, b"", Terms(timeout_s))
    return x

def seconds(x):
    return (x.done_at - x.start_at) / 1e9
"""


def child(code: str, *arguments: str) -> str:
    return in_child(SETUP + textwrap.dedent(code), *arguments).strip()


STALLED = """
def stalled(connection, path, timeout_s, stall_s):
    get(connection)  # so that the next one is written at once, and the stall begins when it waits for its answer
    gevent.spawn(gevent.monkey.get_original("time", "sleep"), stall_s)
    x = Exchange(time.perf_counter_ns())
    connection.exchange(x, REQUEST.replace(b"/ ", path + b" "), b"", Terms(timeout_s))
    return x
connection = Connection(Origin(sys.argv[1], None))
"""


def test_a_connection_is_kept_when_its_descriptor_is_beyond_1024() -> None:
    # select() ends at 1024; clients that look with it whether a connection lives open a new one for every request.
    seen = child("""
        import os, resource
        wire._PEEK_AFTER_NS = 0  # looked at before each use, as after a second of idling
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
        opened = [os.dup(0) for _ in range(1150)]
        connection = serving(always_ok)
        first = get(connection)
        number = connection._channel._sock.fileno()
        later = [get(connection) for _ in range(3)]
        assert first.connected_at is not None and first.error is None, first
        assert all((x.connected_at, x.error, x.attempts) == (None, None, 1) for x in later), later
        print(number > 1150)
    """)
    assert seen == "True"


def test_a_server_on_ipv6_is_reached() -> None:
    seen = child("""
        import socket
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            sys.exit(print("200 no IPv6 here"))
        x = get(serving(always_ok, "::1"))
        assert x.kernel_done_ns is None or x.send_at is not None
        print(x.status, x.error)
    """)
    assert seen in {"200 None", "200 no IPv6 here"}


def test_a_connection_closed_while_it_idled_is_noticed_before_it_is_used() -> None:
    child("""
        wire._PEEK_AFTER_NS = 0
        def once(sock, address):
            request_of(sock)
            sock.sendall(OK)
        connection = serving(once)
        first = get(connection)
        gevent.sleep(0.05)
        second = get(connection)
        assert (first.error, second.error, second.attempts) == (None, None, 1), (first, second)
        assert second.connected_at is not None
    """)


def test_bytes_nobody_asked_for_end_a_connection_that_idled() -> None:
    child("""
        wire._PEEK_AFTER_NS = 0
        def talkative(sock, address):
            while request_of(sock):
                sock.sendall(OK)
                gevent.sleep(0.02)
                sock.sendall(b"HTTP/1.1 408 Request Timeout\\r\\nContent-Length: 0\\r\\n\\r\\n")
        connection = serving(talkative)
        get(connection)
        gevent.sleep(0.05)
        second = get(connection)
        assert (second.status, second.connected_at is not None) == (200, True), second
    """)


def test_an_answer_that_came_in_time_counts_though_this_process_slept_beyond_the_limit() -> None:
    with raw_server(misbehave) as server:
        child(
            STALLED
            + textwrap.dedent("""
            x = stalled(connection, b"/chunked", 0.5, 1.0)  # its last chunk comes after 60 ms
            assert (x.error, x.status, x.attempts) == (None, 200, 1) and x.bytes_received > 50, x
            stamped_s = (x.kernel_done_ns - time.time_ns() + time.perf_counter_ns() - x.start_at) / 1e9
            assert 0.05 < stamped_s < 0.5 < 1.0 <= seconds(x), (stamped_s, x)
            again = get(connection)
            assert (again.connected_at, again.error) == (None, None), again
            """),
            server.url,
        )


def test_an_answer_that_came_late_is_a_timeout_though_it_is_there_when_this_process_wakes_up() -> None:
    async def late(r: Request) -> bool:
        await asyncio.sleep(0.7 if r.path == "/late" else 0)
        r.writer.write(OK)
        return True

    with raw_server(late) as server:
        child(
            STALLED
            + textwrap.dedent("""
            x = stalled(connection, b"/late", 0.5, 1.2)
            assert (x.error, x.status, x.kernel_done_ns, x.bytes_received) == ("timeout", None, None, 0), x
            assert connection._channel is None
            """),
            server.url,
        )


def test_half_an_answer_that_came_in_time_is_a_timeout() -> None:
    async def half(r: Request) -> bool:
        r.writer.write(OK[:-1] if r.path == "/half" else OK)
        return True

    with raw_server(half) as server:
        child(
            STALLED
            + textwrap.dedent("""
            x = stalled(connection, b"/half", 0.3, 0.6)
            assert (x.error, x.status) == ("timeout", 200) and x.first_byte_at is not None, x
            """),
            server.url,
        )


def test_the_time_limit_holds_for_a_resend_too() -> None:
    child("""
        wire._RESEND_WITHIN_NS = 5_000_000_000  # generous: this machine may be busy
        connections = []
        def one_then_silent(sock, address):
            connections.append(sock)
            request_of(sock)
            if len(connections) == 1:
                sock.sendall(OK)
                request_of(sock)
                return  # closed after the second request was read
            gevent.sleep(30)
        connection = serving(one_then_silent)
        get(connection)
        x = get(connection, 0.3)
        assert (x.error, x.attempts, x.status) == ("timeout", 2, None), x
        assert 0.3 <= seconds(x) < 3, x
    """)


def test_each_request_has_the_whole_time_limit() -> None:
    # The timer of a connection goes on from request to request; it must count from the start of each.
    child("""
        def slow_in_the_end(sock, address):
            for _ in range(6):
                request_of(sock)
                gevent.sleep(0.1)
                sock.sendall(OK)
            gevent.sleep(30)
        connection = serving(slow_in_the_end)
        quick = [get(connection, 0.3) for _ in range(6)]
        late = get(connection, 0.3)
        assert [x.error for x in quick] == [None] * 6, quick
        assert late.error == "timeout" and 0.3 <= seconds(late) < 3, late
    """)


def test_a_shorter_limit_than_the_one_before_is_kept() -> None:
    child("""
        def second_hangs(sock, address):
            request_of(sock)
            sock.sendall(OK)
            gevent.sleep(30)
        connection = serving(second_hangs)
        first, second = get(connection, 30.0), get(connection, 0.2)
        assert (first.error, second.error) == (None, "timeout")
        assert 0.2 <= seconds(second) < 3, second
    """)


def test_an_answer_that_trickles_ends_at_the_time_limit() -> None:
    child("""
        def trickle(sock, address):
            request_of(sock)
            for byte in OK * 100:
                sock.sendall(bytes([byte]))
                gevent.sleep(0.02)
        x = get(serving(trickle), 0.3)
        assert x.error == "timeout" and x.first_byte_at is not None and 0.3 <= seconds(x) < 3, x
    """)


def test_a_limit_of_user_code_passes_through_and_ends_the_connection() -> None:
    child("""
        def second_is_silent(sock, address):
            request_of(sock)
            sock.sendall(OK)
            request_of(sock)
            gevent.sleep(30)
        connection = serving(second_is_silent)
        get(connection)
        x = Exchange(time.perf_counter_ns())
        try:
            with gevent.Timeout(0.1):
                connection.exchange(x, REQUEST, b"", Terms(5.0))
        except gevent.Timeout:
            pass
        else:
            raise AssertionError("swallowed")
        assert (x.error, x.censored) == ("interrupted", False) and x.done_at > x.start_at, x
        assert connection._channel is None
    """)


def test_a_request_cut_off_by_the_end_of_the_run_is_censored() -> None:
    child("""
        def silent(sock, address):
            gevent.sleep(30)
        connection = serving(silent)
        x = Exchange(time.perf_counter_ns())
        session = gevent.spawn(connection.exchange, x, REQUEST, b"", Terms(5.0))
        gevent.sleep(0.05)
        session.kill()
        assert (x.error, x.censored, x.status) == (None, True, None) and x.done_at > x.start_at, x
    """)


def test_a_large_body_goes_out_whole_to_a_server_that_reads_slowly() -> None:
    child("""
        BODY = bytes(3_000_000)
        got = []
        def slow_reader(sock, address):
            left = len(BODY) + len(HEAD)
            while left:
                piece = sock.recv(200_000)
                left -= len(piece)
                gevent.sleep(0.002)
            got.append(True)
            sock.sendall(OK)
            gevent.sleep(30)
        HEAD = b"POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 3000000\\r\\n\\r\\n"
        x = Exchange(time.perf_counter_ns())
        serving(slow_reader).exchange(x, HEAD, BODY, Terms(10.0))
        assert (x.error, x.status, x.bytes_sent) == (None, 200, len(HEAD) + 3_000_000), x
        assert got and x.send_at < x.sent_at <= x.first_byte_at
    """)
