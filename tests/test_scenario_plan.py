"""Python scenarios, and the plan of a run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from harness.errors import ScenarioError
from harness.model import Arrivals, LoadProfile, Scenario, Step
from harness.report import plan_text
from harness.scenario import Overrides, load_scenario, plan

SCENARIO = """\
target: http://127.0.0.1:8000
requests:
  - name: receipt
    weight: 3
    http: POST /v1/read
    files: {image: payloads/*.jpg}
  - name: kind
    http: POST /v1/identify
    body: payloads/a.jpg
load: {steps: [2/s, 2/s], warmup: 10s, duration: 60s}
spans: {sampled: 50%}
slo:
  - p95(latency) < 1s
  - p99(inference) < 600ms
  - error_rate < 2%
  - mean(latency) < 1s
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "payloads").mkdir()
    (tmp_path / "payloads" / "a.jpg").write_bytes(b"x" * 100)
    (tmp_path / "payloads" / "b.jpg").write_bytes(b"x" * 300)
    return tmp_path


def load(folder: Path, text: str) -> Scenario:
    (folder / "x.yaml").write_text(text)
    return load_scenario(folder / "x.yaml", None, {})


FLOW = """\
from harness.load.users import HarnessUser as Base
raise SystemExit("never imported")
class ReceiptUser(Base): "\\d"
class Plain: pass
"""


def test_a_python_file_with_one_user_is_a_scenario(folder: Path) -> None:
    (folder / "flow.py").write_text(FLOW)

    scenario = load_scenario(folder / "flow.py", Overrides(target="http://h"), {})

    assert (scenario.name, scenario.requests) == ("flow", ())
    assert scenario.users == f"{folder / 'flow.py'}:ReceiptUser"
    assert scenario.load == LoadProfile(Arrivals.POISSON, (Step(1.0, 30.0),), 5.0, 30.0, 1)


def test_a_class_can_be_named_on_the_command_line_and_in_a_file(folder: Path) -> None:
    (folder / "flow.py").write_text(FLOW + "class Other(ReceiptUser): pass\n")
    users = f"{folder / 'flow.py'}:Other"

    direct = load_scenario(f"{folder}/flow.py:Other", Overrides(target="http://h", rate="2/s"), {})
    named = load(folder, "target: http://h\nusers: flow.py:Other\nload: {rate: 2/s}\n")

    assert direct.users == named.users == users
    assert direct.load == named.load


def test_an_abstract_class_is_no_second_user(folder: Path) -> None:
    common = "class Common(HarnessUser):\n    abstract = True\n"
    (folder / "flow.py").write_text(f"{common}class Mine(Common): pass\n")

    users = load_scenario(folder / "flow.py", Overrides(target="http://h"), {}).users

    assert users == f"{folder / 'flow.py'}:Mine"


def test_a_base_class_from_another_module_is_trusted(folder: Path) -> None:
    (folder / "flow.py").write_text("from common import OurUser\nclass Mine(OurUser): pass\n")

    assert load_scenario(f"{folder}/flow.py:Mine", Overrides(target="http://h"), {}).users is not None


# --- the plan ----------------------------------------------------------------------------------------------


def test_the_plan_counts_requests_payloads_and_bytes(folder: Path) -> None:
    planned = plan(load(folder, SCENARIO))

    assert (planned.host, planned.loopback) == ("127.0.0.1", True)
    assert [step.requests for step in planned.steps] == [120.0, 120.0]
    assert (planned.requests, planned.warmup_requests, planned.duration_s) == (240.0, 20.0, 130.0)
    receipt, kind = planned.kinds
    assert (receipt.share, receipt.requests, receipt.payloads) == (0.75, 180.0, 2)
    assert (receipt.body_bytes, receipt.largest_bytes) == (200.0, 300)
    assert (kind.payloads, kind.body_bytes) == (1, 100.0)


def test_the_plan_says_which_slos_it_can_decide(folder: Path) -> None:
    slos = {slo.expression: (slo.needs, slo.expected, slo.enough) for slo in plan(load(folder, SCENARIO)).slos}

    assert slos == {
        "p95(latency) < 1s": (59, 240.0, True),
        "p99(inference) < 600ms": (299, 120.0, False),  # half of 240 ask to be recorded
        "error_rate < 2%": (149, 240.0, True),
        "mean(latency) < 1s": (None, 240.0, True),
    }


# Measured: 2/s for 60 s twice, of which 3 in 4 are receipts; warm-up 10 s at 2/s. Half of the spans are sampled.
FILTERED = {
    "p95(latency, name=receipt) < 1s": (59, 180.0, True),
    "p95(latency, name=kind, step=1) < 1s": (59, 30.0, False),
    "p95(inference, name=receipt) < 1s": (59, 90.0, True),
    "p95(inference, model=det) < 1s": (59, None, None),
    "p95(call) < 1s": (59, None, None),
    "p95(latency, phase=warmup) < 1s": (59, 20.0, False),
    "p95(latency, phase=warmup, step=1) < 1s": (59, 0.0, False),
    "mean(latency, phase=drain) < 1s": (None, 0.0, False),
    "coverage > 98%": (149, 240.0, True),
    "count(ok) > 240": (241, 240.0, False),
    "count(ok) < 240": (None, 240.0, True),
    # 216 in 120 s; of 219 that is 0.9863, and 0.9863^219 = 0.0487
    "throughput > 1.8/s": (219, 240.0, True),
    "rate(ok, step=0) > 2/s": (123, 120.0, False),
    "p99(loop_lag) < 1s": (299, 120.0, False),  # one reading a second
    "max(cpu) < 90%": (None, 120.0, True),
}


@pytest.mark.parametrize("line", FILTERED)
def test_the_plan_counts_only_what_an_slo_is_about(folder: Path, line: str) -> None:
    scenario = load(folder, SCENARIO + f"  - {json.dumps(line)}\n")

    slo = plan(scenario).slos[-1]

    assert (slo.needs, slo.expected, slo.enough) == FILTERED[line]


def test_each_clause_of_a_line_is_planned_and_the_line_stays_as_it_was(folder: Path) -> None:
    scenario = load(folder, SCENARIO + "  - p50(latency) < 1s  and completed > 90%\n")

    assert scenario.slo[-1] == "p50(latency) < 1s and completed > 90%"
    assert [slo.expression for slo in plan(scenario).slos[-2:]] == ["p50(latency) < 1s", "completed > 90%"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("p95(latency, name=recept) < 1s", "x.yaml:17: SLO 'p95(latency, name=recept) < 1s': no request is named"),
        ("error_rate < 1% and error_rate(step=2) < 1%", "x.yaml:17: SLO 'error_rate(step=2) < 1%': there is no step 2"),
    ],
)
def test_a_name_or_step_that_is_not_there_is_refused_at_its_line(folder: Path, line: str, problem: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(problem)):
        load(folder, SCENARIO + f"  - {line}\n")


def test_a_flag_with_an_unknown_name_is_refused_as_a_flag(folder: Path) -> None:
    (folder / "x.yaml").write_text(SCENARIO)

    with pytest.raises(ScenarioError, match=r"--slo: .* no request is named 'recept'"):
        load_scenario(folder / "x.yaml", Overrides(slo=("error_rate(name=recept) < 1%",)), {})


def test_names_of_a_user_class_are_not_known_before_the_run(folder: Path) -> None:
    (folder / "flow.py").write_text(FLOW)
    text = "target: http://h\nusers: flow.py:ReceiptUser\nload: {rate: 2/s}\nslo: ['p95(latency, name=any) < 1s']\n"

    (slo,) = plan(load(folder, text)).slos

    assert (slo.needs, slo.expected, slo.enough) == (59, None, None)


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("none", "peak(rss) < 1GiB", "needs vitals of the service, which come as OTLP"),
        ("server-timing", "peak(rss) < 1GiB", "needs vitals of the service, which come as OTLP"),
        ("none", "coverage > 98%", "needs server spans"),
        ("none", "p95(call) < 1s", "needs server spans"),
    ],
)
def test_an_slo_on_what_nobody_sends_is_refused(folder: Path, source: str, line: str, said: str) -> None:
    text = SCENARIO.split("spans:")[0] + f"spans: {{source: {source}}}\nslo: ['{line}']\n"

    with pytest.raises(ScenarioError, match=said):
        load(folder, text)


NEEDS = {
    "p95(latency, name=receipt) < 1s": "needs 59 requests with none against it, the plan gives about 180 such\n",
    "p95(call) < 1s": "needs 59 calls with none against it, how many there will be depends on the service\n",
    "mean(queue) < 1s": "decided by an interval, the plan gives about 120\n",
    "max(latency) < 1s": "fails with the first of the requests against it, the plan gives about 240\n",
    "count(ok) > 500": "needs 501 requests, the plan gives about 240: TOO FEW\n",
    "count(ok) < 500": "counts requests, the plan gives about 240\n",
    "throughput > 3/s": "needs 363 requests in 2 min, the plan gives about 240: TOO FEW\n",
    "p99(loop_lag) < 1s": "needs 299 readings with none against it, each instrumented process of the service sends "
    "about 120: TOO FEW\n",
}


@pytest.mark.parametrize("line", NEEDS)
def test_the_plan_says_in_words_what_an_slo_needs(folder: Path, line: str) -> None:
    scenario = load(folder, SCENARIO + f"  - {line}\n")

    assert f"{line}: {NEEDS[line]}" in plan_text.render(scenario, plan(scenario)) + "\n"


def test_what_cannot_be_met_is_told_from_what_cannot_be_decided(folder: Path) -> None:
    lines = SCENARIO.split("slo:")[0] + "slo: [throughput > 3/s]\n"
    scenario = load(folder, lines)

    assert plan_text.render(scenario, plan(scenario)).endswith("cannot be met: lower it, or send more (--rate)")


def test_the_plan_of_a_closed_loop_promises_no_number_of_requests(folder: Path) -> None:
    planned = plan(load(folder, SCENARIO.replace("steps: [2/s, 2/s]", "users: [4, 8]")))

    assert (planned.requests, planned.warmup_requests, planned.kinds[0].requests) == (None, None, None)
    assert [(step.level, step.requests) for step in planned.steps] == [(4.0, None), (8.0, None)]
    assert [(slo.expected, slo.enough) for slo in planned.slos] == [(None, None)] * 3 + [(None, True)]


TEXTS = {
    "rate: 4/s": (
        "poisson 4/s, about 140 requests in 35 s",
        "load      poisson 4/s, seed 1",
        "time      5 s warm-up (about 20 requests, not counted), 30 s measured, up to 30 s to drain",
        "requests  about 120 measured",
        "the plan gives about 120\n",
    ),
    "ramp: {from: 1/s, to: 3/s}, warmup: 0s, abort_on: error_rate > 50%": (
        "poisson 1/s -> 3/s in 30 s (ramp), about 60 requests in 30 s",
        "time      no warm-up, 30 s measured",
        "abort     when more than 50% of the answers of the last seconds failed",
        "the plan gives about 60, which is tight\n",
    ),
    "users: 16, think: [200ms, 2s]": (
        "16 users, think 200 ms to 2 s, as many requests as the service answers in 35 s",
        "time      5 s warm-up (not counted), 30 s measured",
        "each user waits for its answer (a closed loop)",
        "how many there will be depends on the service\n",
    ),
    "replay: arrivals.csv, warmup: 1s": (
        "replay of arrivals.csv: 40 arrivals in 20 s, after 1 s of it to warm up",
        "time      1 s warm-up (the first part of the recording, not counted), 20 s measured",
        "requests  40 measured, each of the kind that is recorded",
        "receipt  POST /v1/read",
        "the plan gives about 40: TOO FEW\n",
        "replay a longer recording, or the answer will be: not enough data",
    ),
}


@pytest.mark.parametrize("lines", TEXTS)
def test_the_plan_says_what_each_load_profile_will_do(folder: Path, lines: str) -> None:
    (folder / "arrivals.csv").write_text("".join(f"{i / 2}\n" for i in range(42)))
    scenario = load(folder, SCENARIO.replace("steps: [2/s, 2/s], warmup: 10s, duration: 60s", lines))

    text = plan_text.headline(scenario, plan(scenario)) + "\n" + plan_text.render(scenario, plan(scenario)) + "\n"

    for said in TEXTS[lines]:
        assert said in text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("localhost", True), ("[::1]", True), ("api.localhost", True),
     ("10.0.0.1", False), ("localhost.example.com", False), ("127.0.0.1.example.com", False), ("[2001:db8::1]", False)],
)  # fmt: skip
def test_the_plan_knows_whether_requests_leave_this_machine(folder: Path, host: str, loopback: bool) -> None:
    assert plan(load(folder, SCENARIO.replace("127.0.0.1", host))).loopback is loopback
