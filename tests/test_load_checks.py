"""Answers checked after the clock stopped: by status, size, JSON, a function of the user, all or a sample of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from load_support import HEAD, Ran, Request, a_request, a_scenario, in_child, raw_server, run

from harness.errors import ScenarioError, UsageError
from harness.model import Expect
from harness.scenario.loader import load_scenario
from harness.scenario.wanted import MAX_SEARCHED, wanted_test

CHECKS = """\
calls = 0
def plausible(answer):
    if answer.json()["score"] < 0.5:
        return f"the score, {answer.json()['score']}, is too low"
def status(answer): return answer.status == 418 and answer.text == "teapot" and answer.body == b"teapot"
def silent(answer): return ""
def wrong(answer): return False
def breaks(answer): raise KeyError("lines")
def leaves(answer): raise SystemExit(3)
def interrupts(answer): raise KeyboardInterrupt
def ends(answer):
    import gevent
    raise gevent.GreenletExit
def waits(answer):
    import gevent
    gevent.sleep(30)
def odd(answer): return {"x": 1}
def number(answer): return 0
def array(answer):
    import numpy
    return numpy.array([1, 2])
def is_one(answer):
    import numpy
    return numpy.float64(answer.json()["n"]) == 1
def count(answer):
    global calls
    calls += 1
    return answer.json()["n"] >= 0
"""
DIRECT = """
import gzip, sys
from harness.load.checks import failed_checks
from harness.model import Expect
def check(name, body, answered=200, encoding=None, too_large=False, **fields):
    expect = Expect(python=f"{sys.argv[1]}:{name}", **fields)
    return failed_checks(expect, answered, body, encoding, too_large)
assert check("plausible", b'{"score": 0.5}') is None
assert check("plausible", gzip.compress(b'{"score": 0.9}'), encoding="gzip") is None
assert check("status", b"teapot", 418, status=(418,)) is None
assert check("silent", b"") is None
assert check("wrong", b"", json=(("a", 1),)) == "json:a,python:wrong"
assert check("wrong", b"", 503) == "status"
assert check("breaks", b"", too_large=True) == "max_bytes,python:breaks"
for _ in range(3):
    assert check("plausible", b'{"score": 0.1}') == "python:plausible"
    assert check("plausible", b"no json") == "python:plausible raised JSONDecodeError"
    assert check("breaks", b"x") == "python:breaks raised KeyError"
assert check("plausible", b'{"score": 0.2}', json=(("score", "0.5 .. 1"),)) == "json:score,python:plausible"
assert failed_checks(Expect(json=(("score", ">= 0.5"),)), 200, b'{"score": 0.7}', None, False) is None
print("all held")
"""


@pytest.fixture(scope="module")
def checks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("checks") / "checks.py"
    file.write_text(CHECKS)
    return file


def test_a_function_says_what_is_wrong_with_an_answer(checks: Path) -> None:
    assert in_child(DIRECT, str(checks)).strip() == "all held"


def test_what_a_check_says_is_logged_once(checks: Path) -> None:
    log = in_child("import sys; sys.stderr = sys.stdout\n" + DIRECT, str(checks))

    assert log.count("python:plausible: the score, 0.1, is too low") == 1
    assert log.count("KeyError: 'lines'") == 1
    assert log.count("JSONDecodeError: Expecting") == 1


ODD = """
import sys
from harness.load.checks import failed_checks
from harness.model import Expect
def python(name, body=b""):
    return failed_checks(Expect(python=f"{sys.argv[1]}:{name}"), 200, body, None, False)
def path(path, wanted, body):
    return failed_checks(Expect(json=((path, wanted),)), 200, body, None, False)
