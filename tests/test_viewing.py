"""What a report shows beside its findings: each part where the run can tell, none that could cost the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness import viewing
from harness.clock import ClockOffset
from harness.conclude import Conclusion
from harness.errors import RunFolderError
from harness.model import Vital
from harness.run_folder import RunFolder
from harness.viewing import MOST_POINTS, baseline_curve, stored_vitals, views_of
from harness.waterfall import write_clock
from tests import simulated_queues as queues
from tests import stored_queues
from tests.builders import T0, table
from tests.waterfall_builders import RECORD, a_chain, a_sample, a_scenario, at, concluded, store

SECOND_NS = 1_000_000_000
REQUESTS = 60


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(stored_queues.store(tmp_path / "run", queues.simulate(REQUESTS, 0.7, 3, servers=2, settle=50)))


def vitals(folder: RunFolder, *rows: tuple[float, str, float, str]) -> None:
    """`rows`: second, name, value, unit."""
    made = [Vital(T0 + round(s * SECOND_NS), "reader", 7, name, value, unit, None) for s, name, value, unit in rows]
    folder.write_table("vitals", table(made, Vital))


def shown(folder: RunFolder) -> tuple[Conclusion, Any]:
    conclusion = concluded(folder)
    return conclusion, views_of(folder, conclusion, a_scenario(), RECORD)


# --- requests ----------------------------------------------------------------------------------------------


def test_the_requests_of_the_summary_are_drawn_in_its_order(folder: RunFolder) -> None:
    conclusion, views = shown(folder)

    for drawn, rows in ((views.slowest, conclusion.summary.slowest), (views.typical, conclusion.summary.typical)):
        assert [each.request_id for each in drawn] == [row.request_id for row in rows]
        assert [each.latency_s for each in drawn] == [row.latency_s for row in rows]
        assert all(dict(each.stages) == dict(row.stages) for each, row in zip(drawn, rows, strict=True))
    assert len(views.slowest) == 5


def test_the_flame_graphs_of_the_run_are_there(folder: RunFolder) -> None:
    assert [flame.title for flame in shown(folder)[1].flames] == []
    larger = RunFolder(stored_queues.store(folder.path.parent / "b", queues.simulate(300, 0.7, 3, servers=2)))
    assert len(shown(larger)[1].flames) == 2


def test_spans_that_cannot_be_read_any_more_cost_the_waterfalls_alone(folder: RunFolder) -> None:
    vitals(folder, (0, "process.cpu.utilization", 0.5, "1"))
    conclusion = concluded(folder)
    folder.spans.write_bytes(b"damaged")

    views = views_of(folder, conclusion, a_scenario(), RECORD)

    assert (views.slowest, views.typical) == ((), ())
    assert len(views.vitals) == 1


@pytest.mark.parametrize("error", [KeyError("name"), pa.ArrowInvalid("offsets"), OverflowError("too large")])
def test_a_part_that_cannot_be_made_costs_itself_alone(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    vitals(folder, (0, "process.cpu.utilization", 0.5, "1"))
    monkeypatch.setattr(viewing, "of_requests", fails)

    views = views_of(folder, concluded(folder), a_scenario(), RECORD)

    assert (views.slowest, len(views.vitals)) == ((), 1)


def test_a_run_without_one_answer_has_nothing_to_show(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample(status=None, error="refused")])
    _, views = shown(folder)

    assert (views.slowest, views.typical, views.vitals, views.flames) == ((), (), (), ())


# --- vitals ------------------------------------------------------------------------------------------------


def test_a_vital_is_told_since_the_first_scheduled_request(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample(scheduled_ns=at(-500))], a_chain())
    vitals(folder, (1, "process.cpu.utilization", 0.25, "1"), (0, "process.cpu.utilization", 0.5, "1"))

    (found,) = shown(folder)[1].vitals

    assert (found.name, found.unit, found.process) == ("process.cpu.utilization", "1", "reader (pid 7)")
    assert (found.at_s, found.values) == ((0.5, 1.5), (0.5, 0.25))


def test_many_points_become_means_and_of_durations_the_longest(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample()], a_chain())
    many = range(4 * MOST_POINTS)
    vitals(
        folder,
        *((s, "process.cpu.utilization", s % 2, "1") for s in many),
        *((s, "harness.event_loop.lag", 1.0 if s == 500 else 0.001, "s") for s in many),
    )

    lag, cpu = shown(folder)[1].vitals

    assert len(lag.at_s) == len(cpu.at_s) == MOST_POINTS
    assert max(lag.values) == 1.0
    assert cpu.values == pytest.approx([0.5] * MOST_POINTS, abs=0.15)
    assert list(lag.at_s) == sorted(lag.at_s)


def test_a_stored_run_tells_its_vitals_without_being_concluded(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample(scheduled_ns=at(-500))], a_chain())
    vitals(folder, *((s, "harness.event_loop.lag", s / 1000, "s") for s in range(2 * MOST_POINTS)))

    assert stored_vitals(folder) == shown(folder)[1].vitals


@pytest.mark.parametrize(("hosts", "found"), [((3,), [-2.0]), ((0.5, 0.2), [1.0]), ((3, 0), [])])
def test_stored_vitals_stand_on_our_clock_as_far_as_hosts_are_told_apart(
    tmp_path: Path, hosts: tuple[float, ...], found: list[float]
) -> None:
    folder = store(tmp_path, [a_sample(scheduled_ns=T0)])
    vitals(folder, (1, "process.cpu.utilization", 0.25, "1"))
    ahead = [(f"host-{n}", ClockOffset(round(s * SECOND_NS), 0, False, 0, 9)) for n, s in enumerate(hosts)]
    write_clock(folder, tuple(ahead))

    assert [each.at_s[0] for each in stored_vitals(folder)] == found


def test_what_only_rises_and_what_nobody_owns_is_no_line_over_time(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample()], a_chain())
    row = Vital(T0, None, None, "process.cpu.utilization", 1.0, "1", None)
    counted = Vital(T0, "reader", 7, "harness.spans.started", 1.0, "1", None)
    odd = [Vital(T0, "reader", 7, "process.memory.usage", value, "By", None) for value in (float("nan"), 1e300)]
    folder.write_table("vitals", table([row, counted, *odd], Vital))

    assert shown(folder)[1].vitals == ()


# --- another run -------------------------------------------------------------------------------------------


def ledger(folder: RunFolder, latency_s: list[float], ok: list[bool], phase: str = "measure") -> RunFolder:
    n = len(ok)
    columns = {"phase": [phase] * n, "ok": ok, "latency_s": pa.array(latency_s, pa.float64())}
    folder.write_table("ledger", pa.table(columns))
    return folder


def test_the_curve_of_another_run_falls_from_its_slowest_to_its_fastest(tmp_path: Path) -> None:
    curve = baseline_curve(ledger(RunFolder(tmp_path), [0.1, 0.4, 0.2, 0.3], [True] * 4))

    assert curve is not None
    assert curve.run_id == tmp_path.name
    assert (curve.slower, curve.latency_s) == ((0.25, 0.5, 0.75, 1.0), (0.4, 0.3, 0.2, 0.1))


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (b'{"scenario": "read", "load": "10/s"}', ("read", "10/s")),
        (b'{"scenario": 7}', (None, None)),
        (b"[]", (None, None)),
        (b"damaged", (None, None)),
        (None, (None, None)),
    ],
)
def test_the_curve_of_another_run_says_what_it_measured(
    tmp_path: Path, summary: bytes | None, said: tuple[str | None, str | None]
) -> None:
    folder = ledger(RunFolder(tmp_path), [0.1], [True])
    if summary is not None:
        folder.summary_json.write_bytes(summary)

    curve = baseline_curve(folder)

    assert curve is not None
    assert (curve.scenario, curve.load) == said


def test_failed_requests_rank_as_the_slowest(tmp_path: Path) -> None:
    curve = baseline_curve(ledger(RunFolder(tmp_path), [0.001, 0.4, 0.2, 0.3], [False, True, True, True]))

    assert curve is not None
    assert (curve.slower, curve.latency_s) == ((0.5, 0.75, 1.0), (0.4, 0.3, 0.2))


def test_a_long_run_has_a_short_curve(tmp_path: Path) -> None:
    curve = baseline_curve(ledger(RunFolder(tmp_path), list(np.linspace(0.001, 1, 50_000)), [True] * 50_000))

    assert curve is not None
    assert len(curve.slower) <= 200
    assert (curve.slower[0], curve.latency_s[0]) == (1 / 50_000, 1.0)


@pytest.mark.parametrize(
    ("latency_s", "ok", "phase"),
    [([], [], "measure"), ([0.1], [False], "measure"), ([0.1], [True], "warmup"), ([float("inf")], [True], "measure")],
)
def test_a_run_without_a_measured_answer_has_no_curve(
    tmp_path: Path, latency_s: list[float], ok: list[bool], phase: str
) -> None:
    assert baseline_curve(ledger(RunFolder(tmp_path), latency_s, ok, phase)) is None


def test_a_run_without_a_ledger_has_no_curve(tmp_path: Path) -> None:
    assert baseline_curve(RunFolder(tmp_path)) is None


def test_a_damaged_ledger_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ledger.parquet").write_bytes(b"damaged")

    with pytest.raises(RunFolderError, match="ledger"):
        baseline_curve(RunFolder(tmp_path))
