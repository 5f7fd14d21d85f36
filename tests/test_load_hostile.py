"""Whatever a server does, an exchange ends soon, with an answer or an error, and no work is asked for twice.

In child processes: gevent.
"""

from __future__ import annotations

from load_support import in_child
from test_load_keep_alive import child

SERVER = """
import time
import gevent.monkey; gevent.monkey.patch_all()
import gevent
from gevent.server import StreamServer
from hypothesis import example, given, settings, strategies as st
from harness.load.wire import Connection, Exchange, Origin, Terms

REQUEST = b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"
plan = {"pieces": [], "reset": False}

def serve(sock, address):
    import socket, struct
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.recv(4096)
        for piece in plan["pieces"]:
            sock.sendall(piece)
            gevent.sleep(0)
        if plan["reset"]:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # the client had enough
    finally:
        sock.close()

server = StreamServer(("127.0.0.1", 0), serve)
server.start()
origin = Origin(f"http://127.0.0.1:{server.server_port}", None)

def exchanged(pieces, reset=False, **terms):
    plan.update(pieces=pieces, reset=reset)
    connection, x = Connection(origin), Exchange(time.perf_counter_ns())
    connection.exchange(x, REQUEST, b"", Terms(10.0, **terms))
    connection.close()
    return x, connection.answer

LENGTH, CHUNKED = "Content-Length: 3\\r\\n", "Transfer-Encoding: chunked\\r\\n"
heads = st.builds(
    lambda code, extra: f"HTTP/1.1 {code} X\\r\\n{extra}\\r\\n".encode(),
    st.integers(100, 599),
    st.sampled_from(["", "A:\\r\\n", LENGTH, CHUNKED, "Connection: close\\r\\n", LENGTH + CHUNKED, LENGTH * 2]),
)
bodies = st.sampled_from(
    [b"abc", b"3\\r\\nabc\\r\\n0\\r\\n\\r\\n", b"0\\r\\nT: x\\r\\n\\r\\n", b"f" * 18 + b"\\r\\n"],
)
"""

ANYTHING = """
@settings(max_examples=250, deadline=None, database=None)
@given(st.lists(st.binary(min_size=1, max_size=40) | heads | bodies, max_size=6), st.booleans(), st.booleans())
@example([b"HTTP/1.1 101 Switching\\r\\nUpgrade: x\\r\\nConnection: upgrade\\r\\n\\r\\nabc"], False, False)
@example([b"HTTP/1.1 200 OK\\r\\nContent-Length: 99999999999999999999999\\r\\n\\r\\n"], False, False)
@example([b"HTTP/1.1 103 X\\r\\nA: b\\r\\n\\r\\n"] * 2000, False, False)
@example([b"HTTP/1.1 200 OK\\r\\nA: " + b"b" * 2_000_000], False, False)
def an_exchange_ends(pieces, reset, no_body):
    x, answer = exchanged([p for p in pieces if p], reset, no_body=no_body, keep_body=True)
    assert x.error != "timeout" and x.error != "interrupted"
    assert x.error is None or (0 < len(x.error) < 120 and not x.error.startswith("client:")), x.error
    assert x.done_at >= x.start_at and x.attempts == 1
    assert x.error is not None or (x.status is not None and answer.complete)
    answer.headers(), answer.header("server-timing")

an_exchange_ends()
"""

CUT = """
HEAD = b"HTTP/1.1 200 OK\\r\\nServer-Timing: a\\r\\nX-Empty:\\r\\nserver-timing:  b \\r\\n"
ANSWERS = {
    "length": HEAD + b"Content-Length: 5\\r\\n\\r\\nhello",
    "chunked": HEAD + b"Transfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nhello\\r\\n0\\r\\nServer-Timing: c\\r\\n\\r\\n",
    "interim": b"HTTP/1.1 100 Continue\\r\\n\\r\\nHTTP/1.1 103 Hints\\r\\nServer-Timing: no\\r\\n\\r\\n" + HEAD +
        b"Content-Length: 5\\r\\n\\r\\nhello",
}

@settings(max_examples=150, deadline=None, database=None)
@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(1, 250), max_size=8))
@example("length", list(range(1, 250)))
@example("chunked", list(range(1, 250)))
@example("interim", list(range(1, 250)))
def same_answer_in_any_pieces(name, cuts):
    whole = ANSWERS[name]
    at = [0, *sorted({c for c in cuts if c < len(whole)}), len(whole)]
    x, answer = exchanged([whole[a:b] for a, b in zip(at, at[1:])], keep_body=True)
    assert (x.error, x.status, bytes(answer.body), x.bytes_received) == (None, 200, b"hello", len(whole)), x
    assert answer.header("server-timing") == ("a, b, c" if name == "chunked" else "a, b")
    assert answer.header("x-empty") == "" and answer.header("nothing") is None
    assert x.kernel_done_ns is not None or x.first_byte_at is not None

@settings(max_examples=80, deadline=None, database=None)
@given(st.sampled_from(sorted(ANSWERS)), st.data(), st.booleans())
def a_truncated_answer_is_an_error(name, data, reset):
    whole = ANSWERS[name]
    x, _ = exchanged([whole[: data.draw(st.integers(0, len(whole) - 1))]], reset)
    assert x.error in {"closed before the answer was complete", "connection reset"}, x

same_answer_in_any_pieces()
a_truncated_answer_is_an_error()
"""