assert python("odd") == "python:odd returned dict"
assert python("number") == "python:number returned int"
assert python("array") == "python:array returned ndarray"
assert python("is_one", b'{"n": 1}') is None
assert python("is_one", b'{"n": 2}') == "python:is_one"
assert python("leaves") == "python:leaves raised SystemExit"
assert python("interrupts") == "python:interrupts raised KeyboardInterrupt"
assert python("ends") == "python:ends raised GreenletExit"
assert path("ceil(n)", 1, b'{"n": Infinity}') == "json:ceil(n)"
assert path("ceil(n)", 1, b'{"n": 0.5}') is None
assert path("x[::0]", 1, b'{"x": [1]}') == "json:x[::0]"
print("all held")
"""
CUT_OFF = """
import sys, gevent
from harness.load import desk as module
from harness.load.answer import Answer
from harness.load.payloads import Kind
from harness.load.wire import Exchange, Terms
from harness.model import Expect, Sample, columns
rows = []
desk = module.Desk("r", "0", 1.0, rows.append)
def record(check):
    x = Exchange(1000, send_at=2000, done_at=5000, status=200)
    kind = Kind("k", "GET", Terms(1.0), Expect(python=f"{sys.argv[1]}:{check}"))
    desk._record(x, Answer(), kind, module.Slot(1, None, "measure", 0), next(desk._traceparents))
def last():
    return dict(zip(columns(Sample), rows[-1], strict=True))["failed_checks"]
waiting = gevent.spawn(record, "waits")
gevent.sleep(0.05)
assert not rows
waiting.kill()
assert isinstance(waiting.value, gevent.GreenletExit) and len(rows) == 1 and last() == "check error: GreenletExit"
def overflow(*_):
    raise OverflowError("too large")
module.failed_checks = overflow
record("waits")
assert len(rows) == 2 and last() == "check error: OverflowError"
assert desk.live.failed == desk.live.answers == 2
print("all held")
"""


def test_what_a_check_returns_that_says_nothing_and_whatever_it_raises_is_a_failure(checks: Path) -> None:
    assert in_child(ODD, str(checks)).strip() == "all held"


def test_a_request_that_was_sent_is_recorded_whatever_its_check_does(checks: Path) -> None:
    assert in_child(CUT_OFF, str(checks)).strip() == "all held"


# --- patterns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "^(a+)+", "(?:a+)+$", "((a*))*?", "(a+|b)+", "(a*b?){2,}", r"(?:\w+\s*)+:", "x(y(a+)*)?", "(?i:a+)+",
        "(?:(?:a+)?)*",
    ],
)  # fmt: skip
def test_a_pattern_that_repeats_a_repetition_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="repeats a repetition") as refused:
        wanted_test(f"~ {pattern}")
    assert refused.value.hint


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^(?:\d+\.)+$", "1.22.333."), (r"(\w+\s)+", "a b "), ("(a+)++", "aa"), ("(?>a+)+", "aa"),
        ("((a+)?b)*c", "abc"), ("(a+)?b", "aab"), ("(a|b)+", "ab"), ("(a?){3}", "a"), ("(?x) a + # a", "a"),
    ],
)  # fmt: skip
def test_a_pattern_whose_rounds_are_kept_apart_is_not_refused(pattern: str, text: str) -> None:
    assert wanted_test(f"~ {pattern}")(text)


def test_a_refused_pattern_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    request = "  - name: a\n    http: GET /\n    expect:\n      json: {text: '~ ^(a+)+'}\n"
    file.write_text(f"scenario: s\ntarget: http://127.0.0.1:1\nrequests:\n{request}load: {{rate: 1/s, duration: 1s}}\n")

    with pytest.raises(ScenarioError, match=r"s\.yaml:7: json in expect .*'\^\(a\+\)\+' repeats a repetition"):
        load_scenario(file)


def test_a_pattern_is_looked_for_in_the_beginning_of_a_long_text() -> None:
    holds = wanted_test("~ needle")

    assert holds("x" * (MAX_SEARCHED - 6) + "needle" + "x" * 1000)
    assert not holds("x" * MAX_SEARCHED + "needle")


# --- under load --------------------------------------------------------------------------------------------


async def scored(r: Request) -> bool:
    """A score below or above a half, by path."""
    body = b'{"score": 0.25, "n": 1}' if r.path == "/low" else b'{"score": 0.75, "n": 1}'
    r.writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return True


@pytest.fixture(scope="module")
def outcome(checks: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    kinds = (
        a_request("low", "/low", expect=Expect(python=f"{checks}:plausible", json=(("score", "0.2 .. 0.3"),))),
        a_request("high", "/high", expect=Expect(python=f"{checks}:plausible")),
        a_request("breaks", "/high", expect=Expect(python=f"{checks}:breaks")),
        a_request("leaves", "/high", expect=Expect(python=f"{checks}:leaves")),
        a_request("sampled", "/low", weight=7, expect=Expect(json=(("score", "> 0.5"),), sampled=0.3)),
    )
    with raw_server(scored) as server:
        yield run(a_scenario(server.url, *kinds, rate=400.0, duration_s=1.5), tmp_path_factory.mktemp("run"))


def of(outcome: Ran, name: str) -> pd.Series[str]:
    rows = outcome.samples[outcome.samples["name"] == name]
    assert len(rows) > 20
    return rows["failed_checks"]


def test_failures_are_counted_by_check(outcome: Ran) -> None:
    assert of(outcome, "low").unique().tolist() == ["python:plausible"]
    assert of(outcome, "high").isna().all()
    assert of(outcome, "breaks").unique().tolist() == ["python:breaks raised KeyError"]
    assert outcome.log.count("KeyError: 'lines'") == 1


def test_a_check_that_calls_exit_ends_neither_the_run_nor_a_session(outcome: Ran) -> None:
    assert of(outcome, "leaves").unique().tolist() == ["python:leaves raised SystemExit"]
    assert len(outcome.samples) == outcome.end["sent"] == outcome.end["scheduled"] == 600


def test_a_sample_of_the_answers_is_looked_at(outcome: Ran) -> None:
    looked = of(outcome, "sampled").notna()

    assert of(outcome, "sampled")[looked].unique().tolist() == ["json:score"]
    # About 382 requests of which 30% are looked at: 115, with a standard deviation of 9.
    assert 0.18 < looked.mean() < 0.42


SAMPLED = """
import json, sys
from harness.load.payloads import Draws, payload_sets
from harness.model import Expect, RequestSpec
def seen(seed, **expect):
    spec = RequestSpec("a", "GET", "/", expect=Expect(**expect))
    draws = Draws(payload_sets([spec], "http://127.0.0.1:1", "run-1"), [1.0], seed)
    return [(p.kind.terms.keep_body, bool(p.kind.expect.json)) for p in map(draws, range(3000))]
