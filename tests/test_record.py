"""run.json after something happened to it: refused in one sentence that names the place, never a traceback."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from harness.errors import RunFolderError
from harness.findings import Reading
from harness.model import PRESETS, Arrivals, LoadProfile, RunWarning, Sample, Scenario, Span, SpanSpec, Step
from harness.record import validated
from harness.report.files import render_as
from harness.run import reopen
from harness.run_folder import RunFolder
from tests.builders import a_sample, samples_table, spans_table

PATH = Path("runs/r/run.json")
READING = asdict(Reading("cpu", 0.1, "ratio", 0.8, 0.95, "busy"))
LOAD = {"readings": [READING], "measured_from_ns": 5, "measured_until_ns": 9}
WARNING = asdict(RunWarning("rejected_spans", "3 spans were refused", "look at the exporter"))


def a_record() -> dict[str, Any]:
    load = LoadProfile(Arrivals.CONSTANT, (Step(10.0, 1.0),), warmup_s=0.0, drain_s=1.0, seed=1)
    spans = SpanSpec(stages=(("queue", ("wait*",)),))
    scenario = Scenario("tiny", "http://127.0.0.1:8000", (), None, load, spans, ("p95(latency) < 1s",))
    return {
        "schema_version": 1, "run_id": "r", "status": "finished", "started_ns": 1_700_000_000_000_000_000,
        "loopback": True, "plan": TypeAdapter(Scenario).dump_python(scenario, mode="json"), "source": "",
        "environment": {"python": "3.11"}, "warnings": [WARNING],
        "load": {"readings": [READING], "measured_from_ns": 5, "measured_until_ns": 9, "scheduled": 10},
        "receiver": None,
        "decided": {"looks": 4, "look": 2, "at_s": 12.0, "max_s": 60.0, "confidence": 0.9875, "looked": []},
    }  # fmt: skip


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a JSON value, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, item in inner for place in places(item, (*above, key)))]


def changed(place: tuple[Any, ...], value: Any) -> Any:
    """A record with another value at one place."""
    if not place:
        return value
    record = copy.deepcopy(a_record())
    inner: Any = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return record


def stored(parent: Path, record: object) -> RunFolder:
    folder = RunFolder(parent)
    folder.run_json.write_text(json.dumps(record))
    if not folder.samples.exists():
        folder.write_table("samples", samples_table(*(a_sample(i) for i in range(3))))
        folder.write_table("spans", spans_table())
    return folder


def test_a_whole_record_is_taken_as_it_is_and_so_is_one_of_a_run_that_was_killed() -> None:
    whole = a_record()
    killed = {k: v for k, v in whole.items() if k not in ("load", "receiver")} | {"status": "running", "warnings": []}

    assert validated(whole, PATH) == {**whole, "load": LOAD}
    assert validated(killed, PATH)["load"] == {"readings": []}


def test_fields_that_are_not_known_are_ignored() -> None:
    record = changed(("load", "readings", 0, "trend"), "up")
    record["warnings"][0]["since"] = 5
    record["plan"]["colour"] = "red"

    assert validated(record, PATH)["warnings"] == [WARNING]
    assert validated(record, PATH)["load"] == LOAD


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ((), [], "input should be a dictionary"),
        (("run_id",), None, "run_id: input should be a valid string"),
        (("status",), "odd", "status: input should be 'running'"),
        (("started_ns",), 1e30, "started_ns: input should be a valid integer"),
        (("started_ns",), "yesterday", "started_ns: input should be a valid integer"),
        (("started_ns",), 2**63, "started_ns: input should be less than"),
        (("started_ns",), -1, "started_ns: input should be greater than"),
        (("warnings",), "none", "warnings: input should be a valid tuple"),
        (("warnings", 0), {"code": "x"}, "warnings.0.message: field required"),
        (("warnings", 0), 5, "warnings.0: input should be a dictionary"),
        (("load",), [], "load: input should be a dictionary"),
        (("load", "readings"), 5, "load.readings: input should be a valid tuple"),
        (("load", "readings", 0), {"name": "cpu"}, "load.readings.0.value: field required"),
        (("load", "readings", 0, "value"), math.nan, "load.readings.0.value: nan is not a number"),
        (("load", "readings", 0, "value"), -1e300, "load.readings.0.value: is beyond every measure"),
        (("load", "readings", 0, "value"), 10**400, "load.readings.0.value: "),
        (("environment",), ["python"], "environment: input should be a valid dictionary"),
        (("environment", "python"), {"a": []}, "environment.python: input should be a valid string"),
        (("plan",), {}, "plan.name: field required"),
        (("plan",), None, "plan: input should be a dictionary"),
        (("plan", "spans", "sampled"), -5, "plan.spans.sampled: -5 is not between 0 and 1"),
        (("plan", "spans", "preset"), "no", f"plan.spans.preset: is none of {', '.join(PRESETS)}"),
        (("plan", "spans", "sampled"), 2, "plan.spans.sampled: 2 is not between 0 and 1"),
        (("plan", "spans", "sampled"), math.nan, "plan.spans.sampled: nan is not a number"),
        (("plan", "spans", "source"), "tea leaves", "plan.spans.source: is none of auto, otlp"),
        (("plan", "spans", "stages", 0, 0), "coffee", "plan.spans.stages.0: names no stage"),
        (("plan", "load", "steps"), [], "plan.load.steps: is empty"),
        (("plan", "load", "steps", 0, "level"), 0, "plan.load.steps.0.level: 0 is not between"),
        (("plan", "load", "steps", 0, "duration_s"), math.inf, "plan.load.steps.0.duration_s: inf is not a number"),
        (("plan", "load", "steps", 0, "duration_s"), 1e300, "plan.load.steps.0.duration_s: 1e+300 is not between"),
        (("plan", "load", "steps", 0, "to"), -1, "plan.load.steps.0.to: -1 is not between"),
        (("plan", "load", "think_s"), [-1, 2], "plan.load.think_s.0: -1 is not between"),
        (("plan", "load", "think_s"), [2, 1], "plan.load.think_s: the shortest pause, 2, is longer than the longest"),
        (("plan", "load", "think_s"), [1], "plan.load.think_s"),
        (("plan", "load", "abort_above"), 1.5, "plan.load.abort_above: 1.5 is not between 0 and 1"),
        (("plan", "load", "replay"), {"path": "a.csv", "speed": 0}, "plan.load.replay.speed: 0 is not between"),
        (("plan", "load", "replay"), {"path": "a.csv"}, "plan.load.replay: does not go with constant arrivals"),
        (("plan", "load", "arrivals"), "replay", "plan.load.replay: does not go with replay arrivals"),
        (("load", "measured_from_ns"), 1.5, "load.measured_from_ns: input should be a valid integer"),
        (("load", "measured_until_ns"), 1, "load.measured_until_ns: 1 is before measured_from_ns"),
        (("plan", "load", "warmup_s"), -1, "plan.load.warmup_s: -1 is not between"),
        (("plan", "slo", 0), "p95 of all", "plan.slo.0: "),
    ],
)
def test_what_no_run_can_have_is_refused_with_its_place(place: tuple[Any, ...], value: Any, said: str) -> None:
    with pytest.raises(RunFolderError) as caught:
        validated(changed(place, value), PATH)

    assert caught.value.message.startswith(f"{PATH} does not describe a run: {said}")
    assert caught.value.hint is not None


@pytest.mark.parametrize("missing", ["run_id", "status", "started_ns", "plan"])
def test_a_field_that_every_run_has_must_be_there(missing: str) -> None:
    record = {k: v for k, v in a_record().items() if k != missing}

    with pytest.raises(RunFolderError, match=f"does not describe a run: {missing}: field required"):
        validated(record, PATH)


def test_garbage_that_is_nested_as_deep_as_json_is_read_is_refused() -> None:
    nested: Any = math.nan
    for _ in range(50_000):
        nested = [nested]

    with pytest.raises(RunFolderError, match=r"x\.0\.0"):
        validated({**a_record(), "x": nested}, PATH)


GARBAGE = st.one_of(
    st.none(), st.booleans(), st.text(max_size=8), st.floats(), st.integers(-(2**70), 2**70), st.just([]), st.just({}),
    st.just([[{"a": None}]]), st.just({"a": [1]}),
)  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(a_record())), value=GARBAGE)
def test_any_damage_is_refused_or_harmless(tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    folder = stored(tmp_path, changed(place, value))

    with contextlib.suppress(RunFolderError):
        summary = reopen(folder).summary
        for wanted in ("json", "md", "junit"):
            assert render_as(wanted, summary, None)


def test_the_columns_that_the_tests_store_are_those_of_the_model(tmp_path: Path) -> None:
    folder = stored(tmp_path, a_record())

    assert folder.read_table("samples", Sample).num_rows == 3
    assert folder.read_table("spans", Span).num_rows == 0
