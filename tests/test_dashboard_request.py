"""The page of one request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from report_hostile import ATTRIBUTE, LONG, NUL, RIGHT_TO_LEFT, SCRIPT

from harness.dashboard.pages import request
from harness.dashboard.selecting_columns import read
from harness.dashboard.single import neighbours, position_of, stage_sum, trace_links
from harness.model import Scenario, SpanSpec
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun
from harness.views import Waterfall
from tests import shown_runs, stored_queues
from tests import simulated_queues as queues
from tests.dashboard_support import dashboard

RUN = "20261121T090000Z-some"
NAMES = (SCRIPT, ATTRIBUTE, RIGHT_TO_LEFT, NUL, LONG)
N = 200
TRACE = f"{8:032x}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 requests with names that want out of their place; the first three were refused."""
    folder = tmp_path_factory.mktemp("runs")
    simulated = queues.simulate(N, 0.8, 5, settle=0)
    names = tuple(NAMES[i % len(NAMES)] for i in range(N))
    shown_runs.write_all(stored_queues.store(folder / RUN, replace(simulated, names=names), failed=3), ("json",))
    return folder


@pytest.fixture(scope="module")
def client(runs: Path) -> Iterator[httpx.Client]:
    with dashboard(runs, trace_link="http://traces.example/trace/{trace_id}") as made:
        yield made


def test_the_page_shows_the_latency_the_stages_and_the_waterfall(client: httpx.Client) -> None:
    page = client.get(f"/runs/{RUN}/requests/7").raise_for_status().text

    assert "<h1>Request 7</h1>" in page
    assert 'class="waterfall"' in page
    assert "answered as expected" in page
    assert f'href="http://traces.example/trace/{TRACE}" rel="noopener noreferrer"' in page


def test_a_failed_request_says_what_went_wrong(client: httpx.Client) -> None:
    page = client.get(f"/runs/{RUN}/requests/1").raise_for_status().text

    assert "connection refused" in page
    assert "answered as expected" not in page


@pytest.mark.parametrize(
    ("note", "said"), [("No spans of it.", "None is stored; the note above"), (None, "None is stored: its server half")]
)
def test_why_there_are_no_spans_stands_on_the_page_once(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, note: str | None, said: str
) -> None:
    known = request._waterfall

    def without_spans(run: StoredRun, number: int) -> tuple[Waterfall, Scenario]:
        waterfall, scenario = known(run, number)
        return replace(waterfall, bars=waterfall.bars[:1], note=note), scenario

    monkeypatch.setattr(request, "_waterfall", without_spans)
    page = client.get(f"/runs/{RUN}/requests/7").raise_for_status().text

    assert page.count("No spans of it.") == (1 if note else 0)
    assert said in page


@pytest.mark.parametrize("number", range(len(NAMES)))
def test_a_name_from_outside_stays_text(client: httpx.Client, number: int) -> None:
    page = client.get(f"/runs/{RUN}/requests/{number + 10}").raise_for_status().text

    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert len(page) < 150_000


@pytest.mark.parametrize("number", ["200", "-1", "x", "1e3", "9" * 40, "²"])
def test_a_request_that_is_not_there_is_told_so(client: httpx.Client, number: str) -> None:
    answer = client.get(f"/runs/{RUN}/requests/{number}")
    assert (answer.status_code, "<h1>There is no such request</h1>" in answer.text) == (404, True)
    assert client.get(f"/runs/{RUN}/requests/{number}/json").status_code == 404


@pytest.mark.parametrize("wanted", ["chrome", "speedscope", "otlp", "json"])
def test_the_request_can_be_taken_elsewhere(client: httpx.Client, wanted: str) -> None:
    answer = client.get(f"/runs/{RUN}/requests/7/{wanted}").raise_for_status()

    assert answer.headers["content-disposition"].startswith(f'attachment; filename="{RUN}-request-7-{wanted}.json')
    assert all(json.loads(line) for line in (answer.text.splitlines() if wanted == "otlp" else [answer.text]))


def test_the_raw_record_has_the_sample_its_ledger_row_and_its_spans(client: httpx.Client) -> None:
    found = client.get(f"/runs/{RUN}/requests/7/json").raise_for_status().json()

    assert (found["sample"]["request_id"], found["ledger"]["request_id"]) == (7, 7)
    assert {span["trace_id"] for span in found["spans"]} == {TRACE}


def test_an_unknown_format_is_refused_with_the_nearest_one(client: httpx.Client) -> None:
    answer = client.get(f"/runs/{RUN}/requests/7/chrom")

    assert answer.status_code == 400
    assert "did you mean" in answer.text.lower()


# --- what the page is made of ------------------------------------------------------------------------------


def test_the_neighbours_are_the_next_ones_by_latency_and_by_time(runs: Path) -> None:
    columns = read(RunFolder(runs / RUN))
    by_latency = columns.request_id[columns.by_latency].tolist()
    slowest = position_of(columns, by_latency[-1])
    assert slowest is not None

    found = neighbours(columns, slowest)
    first = neighbours(columns, 0)

    assert (found.slower, found.faster, found.rank, found.of) == (None, by_latency[-2], 1, N)
    assert (first.earlier, first.later, first.at_s) == (None, 1, 0.0)
    assert position_of(columns, N) is None


def a_waterfall(**stages: float | None) -> Waterfall:
    return Waterfall(1, TRACE, "read", "measure", True, "200", 0, 1.0, "marks", tuple(stages.items()), ())


def test_the_stages_add_up_to_the_latency() -> None:
    found = stage_sum(a_waterfall(connect=0.1, upload=0.2, inference=0.6, download=0.1, queue=None), None)

    assert found is not None
    assert [(row.stage, row.ms, row.share) for row in found.rows][2] == ("inference", "600.0", "60.0%")
    assert (found.total, found.latency, found.rest, found.unknown) == ("1,000.0", "1,000.0", None, ("queue",))


def test_the_transfer_stands_in_one_piece_where_its_parts_are_not_known() -> None:
    found = stage_sum(a_waterfall(connect=0.1, upload=None, inference=0.6, download=None), 0.4)

    assert found is not None
    assert [row.stage for row in found.rows] == ["transfer", "inference"]
    assert found.rest is None


def test_what_no_stage_accounts_for_is_said() -> None:
    found = stage_sum(a_waterfall(inference=0.6), None)

    assert found is not None
    assert found.rest == "400.0"
    assert stage_sum(a_waterfall(inference=None), None) is None


def urls(template: str | None, source: str = "otlp", address: str | None = None, trace: str = TRACE) -> list[str]:
    return [link.url for link in trace_links(trace, template, SpanSpec(source=source, address=address))]


def test_a_trace_is_linked_where_the_spans_came_from() -> None:
    assert urls(None, "jaeger", "http://jaeger:16686/") == [f"http://jaeger:16686/trace/{TRACE}"]
    assert urls(None, "tempo", "https://tempo") == [f"https://tempo/api/traces/{TRACE}"]
    assert urls(None) == []


@pytest.mark.parametrize(
    "template",
    ["javascript:alert('{trace_id}')", "data:text/html,{trace_id}", "//evil/{trace_id}", "http://[{trace_id}", "x"],
)
def test_a_link_that_is_no_web_page_is_none(template: str) -> None:
    assert urls(template) == []


def test_a_password_in_an_address_is_not_shown() -> None:
    assert urls(None, "jaeger", "http://me:secret@jaeger") == [f"http://jaeger/trace/{TRACE}"]


def test_a_trace_id_that_is_none_is_no_part_of_an_address() -> None:
    assert urls("http://traces/{trace_id}", trace="../../x") == []
