"""One process of several that is slower than the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from facts_builders import attributes_of, facts_of, rows_of, worked

from harness.analysis.causes import find
from harness.analysis.facts import Facts


def codes(facts: Facts) -> list[str]:
    return [cause.code for cause in find(facts)]


def of_processes(slow_ms: float, every: int = 4, n: int = 200) -> Facts:
    mine = np.arange(n) % every == 0
    rows = rows_of(n, inference=np.where(mine, slow_ms, 20.0))
    process = np.where(mine, "api/1", np.char.add("api/", (np.arange(n) % every + 1).astype(str)))
    return facts_of(rows, attributes=attributes_of(rows, process=process))


def test_one_process_that_is_slower_than_the_others_is_named() -> None:
    (cause,) = find(of_processes(200.0))

    assert (cause.code, cause.stage) == ("slow_process", "inference")
    assert cause.cost_s == pytest.approx(0.25 * 0.18)
    assert "api/1 answers, 25% of all, take 10.0 times as long" in cause.sentence
    assert "50 requests of api/1, 150 of the others" in cause.evidence[0]


def test_a_process_a_little_slower_or_with_few_requests_is_no_cause() -> None:
    assert codes(of_processes(39.0)) == []
    assert codes(of_processes(200.0, every=20, n=380)) == []  # 19 requests


def test_a_process_that_answers_the_costly_names_is_not_slow() -> None:
    facts = of_processes(200.0, every=3)
    rows = facts.rows.assign(name=np.where(np.arange(200) % 3 == 0, "read", "identify"))

    assert "slow_process" not in codes(replace(facts, rows=rows))


def test_a_stage_that_waits_mostly_in_one_process_is_told_with_that_process() -> None:
    waits = (worked("inference", 65.0, 0.02),)  # 45 of its 65 ms are the one process

    assert codes(replace(of_processes(200.0), work=waits)) == ["slow_process"]
    assert codes(replace(of_processes(39.0), work=waits)) == ["stage_waits"]


def test_requests_of_unknown_or_single_processes_are_read() -> None:
    facts = of_processes(200.0)
    for process in (np.full(200, None), np.full(200, "api/1"), np.arange(200).astype(str)):
        attributes = facts.attributes.assign(process=process)
        assert "slow_process" not in codes(replace(facts, attributes=attributes))