def test_whatever_a_server_sends_an_exchange_ends_with_an_answer_or_an_error() -> None:
    in_child(SERVER + ANYTHING)


def test_an_answer_is_the_same_in_any_pieces_and_an_error_when_cut_off() -> None:
    in_child(SERVER + CUT)


def test_a_server_that_hangs_up_after_it_worked_is_not_asked_twice() -> None:
    child("""
        import socket, struct
        worked = []
        def dies_at_work(sock, address):
            request_of(sock)
            sock.sendall(OK)
            if request_of(sock):
                worked.append(sock)
                gevent.sleep(0.3)
                if len(worked) == 1:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        connection = serving(dies_at_work)
        get(connection)
        reset = get(connection)
        assert (reset.error, reset.attempts, len(worked)) == ("connection reset", 1, 1), reset
        get(connection)
        closed = get(connection)
        assert (closed.error, closed.attempts, len(worked)) == (wire.CLOSED_EARLY, 1, 2), closed
    """)


def test_a_request_the_server_began_to_answer_is_not_sent_again() -> None:
    child("""
        wire._RESEND_WITHIN_NS = 60_000_000_000
        def begins(sock, address):
            request_of(sock)
            sock.sendall(OK)
            request_of(sock)
            sock.sendall(b"HTTP/1.1 102 Processing\\r\\n\\r\\n")
            gevent.sleep(0.02)
        connection = serving(begins)
        get(connection)
        x = get(connection)
        assert (x.error, x.attempts, x.status) == (wire.CLOSED_EARLY, 1, None), x
    """)


def test_a_request_on_a_connection_closed_while_it_idled_is_sent_again() -> None:
    child("""
        wire._RESEND_WITHIN_NS = 5_000_000_000  # generous: this machine may be busy
        def once(sock, address):
            request_of(sock)
            sock.sendall(OK)
        connection = serving(once)
        get(connection)
        gevent.sleep(0.05)
        x = get(connection)
        assert (x.error, x.status, x.attempts) == (None, 200, 2), x
        assert x.connected_at < x.send_at < x.sent_at, x
    """)


def test_a_request_that_could_not_be_written_is_sent_again_however_long_that_took() -> None:
    child("""
        import socket, struct
        wire._RESEND_WITHIN_NS = -1
        def resets_when_idle(sock, address):
            request_of(sock)
            sock.sendall(OK)
            gevent.sleep(0.02)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        connection = serving(resets_when_idle)
        get(connection)
        gevent.sleep(0.1)
        x = get(connection)
        assert (x.error, x.status, x.attempts) == (None, 200, 2), x
    """)


def test_an_address_that_swallows_packets_costs_its_share_of_the_limit_and_only_once() -> None:
    child("""
        import socket
        connection = serving(always_ok)
        origin = connection.origin
        dead, live = ("127.0.0.2", origin.port), ("127.0.0.1", origin.port)
        full = socket.socket()
        full.bind(dead)
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(dead)
        origin.resolver._known = [(socket.AF_INET, dead), (socket.AF_INET, live)]
        first = get(connection, 2.0)
        second = get(Connection(origin), 2.0)
        assert (first.error, first.status, second.error, second.status) == (None, 200, None, 200), (first, second)
        assert 1.0 <= seconds(first) < 2.0 and seconds(second) < 0.9, (first, second)
        origin.resolver._known = [(socket.AF_INET, dead)] * 2  # nobody there at all
        neither = get(Connection(origin), 0.3)
        assert (neither.error, neither.attempts) == ("timeout", 0) and 0.3 <= seconds(neither) < 3, neither
    """)


def test_the_address_that_works_stays_first_when_the_name_is_asked_for_again() -> None:
    seen = child("""
        from harness.load.channel import Resolver
        import gevent.socket
        answers = [(2, 1, 6, "", ("127.0.0.2", 80)), (2, 1, 6, "", ("127.0.0.1", 80))]
        gevent.socket.getaddrinfo = lambda *_, **__: answers
        resolver = Resolver("two.example", 80)
        resolver.prefer(resolver.addresses()[1])
        resolver._asked_at = -1e9
        print([sockaddr[0] for _, sockaddr in resolver.addresses()])
        resolver._asked_at = -1e9
        answers.pop()
        print([sockaddr[0] for _, sockaddr in resolver.addresses()])
    """)
    assert seen.splitlines() == ["['127.0.0.1', '127.0.0.2']", "['127.0.0.2']"]
