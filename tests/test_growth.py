"""Which stage grows from the lowest load to the highest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_queues import ledger_rows, simulate

from harness.analysis.load_steps.growth import difference, growth_findings, known_stages
from harness.diagnosis import Grows

STAGES = (
    "backlog", "connect", "upload", "download", "transfer", "queue_est", "queue", "preprocess", "inference",
    "postprocess", "other", "unsplit",
)  # fmt: skip


def rows(step: int, n: int, noise: float = 0.0, **stages: float) -> pd.DataFrame:
    """Ledger rows of one step; stages in seconds, with a little of seeded noise; the others are 0."""
    random = np.random.default_rng(step)
    columns = {f"{s}_s": stages.get(s, 0.0) + noise * random.random(n) * (s in stages) for s in STAGES}
    frame = pd.DataFrame({"step": step, "ok": True, **columns})
    whole = [f"{s}_s" for s in STAGES if s not in ("connect", "upload", "download")]
    return frame.assign(latency_s=frame[whole].sum(axis=1, skipna=True))


def together(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


def test_the_highest_load_is_held_against_the_lowest() -> None:
    found = growth_findings(
        together(
            rows(0, 30, 1e-4, queue=0.010, inference=0.050),
            rows(1, 30, 1e-4, queue=0.500, inference=0.050),
            rows(2, 30, 1e-4, queue=0.020, inference=0.052),
        ),
        (5.0, 20.0, 10.0),
        None,
    )

    assert (found[0].stage, found[0].low_step, found[0].high_step) == ("queue", 0, 1)
    assert found[0].low_s == pytest.approx(0.010, abs=1e-4)
    assert found[0].change.value == pytest.approx(0.490, abs=1e-4)
    assert found[0].share == pytest.approx(1.0, abs=0.01)
    assert found[0].grows is Grows.WAITS


def test_shares_add_up_to_the_growth_of_the_latency() -> None:
    found = growth_findings(
        together(rows(0, 40, 1e-3, queue=0.01, inference=0.05), rows(1, 40, 1e-3, queue=0.04, inference=0.06)),
        (1.0, 2.0),
        None,
    )

    assert [f.stage for f in found][:2] == ["queue", "inference"]
    assert sum(f.share for f in found) == pytest.approx(1.0)
    assert found[0].share == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(("low_cpu", "high_cpu", "grows"), [(0.05, 0.09, Grows.WORKS), (0.05, 0.051, Grows.WAITS)])
def test_a_stage_that_grows_works_longer_or_waits_longer_by_its_cpu(
    low_cpu: float, high_cpu: float, grows: Grows
) -> None:
    frame = together(rows(0, 30, 1e-4, inference=0.050), rows(1, 30, 1e-4, inference=0.090))
    cpu = pd.DataFrame({"inference": np.repeat([low_cpu, high_cpu], 30)}, index=frame.index)

    found = growth_findings(frame, (1.0, 2.0), cpu)

    assert found[0].stage == "inference"
    assert found[0].cpu_change_s == pytest.approx(high_cpu - low_cpu)
    assert found[0].grows is grows


def test_nobody_can_tell_work_from_wait_without_cpu_time() -> None:
    frame = together(rows(0, 30, 1e-4, inference=0.050), rows(1, 30, 1e-4, inference=0.090))
    mostly_unknown = pd.DataFrame({"inference": [np.nan] * 50 + [0.1] * 10}, index=frame.index)

    for cpu in (None, pd.DataFrame(index=frame.index), mostly_unknown):
        found = growth_findings(frame, (1.0, 2.0), cpu)
        assert (found[0].cpu_change_s, found[0].grows) == (None, None)


def test_cpu_times_belong_to_rows_by_their_index_and_not_by_their_place() -> None:
    frame = together(rows(0, 30, 1e-4, inference=0.050), rows(1, 30, 1e-4, inference=0.090))
    cpu = pd.DataFrame({"inference": np.repeat([0.05, 0.09], 30)}, index=frame.index)

    found = growth_findings(frame, (1.0, 2.0), cpu.iloc[::-1])

    assert found[0].cpu_change_s == pytest.approx(0.04)


def test_a_stage_that_does_not_grow_beyond_chance_neither_works_nor_waits_longer() -> None:
    found = growth_findings(
        together(rows(0, 50, 0.01, queue=0.01, inference=0.05), rows(1, 50, 0.01, queue=0.20, inference=0.0501)),
        (1.0, 2.0),
        None,
    )

    inference = next(f for f in found if f.stage == "inference")
    assert inference.grows is None
    assert inference.change.low is not None
    assert inference.change.low < 0.0


def test_an_estimated_wait_is_nothing_where_it_is_not_known() -> None:
    low = rows(0, 30, 1e-4, inference=0.050).assign(queue_est_s=np.nan)
    high = rows(1, 30, 1e-4, inference=0.050, queue_est=0.030)
    high.loc[high.index[:15], "queue_est_s"] = np.nan

    found = growth_findings(together(low, high), (1.0, 2.0), None)

    assert found[0].stage == "queue_est"
    assert found[0].change.value == pytest.approx(0.015, abs=1e-3)
    assert found[0].grows is Grows.WAITS


def test_a_stage_that_is_not_known_at_one_load_is_left_out() -> None:
    low = rows(0, 30, 1e-4, inference=0.050).assign(preprocess_s=np.nan)

    found = growth_findings(together(low, rows(1, 30, 1e-4, inference=0.09, preprocess=0.01)), (1.0, 2.0), None)

    assert "preprocess" not in {f.stage for f in found}


def test_steps_of_few_requests_and_equal_loads_show_no_growth() -> None:
    low, high = rows(0, 30, 1e-4, queue=0.01), rows(1, 19, 1e-4, queue=0.5)

    assert growth_findings(together(low, high), (1.0, 2.0), None) == ()
    assert growth_findings(together(low, rows(1, 30, queue=0.5)), (2.0, 2.0), None) == ()
    assert growth_findings(low, (1.0,), None) == ()
    assert growth_findings(low.iloc[:0], (1.0, 2.0), None) == ()
    assert growth_findings(low, (), None) == ()


def test_a_latency_that_does_not_grow_has_no_shares() -> None:
    assert growth_findings(together(rows(0, 30, queue=0.5), rows(1, 30, queue=0.1)), (1.0, 2.0), None) == ()
    assert growth_findings(together(rows(0, 30, queue=0.5), rows(1, 30, queue=0.5)), (1.0, 2.0), None) == ()


def test_the_queue_of_a_simulated_service_is_what_grows() -> None:
    found = growth_findings(
        together(
            *(ledger_rows(simulate(2_000, load, seed), step) for step, (load, seed) in enumerate(((0.3, 1), (0.8, 2))))
        ),
        (23.0, 61.0),
        None,
    )

    assert found[0].stage == "queue"
    assert found[0].share == pytest.approx(1.0, abs=0.05)
    assert found[0].change.low is not None
    assert found[0].change.low > 0.0
    assert {f.grows for f in found[1:]} == {None}


def test_a_difference_of_means_by_hand() -> None:
    low, high = np.tile([1.0, 3.0], 50), np.tile([4.0, 6.0], 50)

    found = difference(low, high)

    # Both means have variance (100 / 99) / 100; t of 198 degrees of freedom is 1.972.
    assert found.value == pytest.approx(3.0)
    assert found.low == pytest.approx(3.0 - 1.972 * (2.0 / 99.0) ** 0.5, abs=1e-3)
    assert (found.n, found.refusal) == (100, None)


def test_differences_of_nothing_and_of_constants() -> None:
    assert difference(np.zeros(0), np.ones(5)).value is None
    assert difference(np.ones(20), np.full(20, 3.0)).low == pytest.approx(2.0)
    assert difference(np.ones(1), np.full(1, 3.0)).low is None


def test_stages_of_no_rows_are_not_known() -> None:
    assert known_stages(rows(0, 1).iloc[:0]) == {}