some = dict(json=(("a", 1),), max_bytes=10, sampled=0.1)
all_seen, seen_1, again, seen_2 = seen(1, json=(("a", 1),)), seen(1, **some), seen(1, **some), seen(2, **some)
print(json.dumps({"all": set(all_seen) == {(True, True)}, "same": seen_1 == again, "other": seen_1 == seen_2,
    "share": sum(k for k, _ in seen_1) / 3000, "kinds": sorted(set(seen_1)),
    "fast": set(seen(1, status=(200,), max_bytes=10)) == {(False, False)}}))
"""


def test_which_answers_are_looked_at_is_drawn_before_they_are_read() -> None:
    drawn = json.loads(in_child(SAMPLED))

    assert drawn["all"]
    assert drawn["same"]
    assert not drawn["other"]
    assert 0.08 < drawn["share"] < 0.12
    assert drawn["kinds"] == [[False, False], [True, True]]
    assert drawn["fast"]  # nobody looks at the body when only the status and the size count


def test_a_file_that_cannot_be_imported_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "checks.py").write_text("import nothing_of_that_name\ndef plausible(answer): pass\n")
    expect = Expect(python=f"{tmp_path}/checks.py:plausible")

    done = run(a_scenario("http://127.0.0.1:1", a_request(expect=expect)), tmp_path)

    assert done.exit_code == 2
    assert re.search(r"checks.py:1: cannot import it: ModuleNotFoundError", done.lines[-1]["message"])
