"""The stage that changed over the pairs: work before the waits that follow from it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.analysis.comparing.changed_stages import blame, stage_changes
from harness.comparison import StageChange
from harness.estimates import Estimate

CLEAR, UNCLEAR = 0.0005, 0.1


def changed(stage: str, ms: float, share: float | None = 0.5, within: float = CLEAR) -> StageChange:
    seconds = ms / 1000
    works = stage not in ("queue", "queue_est", "backlog")
    return StageChange(stage, 0.1, 0.1, Estimate(seconds, seconds - within, seconds + within, 5), share, works)


def test_a_stage_has_its_change_in_seconds_and_its_share_of_the_whole() -> None:
    a, b = {"inference": np.full(5, 0.010)}, {"inference": np.array([0.011, 0.012, 0.013, 0.014, 0.015])}

    found = stage_changes(a, b, np.full(5, 0.020), np.array([0.025, 0.026, 0.026, 0.026, 0.027]), 0.95)[0]

    # mean 3 ms, sd sqrt(2.5) ms, se sqrt(0.5) ms, t of 4 df at 0.975 is 2.776: 3 -+ 1.963
    assert found.change.value == pytest.approx(0.003)
    assert found.change.low == pytest.approx(0.001037, abs=2e-6)
    assert found.share == pytest.approx(0.5)  # of 6 ms
    assert found.works


def test_no_share_is_given_of_a_change_that_is_not_clear() -> None:
    a, b = {"queue": np.full(3, 0.01)}, {"queue": np.full(3, 0.02)}

    found = stage_changes(a, b, np.array([0.1, 0.2, 0.1]), np.array([0.2, 0.1, 0.11]), 0.95)[0]

    assert found.share is None
    assert not found.works


@pytest.mark.parametrize("b", [[], [math.nan] * 3, [0.1, math.nan, math.nan], [math.inf] * 3])
def test_stages_that_are_hardly_known_have_no_interval(b: list[float]) -> None:
    a = np.full(len(b), 0.01)

    found = stage_changes({"inference": a}, {"inference": np.array(b)}, a, np.array(b), 0.95)[0]

    assert found.change.low is None
    assert found.change.refusal
    assert blame((found,), ()) is None


def test_a_stage_that_one_side_lacks_is_left_out() -> None:
    assert stage_changes({"queue": np.ones(3)}, {}, np.ones(3), np.ones(3), 0.95) == ()


def test_work_is_named_before_the_queue_that_grew_more() -> None:
    found = blame((changed("queue", 20, 0.7), changed("inference", 8, 0.3)), ())

    assert found is not None
    assert found.stage == "inference"
    assert found.sentence == (
        "inference takes +8.00 ms a request (+7.50 ms to +8.50 ms), 30% of the change of the mean latency; "
        "queue +20.0 ms as a consequence."
    )


def test_a_wait_is_named_when_no_work_changed_clearly() -> None:
    found = blame((changed("queue", 20, 1.0), changed("inference", 1, 0.0, UNCLEAR)), ())

    assert found is not None
    assert (found.stage, found.model) == ("queue", None)
    assert found.sentence.startswith("queue waits +20.0 ms a request")


def test_an_upload_that_grew_much_is_named_before_work_that_hardly_matters() -> None:
    found = blame((changed("postprocess", 1, 0.02), changed("upload", 40, 0.98)), ())

    assert found is not None
    assert found.stage == "upload"


def test_transfer_is_named_only_when_none_of_its_parts_is() -> None:
    whole, part = changed("transfer", 41, 1.0), changed("download", 40, 0.98)

    both, alone = blame((whole, part), ()), blame((whole,), ())

    assert both is not None
    assert alone is not None
    assert (both.stage, alone.stage) == ("download", "transfer")


def test_a_second_stage_is_named_beside_the_first() -> None:
    found = blame((changed("inference", 8), changed("preprocess", 4), changed("postprocess", 1)), ())

    assert found is not None
    assert "preprocess +4.00 ms as well" in found.sentence
    assert "postprocess" not in found.sentence


def test_of_the_models_the_one_that_grew_most_is_named() -> None:
    models = (changed("detector", 2), changed("reader", 6), changed("sorter", 9, within=UNCLEAR))

    found = blame((changed("inference", 8),), models)

    assert found is not None
    assert found.model == "reader"
    assert found.sentence.startswith("inference (most of all reader) takes")


def test_a_stage_that_got_faster_is_not_blamed() -> None:
    assert blame((changed("inference", -8),), ()) is None
    assert blame((), ()) is None
