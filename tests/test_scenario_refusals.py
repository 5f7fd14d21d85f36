"""Scenarios that cannot be run: file, line, what is wrong, what to write instead."""

from __future__ import annotations

import pytest

from harness.errors import ScenarioError
from harness.model import Scenario
from harness.scenario import Overrides
from tests.scenario_builders import GOOD, attempt, folder  # noqa: F401 - a fixture

FILES = "    files: {image: payloads/*.jpg}"


def refusal(text: str | bytes, overrides: Overrides | None = None) -> ScenarioError:
    error = attempt(text, overrides)
    assert isinstance(error, ScenarioError), "was accepted"
    return error


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_the_scenario_these_tests_break_is_good() -> None:
    assert isinstance(attempt(GOOD), Scenario)


def test_a_misspelt_key_is_refused_with_file_line_and_the_nearest_key() -> None:
    error = refusal(changed("    http", "    waight: 3\n    http"))

    assert str(error) == "s/x.yaml:5: unknown key 'waight' in request 'receipt'"
    assert error.hint == "did you mean 'weight'?"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("load:", "lod:", "7: unknown key 'lod' in the scenario", "did you mean 'load'?"),
        ("  rate", "  rat", "8: unknown key 'rat' in load", "did you mean 'rate'"),
        ("slo:", "spans: {sorce: auto}\nslo:", "9: unknown key 'sorce' in spans", "did you mean 'source'"),
        ("    files", "    expect: {stats: 200}\n    files", "6: unknown key 'stats' in expect of", "status"),
        ("slo:", "spans: {stages: {infrence: x}}\nslo:", "9: unknown key 'infrence' in the stages", "inference"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_found_at_every_level(old: str, new: str, message: str, hint: str) -> None:
    error = refusal(changed(old, new))

    assert str(error).startswith(f"s/x.yaml:{message}")
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("4/s", "0/s", "8: rate in load must be above 0", "write 4/s"),
        ("4/s", "-4/s", "8: rate in load: '-4/s' is negative", "write 20/s"),
        ("4/s", "4", "8: rate in load: '4' has no unit", "write 4/s or 4/min"),
        ("4/s", "nan", "8: rate in load: 'nan' is not a rate", "write 20/s"),
        ("4/s", "200000/s", "8: rate in load is above 100000/s", "lower it"),
        ("4/s", "1/h", "less than one request would be measured", "raise the rate"),
        ("rate: 4/s", "steps: []", "8: steps in load is an empty list", "at least one"),
        ("rate: 4/s", "steps: [1/s, 0/s]", "8: steps in load must be above 0", "write 4/s"),
        ("rate: 4/s", "{rate: 4/s, steps: [1/s]}", "has both rate and steps", "keep one"),
        ("rate: 4/s", "seed: 1", "8: load does not say how much", "--rate 4/s"),
        ("  rate: 4/s\n", "", "7: load should be `key: value` lines, but is empty", "indent"),
        ("  rate", "  duration: 30\n  rate", "8: duration in load: '30' has no unit", "write 30s or 30ms"),
        ("  rate", "  duration: 0s\n  rate", "8: duration in load must be above 0", "write 30s"),
        ("  rate", "  warmup: -1s\n  rate", "8: warmup in load: '-1s' is negative", "write"),
        ("  rate", "  duration: 8000h\n  rate", "8: duration in load is longer than a week", "write"),
        ("  rate", "  seed: 1.5\n  rate", "8: seed in load should be a whole number", "write 7"),
        ("  rate", "  arrivals: poison\n  rate", "8: arrivals cannot be 'poison'", "did you mean 'poisson'?"),
        ("    http", "    weight: 0\n    http", "5: weight of request 'receipt' must be above 0", "leave"),
        ("    http", "    weight: .inf\n    http", "5: weight of request 'receipt' should be a number", "such as 3"),
        ("    http", "    timeout: 0s\n    http", "5: timeout of request 'receipt' must be above 0", "write 30s"),
        ("POST", "PSOT", "5: http of request 'receipt': unknown method 'PSOT'", "did you mean 'POST'?"),
        ("POST /", "/", "5: http of request 'receipt' has no method", "write GET /v1/read"),
        ("POST /v1/read", "POST", "5: http of request 'receipt': the path is missing", "write POST /"),
        ("POST /", "POST http://h/", "5: http of request 'receipt' holds a whole URL", "write POST /v1/read"),
        ("/v1/read", "/v1/r ad", "'/v1/r ad' is not a path", "%20"),
        ("    http: POST /v1/read\n", "", "4: request 'receipt' has no http", "add http: POST"),
        ("http://127", "127", "2: target: '127.0.0.1:8000' has no http://", "write http://127.0.0.1:8000"),
        ("http://127", "ftp://127", "2: target: scheme 'ftp' is not supported", "http"),
        (":8000", ":99999", "2: target: 'http://127.0.0.1:99999' is not a URL", "http://HOST:PORT"),
        (":8000", ":8000?x=1", "2: target: a base URL cannot have a query", "write http://127.0.0.1:8000;"),
        ("127.0.0.1:8000", ":80", "2: target: 'http://:80' names no host", "write http://127"),
        ("127.0.0.1:8000", "[::1", "2: target: 'http://[::1' is not a URL", "http://HOST:PORT"),
        ("target: http://127.0.0.1:8000\n", "", "s/x.yaml: the scenario has no target", "--target"),
        ("scenario: x", "scenario: ../../etc", "1: scenario name '../../etc' cannot be part", "scenario: etc"),
        ("p95(latency)", "p95(latncy)", "10: SLO 'p95(latncy) < 1s': 'latncy' is not", "did you mean 'latency'?"),
        ("latency) < 1s", "inference) < 1s\nspans: {source: none}", "'p95(inference) < 1s' needs server spans", "auto"),
        ("slo:", "spans: {listen: here}\nslo:", "9: listen in spans: 'here' is not an address", "127.0.0.1:4318"),
        ("- p95(latency) < 1s", "- p95(latency): 1s", "10: each line of slo should be a single value", "quotes"),
        ("slo:", "spans: {sampled: 2}\nslo:", "9: sampled in spans should lie between 0 and 1", "1.0"),
        ("slo:", "users: flow.py:A\nslo:", "9: the scenario has both requests and users", "keep one"),
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_with_what_to_write(old: str, new: str, message: str, hint: str) -> None:
    error = refusal(changed(old, new))

    assert message in str(error)
    assert str(error).startswith("s/x.yaml")
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("files: {image: payloads/*.png}", "no file matches 'payloads/*.png'", "folder 'payloads' has a.jpg"),
        ("files: {image: payloads/b.jpg}", "file 'payloads/b.jpg' does not exist", "did you mean 'payloads/a.jpg'?"),
        ("files: {image: payloads}", "file 'payloads' is a folder", "payloads/a.jpg"),
        ("body: nowhere/b.jpg", "file 'nowhere/b.jpg' does not exist", "there is no folder 'nowhere'"),
        ("body: /dev/zero", "file '/dev/zero' is not a regular file", "copy"),
        ("json: '{\"a\": 1}'", "is JSON inside a text", "take the quotes away"),
        ("json: [.inf, 1e999]", "number '1e999' is too large", "quotes"),
        ("headers: {traceparent: x}", "cannot set 'traceparent'", "delete it"),
        ("headers: {'a b': x}", "'a b' in headers of request 'receipt' is not a header name", ""),
        ("headers: {Accept: a, accept: b}", "set 'accept' twice", "case"),
        ("params: {q: }", "'q' in params of request 'receipt' has no value", "write one"),
        ("expect: {status: 20}", "should be a whole number from 100 to 599, not '20'", "write 200"),
        ("expect: {json: {'lines[': 1}}", "'lines[' is not a path", "JMESPath"),
        ("expect: {json: {a: '~ ('}}", "'(' is not a regular expression", "Python syntax"),
        ('json: {"\\ud800": 1}', "key '\\ud800' is not text that UTF-8 can carry", "retype"),
        ('json: {a: "\\ud800"}', "is not text that UTF-8 can carry", "stray"),
        ("expect: {max_bytes: 10}", "'10' has no unit", "write 10B or 10KiB"),
        ("text: ${NOT_SET}", "the environment variable NOT_SET is not set", "${NOT_SET:-value}"),
        ("text: ${NOT-SET}", "the variable at '${NOT-SET}' cannot be read", "${NAME:-default}"),
        ("text: ${A:-${B}}", "cannot be read", "${NAME:-default}"),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused(line: str, message: str, hint: str) -> None:
    error = refusal(changed(FILES, f"    {line}"))

    assert str(error).startswith("s/x.yaml:6: ")
    assert message in str(error)
    assert hint in (error.hint or "")


def test_two_bodies_are_one_too_many() -> None:
    error = refusal(changed(FILES, f"    text: a\n{FILES}"))

    assert str(error) == "s/x.yaml:7: request 'receipt' has two bodies: text and files"


def test_the_value_of_a_header_is_not_quoted_back() -> None:
    error = refusal(changed(FILES, '    headers: {X-Key: "hunter2\\nX: y"}'))

    assert "hunter2" not in f"{error}{error.hint}"


def test_a_password_in_the_target_is_refused_and_not_quoted_back() -> None:
    error = refusal(changed("http://127", "http://me:hunter2@127"))

    assert "user name or password" in str(error)
    assert "hunter2" not in f"{error}{error.hint}"
    assert "${API_TOKEN}" in (error.hint or "")


def test_a_key_given_twice_is_refused_with_both_lines() -> None:
    assert str(refusal(changed("load:", "scenario: y\nload:"))) == (
        "s/x.yaml:7: key 'scenario' is given twice (first on line 1)"
    )


def test_two_requests_of_one_name_are_refused() -> None:
    error = refusal(changed("load:", "  - {name: receipt, http: GET /}\nload:"))

    assert str(error) == "s/x.yaml:7: two requests are named 'receipt'"


# --- flags -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (Overrides(rate="4"), "--rate: '4' has no unit"),
        (Overrides(target="here"), "--target: 'here' has no http:// or https:// in front"),
        (Overrides(duration="0s"), "--duration: duration in load must be above 0"),
        (Overrides(seed="-1"), "--seed: seed in load should be a whole number"),
        (Overrides(slo=("p99(latency) > 1s",)), "--slo: SLO 'p99(latency) > 1s': p99 needs an upper limit"),
        (Overrides(rate="50000/s", duration="1h"), "--duration: 180,250,000 requests are planned"),
    ],
)
def test_a_bad_flag_is_refused_by_its_own_name(flags: Overrides, message: str) -> None:
    assert str(refusal(GOOD, flags)).startswith(message)
