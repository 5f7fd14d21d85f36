"""Services that never heard of the harness, in Python and in Node.js, split by a `stages:` map."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import pandas as pd
import pytest

from tests.acceptance_support import ROOT, concluded, far, largest_gap_s, python_service, run_all, service, stopwatch
from tests.conftest import free_port
from tests.node_packages import NODE_MODULES, lacking, why_no_packages

ABSOLUTE_S = 0.002
RELATIVE = 0.05
PARTS = {
    "python": {"preprocess": ["decode", "resize"], "inference": ["run_model"], "postprocess": ["nms"]},
    "node": {"preprocess": ["decode"], "inference": ["infer"], "postprocess": ["nms"]},
}


@dataclass(frozen=True)
class Split:
    """The ledger of one service, and what it timed itself: seconds by trace id and part."""

    ledger: pd.DataFrame
    timed: Mapping[str, Mapping[str, float]]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Split]:
    """One run against each service, side by side. Without Node.js there is none for it."""
    folder = tmp_path_factory.mktemp("foreign")
    ports = {language: free_port() for language in PARTS if language == "python" or why_no_packages() is None}
    with ExitStack() as running:
        urls = {language: running.enter_context(_start(language, port)) for language, port in ports.items()}
        runs = run_all(folder, {language: _scenario(language, urls[language], ports[language]) for language in urls})
        timed = {language: stopwatch(url) for language, url in urls.items()}
    return {language: Split(concluded(run_dir), timed[language]) for language, run_dir in runs.items()}


def _start(language: str, port: int) -> AbstractContextManager[str]:
    endpoint = f"http://127.0.0.1:{port}"
    if language == "python":
        return python_service("tests.plain_service", endpoint)
    environ = {"NODE_PATH": str(NODE_MODULES)}
    return service("node", str(ROOT / "tests/node_service/server.js"), endpoint, env=environ)


def _scenario(language: str, url: str, port: int) -> dict[str, object]:
    return {
        "scenario": f"plain-{language}",
        "target": url,
        "requests": [{"name": "detect", "http": "GET /detect"}],
        "load": {"rate": "25/s", "warmup": "1s", "duration": "3s", "seed": 5},
        "spans": {"listen": f"127.0.0.1:{port}", "stages": PARTS[language]},
    }


@pytest.fixture(params=PARTS)
def language(request: pytest.FixtureRequest) -> str:
    """Each language that can run here; in CI all of them have to."""
    name: str = request.param
    if name == "node":
        lacking(why_no_packages())
    return name


def test_every_request_is_split_by_its_plain_spans(splits: Mapping[str, Split], language: str) -> None:
    split = splits[language]

    assert len(split.ledger) > 60
    assert split.ledger["ok"].all()
    assert set(split.ledger["split"]) == {"spans"}
    assert set(split.ledger["trace_id"]) <= set(split.timed)


def test_the_stages_sum_to_the_latency(splits: Mapping[str, Split], language: str) -> None:
    assert largest_gap_s(splits[language].ledger) <= 1e-6


@pytest.mark.parametrize("stage", ["preprocess", "inference", "postprocess"])
def test_a_stage_lasts_as_long_as_the_service_timed_its_parts(
    splits: Mapping[str, Split], language: str, stage: str
) -> None:
    split = splits[language]
    expected = [sum(split.timed[trace][part] for part in PARTS[language][stage]) for trace in split.ledger["trace_id"]]
    own, found = sum(expected) / len(expected), split.ledger[f"{stage}_s"].mean()

    assert own > 0.004
    assert not far(found, own, ABSOLUTE_S, RELATIVE), (found, own)


def test_a_part_that_no_span_shows_is_other(splits: Mapping[str, Split], language: str) -> None:
    assert splits[language].ledger["other_s"].mean() > 0
