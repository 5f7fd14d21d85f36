"""Files that are no scenario, paths that lead nowhere, hostile YAML, and anything at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import ScenarioError
from harness.scenario import load_scenario
from tests.scenario_builders import GOOD, attempt, folder  # noqa: F401 - a fixture


def refusal(text: str | bytes) -> ScenarioError:
    error = attempt(text)
    assert isinstance(error, ScenarioError), "was accepted"
    return error


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "s/x.yaml: the scenario is empty", "a first one"),
        ("# nothing yet\n", "s/x.yaml: the scenario is empty", "a first one"),
        ("- a\n", "s/x.yaml:1: the scenario should be `key: value` lines, but is a list", "indent"),
        ("hello", "but is the single value 'hello'", "indent"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is a binary file", "describes the run"),
        (b"scenario: \xff\n", "is not UTF-8 text (line 1)", "save it again"),
        ("a: \x07", "s/x.yaml:1: character U+0007 is not allowed", "delete it"),
        ("a: [1\nb: 2\n", "s/x.yaml:2: this is not valid YAML", "brackets"),
        ("a: b: c\n", "s/x.yaml:1: this is not valid YAML", "quotes"),
        ("a:\n\tb: 1\n", "s/x.yaml:2: this is not valid YAML", "not with tabs"),
        ("a: {b: ${X}}\n", "s/x.yaml:1: this is not valid YAML", '"${NAME}"'),
        (GOOD + "---\na: 1\n", "s/x.yaml:11: this is not valid YAML: a second document", "keep one"),
        ("<<: {a: 1}\n", "s/x.yaml:1: merge keys", "write the keys out"),
        ("? [a]\n: 1\n", "s/x.yaml:1: a key must be a single word", "key: value"),
        ("a: !!python/object/apply:os.system [ls]\n", "YAML tag '!!python/object/apply:os.system' is not", "tag"),
        ("a" * 600_000, "is larger than 512 KiB", "body: PATH"),
        ("target: http://h\nload: {rate: 4/s}\n", "neither requests nor users", "requests:"),
        ("target: http://h\nrequests: [{http: GET /}]\n", "s/x.yaml:1: the scenario has no load", "--rate"),
        (GOOD.replace("\n", "\r\n").replace("4/s", "4"), "s/x.yaml:8: rate in load", "write 4/s"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(text: str | bytes, message: str, hint: str) -> None:
    error = refusal(text)

    assert message in str(error)
    assert hint in (error.hint or "")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "too large"),
        ("a: &a [*a]\n", "too large"),
        ("a: " + "[" * 100_000, "nested more than 30 levels"),
        ("a: &a 1\nb: [" + "*a, " * 200 + "]\n", "more than 100 YAML aliases"),
        ("a: [" + "1," * 100_000 + "]\n", "too large"),
    ],
    ids=["bomb", "cycle", "depth", "aliases", "size"],
)
def test_a_hostile_yaml_is_refused_and_not_expanded(text: str, message: str) -> None:
    assert message in str(refusal(text))


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("s/y.yaml", "scenario 's/y.yaml' does not exist", "did you mean 's/x.yaml'?"),
        ("nowhere/y.yaml", "scenario 'nowhere/y.yaml' does not exist", "there is no folder 'nowhere'"),
        ("s", "scenario 's' is a folder", "such as s/x.yaml"),
        ("/dev/zero", "is not a regular file", "copy"),
        ("a\0b.yaml", "does not exist", "folder '.' has"),
        ("a" * 5000, "does not exist", "folder '.' has"),
        ("s/flw.py", "Python file 's/flw.py' does not exist", "did you mean 's/flow.py'?"),
        ("s/flow.py", "'s/flow.py' defines 2 users: A, B", "say which one: s/flow.py:B"),
        ("s/flow.py:D", "'s/flow.py' defines no class 'D'", "valid names: A, B"),
        ("s/flow.py:C", "class 'C' in 's/flow.py' is not derived from HarnessUser", "class C(HarnessUser)"),
        ("s/broken.py", "s/broken.py:2: not valid Python", "py_compile"),
        ("s/flow.py:A", "s/flow.py: the scenario has no target", "add --target"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path: str, message: str, hint: str) -> None:
    Path("s/x.yaml").write_text(GOOD)

    with pytest.raises(ScenarioError) as caught:
        load_scenario(path, None, {})

    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("flow.py", "s/x.yaml:2: users 'flow.py' names no class"),
        ("flw.py:A", "s/x.yaml:2: Python file 'flw.py' does not exist"),
        ("flow.py:a", "s/x.yaml:2: 's/flow.py' defines no class 'a'"),
    ],
)
def test_a_user_class_that_is_not_there_is_refused_at_its_line(users: str, message: str) -> None:
    assert str(refusal(f"target: http://h\nusers: {users}\nload: {{rate: 4/s}}\n")) == message


# --- anything ----------------------------------------------------------------------------------------------

ANY_VALUE = st.recursive(
    st.text(max_size=20)
    | st.sampled_from(["~", "4/s", "-1", "${X}", "${X:-y}", "$$", "*", "&a", "!x", "[", "{", "1e999", "%"]),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    | st.tuples(st.text(max_size=5), inner).map(lambda pair: "{" + pair[0] + ": " + pair[1] + "}"),
    max_leaves=4,
)  # fmt: skip
KEYS = st.sampled_from(
    [
        "scenario",
        "target",
        "requests",
        "load",
        "slo",
        "spans",
        "users",
        "name",
        "http",
        "files",
        "rate",
        "headers",
        "json",
    ]
)


@given(key=KEYS, value=ANY_VALUE)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_of_any_key_is_read_or_refused_in_one_line(key: str, value: str) -> None:
    lines = [f"{line.partition(key)[0]}{key}: {value}" if f"{key}:" in line else line for line in GOOD.splitlines()]
    text = "\n".join(lines) if lines != GOOD.splitlines() else f"{GOOD}{key}: {value}\n"

    read = attempt(text)

    if isinstance(read, ScenarioError):
        assert str(read).isprintable()
        assert str(read).startswith(("s/x.yaml", "scenario 's/x.yaml'"))


@given(st.binary(max_size=200) | st.text(max_size=200))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_file_is_refused_without_a_crash(content: str | bytes) -> None:
    assert isinstance(attempt(content), ScenarioError)
