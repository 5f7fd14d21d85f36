"""Queue blame: what each wait is charged to, on queues whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.blame import blame
from harness.join import Halves
from tests.blame_builders import halves, infer, prepare, wait


def everyone(found: Halves) -> np.ndarray:
    return np.ones(len(found.process_of), np.bool_)


def blamed(found: Halves, names: list[str]) -> dict[tuple[str | None, str | None, bool], float]:
    """Seconds per request by (stage, name, own), of one resource."""
    return {(f.stage, f.name, f.own): f.wait_s for f in blame(found, names, everyone(found))}


# --- one server, by hand -----------------------------------------------------------------------------------


def test_a_wait_is_charged_to_what_the_holder_did_meanwhile() -> None:
    first = [wait("threadpool", 0, 1), prepare(1, 5), infer(5, 15)]
    second = [wait("threadpool", 2, 15), infer(15, 20)]

    found = blamed(halves([first, second]), ["big", "small"])

    assert found == pytest.approx(
        {("inference", "big", False): 0.005, ("preprocess", "big", False): 0.0015, (None, None, False): 0.0005}
    )
