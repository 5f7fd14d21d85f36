"""What a request may say beyond the basics: limits, functions, a sample of the answers, TLS files."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenario_builders import GOOD, attempt
from scenario_builders import folder as folder

from harness.errors import ScenarioError, UsageError
from harness.model import Scenario
from harness.scenario.wanted import same, wanted_test

REQUEST = "    files: {image: payloads/*.jpg}\n"
CODE = """\
from json import dumps as imported
def plausible(answer): return None
def make(rng, size=3): return size
def two(a, b): pass
def none(): pass
def keyword(answer, *, level): pass
def many(*answers): pass
async def later(answer): pass
class Shape: pass
assigned = lambda answer: True
if True:
    def below(answer): pass
"""


def with_request(line: str) -> Scenario | ScenarioError:
    Path("s/checks.py").write_text(CODE)
    return attempt(GOOD.replace(REQUEST, f"{REQUEST}    {line}\n"))


def accepted(line: str) -> Scenario:
    outcome = with_request(line)
    assert isinstance(outcome, Scenario), str(outcome)
    return outcome


def refused(line: str) -> tuple[str, str]:
    outcome = with_request(line)
    assert isinstance(outcome, ScenarioError)
    return str(outcome), outcome.hint or ""


# --- what a value asks for ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "held", "broken"),
    [
        ("0.5 .. 0.9", [0.5, 0.9, 0.7], [0.49, 0.91, "0.7", None, True, math.nan]),
        ("1..3", [1, 2.5, 3], [0, 4]),
        (">= 0.5", [0.5, 7], [0.4, "1", None, [1], True]),
        ("<= -1e3", [-1000, -2000.5], [-999]),
        ("> 2", [2.1, 3], [2]),
        ("<10", [9.99, -5], [10]),
        ("~ (?i)^total", ["TOTAL 3", "total"], ["a total", None, ["total"]]),
        ("~ ^12", [12, 12.5, "12"], [21]),
        ("~ true", [True, "it is true"], [False]),
        ("= 0.5 .. 0.9", ["0.5 .. 0.9"], [0.7]),
        ("= ~ x", ["~ x"], ["x"]),
        ("<html>", ["<html>"], ["html", 3]),
        ("plain", ["plain"], ["Plain", None]),
        (1, [1, 1.0], [True, "1", 2]),
        (True, [True], [1, "true"]),
        (None, [None], [0, False, ""]),
        ([1, {"a": True}], [[1, {"a": True}]], [[1, {"a": 1}], [1], {"a": True}]),
        ({"a": 1}, [{"a": 1.0}], [{"a": True}, {"a": 1, "b": 2}, {}]),
    ],
)
def test_a_wanted_value_holds_for_these_and_not_for_those(wanted: object, held: list[Any], broken: list[Any]) -> None:
    test = wanted_test(wanted)

    assert [test(found) for found in held] == [True] * len(held)
    assert [test(found) for found in broken] == [False] * len(broken)


@given(st.text())
def test_any_text_can_be_asked_for_literally(text: str) -> None:
    assert wanted_test(f"= {text}")(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), st.lists, max_leaves=5))
def test_a_json_value_equals_itself(value: object) -> None:
    assert same(value, json.loads(json.dumps(value)))


@pytest.mark.parametrize("text", [">= much", "< 10ms", "0.5 .. much", "x .. 3", "0.9 .. 0.5", "~ ("])
def test_a_text_that_is_nearly_a_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        wanted_test(text)


def test_a_refused_limit_names_the_line_and_the_way_out() -> None:
    message, hint = refused('expect: {json: {score: ">= 50%"}}')

    assert message == ("s/x.yaml:7: json in expect of request 'receipt': '>= 50%' is no limit and no range of numbers")
    assert '"= >= 50%"' in hint


# --- functions and samples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plausible", "make", "many", "assigned", "imported", "below"])
def test_a_function_is_found_without_importing_its_file(name: str) -> None:
    (request,) = accepted(f"expect: {{python: checks.py:{name}, sample: 10%}}").requests

    assert request.expect.python == f"{Path('s/checks.py').absolute()}:{name}"
    assert request.expect.sampled == 0.1


@pytest.mark.parametrize(
    ("named", "message", "hint"),
    [
        ("checks.py:plausibel", "'checks.py' defines no function 'plausibel'", "did you mean 'plausible'?"),
        ("check.py:plausible", "Python file 'check.py' does not exist", "did you mean 'checks.py'?"),
        ("plausible", "'plausible' names no function", "FILE.py:FUNCTION"),
        ("checks.py:two", "checks.py:4: python in expect", "def two(answer)"),
        ("checks.py:none", "is called with one argument", "def none(answer)"),
        ("checks.py:keyword", "is called with one argument", "def keyword(answer)"),
        ("checks.py:later", "is async", "def later(answer)"),
        ("checks.py:Shape", "is a class", "def Shape(answer)"),
        ("broken.py:A", "not valid Python", "py_compile"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused(named: str, message: str, hint: str) -> None:
    said, advice = refused(f'expect: {{python: "{named}"}}')

    assert message in said
    assert hint in advice


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("expect: {sample: 10%}", "has no json or python check to sample"),
        ("expect: {json: {a: 1}, sample: 0%}", "must be above 0%"),
        ("expect: {json: {a: 1}, sample: 2}", "sample in expect of request 'receipt'"),
        ("python: checks.py:make", "has two bodies: files and python"),
    ],
)
def test_what_makes_no_sense_together_is_refused(line: str, message: str) -> None:
    assert message in refused(line)[0]


def test_a_body_may_be_made_by_a_function() -> None:
    Path("s/checks.py").write_text(CODE)
    scenario = attempt(GOOD.replace(REQUEST, "    python: checks.py:make\n"))

    assert isinstance(scenario, Scenario)
    assert scenario.requests[0].body.python == f"{Path('s/checks.py').absolute()}:make"


def test_a_secret_that_an_answer_should_hold_is_not_stored() -> None:
    scenario = accepted('expect: {json: {access_token: "hunter2", total_tokens: 5, name: "Ann"}}')

    assert "hunter2" not in scenario.source
    assert 'access_token: "***", total_tokens: 5, name: "Ann"' in scenario.source


# --- TLS ---------------------------------------------------------------------------------------------------

Make = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("tls")

    def make(name: str, *more: str) -> tuple[str, str]:
        key, cert = folder / f"{name}.key", folder / f"{name}.pem"
        if not key.exists():
            made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            made += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost"]
            subprocess.run([*made, *(more or ["-nodes"])], check=True, capture_output=True)
        return str(cert), str(key)

    return make


def tls(line: str) -> Scenario | ScenarioError:
    return attempt(f"{GOOD}tls: {{{line}}}\n")


def test_tls_files_that_fit_are_taken(pair: Make) -> None:
    cert, key = pair("a")
    scenario = tls(f"ca: {cert}, cert: {cert}, key: {key}")

    assert isinstance(scenario, Scenario), str(scenario)
    assert (scenario.tls.ca, scenario.tls.cert, scenario.tls.key) == (cert, cert, key)


def test_tls_files_that_do_not_fit_are_refused_before_the_first_request(pair: Make) -> None:
    (cert, key), (_, other), (_, locked) = pair("a"), pair("b"), pair("locked", "-passout", "pass:secret")
    refusals = {
        f"ca: {cert}x": "does not exist",
        f"ca: {key}": "ca in tls holds no certificate",
        f"cert: {cert}": "cert in tls holds no certificate with its key",
        f"cert: {cert}, key: {other}": "the key in tls does not belong to the cert",
        f"cert: {cert}, key: {locked}": "protected by a passphrase",
        f"cert: {key}, key: {cert}": "cert and key in tls cannot be used",
        f"key: {key}": "tls has a key but no cert",
        f"ca: {cert}, insecure: true": "tls has both ca and insecure",
        "insecure: maybe": "insecure in tls cannot be 'maybe'",
    }
    for line, message in refusals.items():
        outcome = tls(line)
        assert isinstance(outcome, ScenarioError), line
        assert message in str(outcome), (line, str(outcome))
        assert str(outcome).startswith("s/x.yaml:11: ")
