"""Python scenarios, and the plan of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

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
