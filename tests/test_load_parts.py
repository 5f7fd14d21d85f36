"""Parts of the load process on their own, in child processes because they need gevent."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from load_support import in_child

PARSER = """
from hypothesis import example, given, settings, strategies as st
from harness.load.answer import Answer, NotHTTP

def parsed(chunks):
    answer = Answer()
    for chunk in chunks:
        if answer.complete:
            break
        answer.feed_bytes(chunk)
    return answer

CHUNKED = "Transfer-Encoding: chunked\\r\\n"
heads = st.builds(
    lambda code, extra: f"HTTP/1.1 {code} X\\r\\n{extra}".encode(),
    st.integers(100, 599),
    st.sampled_from(["", "A:\\r\\n", "Content-Length: 3\\r\\n", CHUNKED, "Connection: close\\r\\n"]),
)
ends = st.sampled_from([b"\\r\\n", b"\\r\\nabc", b"\\r\\n3\\r\\nabc\\r\\n0\\r\\n\\r\\n", b"\\n", b""])

@settings(max_examples=400, deadline=None, database=None)
@given(st.lists(st.binary(max_size=60) | heads | ends | st.tuples(heads, ends).map(b"".join), max_size=6))
@example([b"HTTP/1.1 101 Switching\\r\\nUpgrade: x\\r\\nConnection: upgrade\\r\\n\\r\\nabc"])
@example([b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhiHTTP/1.1 200 OK\\r\\nX: y\\r\\n\\r\\n"])
def never_crashes(chunks):
    try:
        answer = parsed([*chunks, b""])
    except NotHTTP as refused:
        assert len(str(refused)) < 120
    else:
        answer.headers(), answer.header("a"), answer.keep_alive

@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=40), st.booleans(), st.integers(1, 7))
def same_answer_in_any_pieces(body, chunked, size):
    head = b"HTTP/1.1 200 OK\\r\\nServer-Timing: a\\r\\nX-Empty:\\r\\nServer-Timing: b\\r\\n"
    if chunked:
        framed = b"%x\\r\\n%s\\r\\n" % (len(body), body) if body else b""
        whole = head + b"Transfer-Encoding: chunked\\r\\n\\r\\n" + framed + b"0\\r\\n\\r\\n"
    else:
        whole = head + b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body
    answer = Answer()
    answer.expect(no_body=False, keep_body=True)
    for at in range(0, len(whole), size):
        assert not answer.complete
        answer.feed_bytes(whole[at : at + size])
    assert answer.complete and answer.keep_alive and answer.status == 200
    assert bytes(answer.body) == body
    assert answer.header("server-timing") == "a, b" and answer.header("x-empty") == ""

never_crashes()
same_answer_in_any_pieces()
surplus = parsed([b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhiHTTP/1.1 500 NO\\r\\nX: y\\r\\n\\r\\n"])
assert surplus.complete and surplus.status == 200 and surplus.headers() == [("Content-Length", "2")]
assert not surplus.keep_alive
"""

DRAWS = """
import json, sys
from harness.load.payloads import Draws, payload_sets
from harness.model import BodySpec, RequestSpec
one, two = sys.argv[1], sys.argv[2]
kinds = [
    RequestSpec("read", "POST", "/v1/read", 3.0, (("lang", "en us"),), (("accept", "text/html"),),
                BodySpec(form=(("k", 'v"'),), files=(("image", (one, two)),))),
    RequestSpec("form", "POST", "/form", body=BodySpec(form=(("a", "1 2"),))),
]
sets = payload_sets(kinds, "http://127.0.0.1:1/base", "run-1")
def all_drawn(seed, ids=range(4000)):
    draws = Draws(sets, [3.0, 1.0], seed)
    found = {i: draws(i) for i in ids}
    return [(p.kind.name, sets[0].size == 2 and p == sets[0].get(1)) for _, p in sorted(found.items())]
drawn, again, other = all_drawn(7), all_drawn(7, reversed(range(4000))), all_drawn(8)
p, form = sets[0].get(1), sets[1].get(0)
print(json.dumps({"same": drawn == again, "other": drawn == other, "read": sum(n == "read" for n, _ in drawn),
    "second": sum(x == ("read", True) for x in drawn), "sizes": [s.size for s in sets],
    "head": p.head.decode(), "tail": (p.tail + p.body).decode(), "form": (form.head + form.tail).decode()}))
"""


def test_the_parser_survives_garbage_and_any_cutting_of_an_answer() -> None:
    in_child(PARSER)


def test_payloads_are_built_once_and_drawn_by_seed_and_weight(tmp_path: Path) -> None:
    for name in ("a.png", "b.txt"):
        (tmp_path / name).write_text(f"content of {name}")
    got = json.loads(in_child(DRAWS, str(tmp_path / "a.png"), str(tmp_path / "b.txt")))

    assert got["same"] is True
    assert got["other"] is False
    assert 2880 <= got["read"] <= 3120  # 3 of 4 of 4000, +- 4.4 standard deviations
    assert 1360 <= got["second"] <= 1640  # half of them
    assert got["sizes"] == [2, 1]
    assert got["head"].startswith("POST /base/v1/read?lang=en+us HTTP/1.1\r\nHost: 127.0.0.1:1\r\n")
    assert got["head"].endswith("\r\ntraceparent: ")
    assert got["head"].lower().count("accept: ") == 1
    assert 'name="image"; filename="b.txt"\r\nContent-Type: text/plain\r\n\r\ncontent of b.txt\r\n--' in got["tail"]
    assert 'name="k"\r\n\r\nv"\r\n' in got["tail"]
    length = len(got["tail"].partition("\r\n\r\n")[2])
    assert f"Content-Length: {length}\r\n" in got["head"]
    assert got["form"].endswith("\r\n\r\na=1+2")


def test_trace_ids_differ_between_runs_and_carry_the_sampled_flag() -> None:
    code = """
        import itertools, json
        from harness.load.trace_ids import SPAN, TRACE, traceparents
        def take(run, share):
            lines = itertools.islice(traceparents(run, "0", share), 4000)
            return [(p[TRACE].decode(), p[SPAN].decode(), p) for p in lines]
        a, again, b, half = take("a", 1.0), take("a", 1.0), take("b", 1.0), take("a", 0.5)
        assert a == again
        assert len({t for t, _, _ in a + b}) == len({s for _, s, _ in a + b}) == 8000
        assert {len(t) for t, _, _ in a} == {32} and {len(s) for _, s, _ in a} == {16}
        assert len({t[:8] for t, _, _ in a}) == 1
        assert all(p == f"00-{t}-{s}-01".encode() for t, s, p in a)
        assert all(p.endswith(b"-01") == (int(t[18:], 16) < 1 << 55) for t, _, p in half)
        assert 1870 <= sum(p.endswith(b"-01") for _, _, p in half) <= 2130
        assert not any(p.endswith(b"-01") for _, _, p in take("a", 0.0))
    """
    in_child(textwrap.dedent(code))


def test_checks_compare_as_json_does() -> None:
    code = """
        from harness.load.checks import failed_checks
        from harness.model import Expect
        def check(body, **fields): return failed_checks(Expect(**fields), 200, body, None, False)
        assert check(b"") is None
        assert check(b"", status=(201,)) == "status"
        assert check(b'{"a": 1}', json=(("a", True),)) == "json:a"
        assert check(b'{"a": [1, 2]}', json=(("a", (1, 2)),)) is None
        assert check(b'{"a": null}', json=(("a", None), ("b", "~ x"))) == "json:b"
        assert check(b"[" * 100000, json=(("a", 1),)) == "json:a"
        assert failed_checks(Expect(max_bytes=1), 404, b"", None, True) == "status,max_bytes"
        assert failed_checks(Expect(json=(("a", 1),)), 200, b"no gzip", "gzip", False) == "json:a"
        assert failed_checks(Expect(json=(("a", 1),)), 200, b"x", "br", False) == "json:a"
    """
    in_child(textwrap.dedent(code))


def test_a_stamp_that_cannot_be_true_gives_way_to_user_time() -> None:
    code = """
        from harness.load.answer import Answer
        from harness.load.desk import Desk, Slot
        from harness.load.payloads import Kind
        from harness.load.wire import Exchange, Terms
        from harness.model import Expect, columns, Sample
        rows = []
        desk = Desk("r", "0", 1.0, rows.append)
        at = desk.timebase.at
        def done(stamp, **fields):
            x = Exchange(1000, send_at=2000, done_at=5000, status=200, kernel_done_ns=stamp, **fields)
            kind = Kind("k", "GET", Terms(1.0), Expect())
            desk._record(x, Answer(), kind, Slot(1, None, "measure", 0), next(desk._traceparents))
            row = dict(zip(columns(Sample), rows[-1], strict=True))
            return row["done_source"], row["done_ns"] - at(0)
        assert done(at(2000)) == ("kernel", 2000) and done(at(5000)) == ("kernel", 5000)
        assert done(at(1999)) == done(at(5001)) == done(None) == ("user", 5000)
        assert done(at(3000), error="timeout") == ("user", 5000)
        assert desk.live.kernel_stamped == 2
    """
    in_child(textwrap.dedent(code))


def test_sleeping_until_an_instant_is_never_early_and_rarely_late() -> None:
    code = """
        import time
        from harness.load.ticks import Alarm
        alarm, late = Alarm(), []
        for _ in range(50):
            at = time.perf_counter_ns() + 2_300_000
            alarm.sleep_until(at)
            late.append(time.perf_counter_ns() - at)
        alarm.sleep_until(0)
        alarm.close()
        assert min(late) >= 0
        assert sorted(late)[10] < 5_000_000, late
    """
    in_child(textwrap.dedent(code))


def test_what_went_wrong_before_the_first_byte_has_a_short_name() -> None:
    code = """
        import socket, time
        import gevent.monkey; gevent.monkey.patch_all()
        from harness.load.wire import Connection, Exchange, Origin, Terms
        def failure(url, timeout_s=5.0):
            x = Exchange(time.perf_counter_ns())
            Connection(Origin(url, None)).exchange(x, b"GET / HTTP/1.1\\r\\n\\r\\n", b"", Terms(timeout_s))
            assert x.status is None and x.done_at > x.start_at
            return x
        taken, full = socket.socket(), socket.socket()
        taken.bind(("127.0.0.1", 0))
        refused = failure(f"http://127.0.0.1:{taken.getsockname()[1]}")
        assert (refused.error, refused.send_at, refused.attempts) == ("connection refused", None, 0), refused
        assert failure("http://no-such-host.invalid").error.startswith("dns: ")
        full.bind(("127.0.0.1", 0)); full.listen()  # connects, and nobody ever reads
        silent = failure(f"http://localhost:{full.getsockname()[1]}", 0.1)
        assert (silent.error, silent.attempts) == ("timeout", 1) and silent.send_at is not None, silent
    """
    in_child(textwrap.dedent(code))


def test_only_the_task_of_an_arrival_and_what_it_starts_may_take_its_slot() -> None:
    code = """
        import itertools
        import gevent
        from harness.load.desk import Slot
        from harness.load.open_loop import Arrival
        from harness.load.place import Place, Rig
        from harness.load.users import _run_task
        unsent = []
        place = Place(Rig(None, None, None, itertools.count(100), no_request=unsent.append))
        place.started = True
        taken = []
        def take(name):
            slot = place.next_slot()
            taken.append((name, slot.request_id, slot.scheduled_at))
        def leaves_one_behind(user):
            take("own")
            gevent.spawn_later(0.05, take, "left behind")
        def sends_late(user):
            gevent.sleep(0.1)
            take("own")
        def in_parallel(user):
            gevent.joinall([gevent.spawn(take, "first"), gevent.spawn(take, "second")])
        def serve():
            for number, task in enumerate((leaves_one_behind, sends_late, in_parallel)):
                _run_task(None, place, Arrival(Slot(number, 7000 + number, "measure", 2), task))
        served = gevent.spawn(serve)
        served.join()
        assert served.successful() and not unsent
        assert taken == [
            ("own", 0, 7000), ("left behind", 100, None), ("own", 1, 7001), ("first", 2, 7002), ("second", 101, None)
        ], taken
    """
    in_child(textwrap.dedent(code))
