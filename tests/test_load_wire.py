"""Every way a server can answer, or not, ends in one sample: one run against a server that misbehaves by path."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pandas as pd
import pytest
from load_support import Ran, Server, a_request, a_scenario, misbehave, raw_server, run

from harness.model import BodySpec, Expect

LINES = (("lines[0].text", "~ (?i)total"), ("n", 3))
WRONG = (("lines[0].text", "~ ^nothing"), ("n", 3.5), ("missing.path", "x"))
KINDS = (
    a_request("ok"),
    a_request("hang", "/hang", timeout_s=0.4),
    a_request("reset", "/reset"),
    a_request("garbage", "/garbage"),
    a_request("cut", "/cut"),
    a_request("500", "/500"),
    a_request("wanted 500", "/500", expect=Expect(status=(500,))),
    a_request("redirect", "/redirect"),
    a_request("chunked", "/chunked"),
    a_request("close-delimited", "/close-delimited"),
    a_request("head", "/head", "HEAD"),
    a_request("interim", "/interim", "POST", body=BodySpec(json="{}")),
    a_request("gzip", "/gzip", expect=Expect(json=LINES), headers=(("Accept-Encoding", "gzip"),)),
    a_request("gzip wrong", "/gzip", expect=Expect(json=WRONG)),
    a_request("not json", "/ok", expect=Expect(json=(("n", 3),))),
    a_request("big", "/big"),
    a_request("too big", "/big", expect=Expect(max_bytes=100_000)),
    a_request("early", "/early", "POST", body=BodySpec(text="x" * 8_000_000)),
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with raw_server(misbehave) as running:
        yield running


@pytest.fixture(scope="module")
def outcome(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(a_scenario(server.url, *KINDS, rate=120.0, duration_s=1.5, seed=3), tmp_path_factory.mktemp("run"))


def of(outcome: Ran, name: str) -> pd.DataFrame:
    rows = outcome.samples[outcome.samples["name"] == name]
    assert len(rows) > 0, f"{name} was never drawn"
    return rows


def only(outcome: Ran, name: str, column: str) -> object:
    values = of(outcome, name)[column].unique().tolist()
    assert len(values) == 1, values
    return None if pd.isna(values[0]) else values[0]


def test_every_arrival_leaves_one_sample(outcome: Ran) -> None:
    assert sorted(outcome.samples["request_id"]) == list(range(180))  # 120/s for 1.5 s
    assert outcome.end["scheduled"] == outcome.end["sent"] == 180


def test_trace_and_span_ids_are_unique_and_reach_the_server(outcome: Ran, server: Server) -> None:
    sent = {f"00-{t}-{s}-01" for t, s in zip(outcome.samples["trace_id"], outcome.samples["span_id"], strict=True)}
    seen = [r.headers["traceparent"] for r in server.requests]

    assert len(sent) == 180
    assert set(seen) == sent
    assert outcome.samples["trace_id"].str.len().eq(32).all()


def test_requests_name_the_harness_and_the_run(outcome: Ran, server: Server) -> None:
    headers = server.requests[0].headers

    assert headers["x-mlharness-run"] == "run-1"
    assert headers["user-agent"].startswith("ml-harness/")
    assert "(load test run-1; ends with Ctrl-C" in headers["user-agent"]
    assert headers["host"] == f"127.0.0.1:{server.port}"


def test_instants_are_in_order(outcome: Ran) -> None:
    s = outcome.samples[outcome.samples["send_ns"].notna() & outcome.samples["first_byte_ns"].notna()]

    assert (s["scheduled_ns"] <= s["start_ns"]).all()
    assert (s["start_ns"] <= s["send_ns"]).all()
    assert (s["send_ns"] <= s["sent_ns"]).all()
    assert (s["send_ns"] <= s["first_byte_ns"]).all()
    assert (s["send_ns"] <= s["done_ns"]).all()
    assert (s["done_ns"] <= s["done_user_ns"]).all()
    assert (s["first_byte_ns"] <= s["done_user_ns"]).all()


def test_the_kernel_stamps_the_end_of_plain_answers(outcome: Ran) -> None:
    assert only(outcome, "ok", "done_source") == "kernel"
    assert only(outcome, "ok", "status") == 200
    assert only(outcome, "ok", "error") is None
    assert only(outcome, "ok", "failed_checks") is None


def test_a_server_that_hangs_costs_the_timeout(outcome: Ran) -> None:
    rows = of(outcome, "hang")

    assert only(outcome, "hang", "error") == "timeout"
    assert only(outcome, "hang", "status") is None
    assert (rows["done_ns"] - rows["start_ns"]).between(400_000_000, 900_000_000).all()


@pytest.mark.parametrize(
    ("name", "error", "status"),
    [
        ("reset", "connection reset", None),
        ("garbage", "not HTTP: Expected HTTP/, RTSP/ or ICE/", None),
        ("cut", "closed before the answer was complete", 200),
    ],
)
def test_a_broken_answer_is_an_error_with_a_short_name(outcome: Ran, name: str, error: str, status: object) -> None:
    assert only(outcome, name, "error") == error
    assert only(outcome, name, "status") == status
    assert outcome.end["errors"][error] == len(of(outcome, name))


def test_a_500_is_an_answer_that_fails_the_status_check(outcome: Ran) -> None:
    assert only(outcome, "500", "error") is None
    assert only(outcome, "500", "status") == 500
    assert only(outcome, "500", "failed_checks") == "status"
    assert only(outcome, "wanted 500", "failed_checks") is None
    assert outcome.end["errors"]["status 500"] == len(of(outcome, "500"))


def test_all_lines_of_server_timing_are_kept_trailers_too(outcome: Ran) -> None:
    assert only(outcome, "500", "server_timing") == "a;dur=1, b;dur=2"
    assert only(outcome, "chunked", "server_timing") == "late;dur=3"
    assert only(outcome, "ok", "server_timing") is None


def test_a_redirect_is_an_answer_and_not_followed(outcome: Ran) -> None:
    assert only(outcome, "redirect", "status") == 302
    assert only(outcome, "redirect", "failed_checks") == "status"


def test_a_chunked_answer_is_done_with_its_last_chunk(outcome: Ran) -> None:
    rows = of(outcome, "chunked")

    assert only(outcome, "chunked", "error") is None
    assert (rows["done_ns"] - rows["sent_ns"] >= 55_000_000).all()  # the last chunk comes 60 ms later


def test_a_close_delimited_answer_ends_with_the_connection(outcome: Ran) -> None:
    assert only(outcome, "close-delimited", "error") is None
    assert only(outcome, "close-delimited", "status") == 200
    assert only(outcome, "close-delimited", "done_source") == "user"  # a FIN carries no stamp


def test_the_answer_to_head_has_no_body_whatever_it_announces(outcome: Ran) -> None:
    assert only(outcome, "head", "error") is None
    assert (of(outcome, "head")["bytes_received"] < 100).all()


def test_the_first_byte_is_that_of_the_answer_not_of_an_interim_one(outcome: Ran) -> None:
    rows = of(outcome, "interim")

    assert only(outcome, "interim", "status") == 200
    assert (rows["first_byte_ns"] - rows["sent_ns"] >= 55_000_000).all()  # 60 ms after "100 Continue"


def test_json_checks_look_into_a_gzipped_answer(outcome: Ran) -> None:
    assert only(outcome, "gzip", "failed_checks") is None
    assert only(outcome, "gzip wrong", "failed_checks") == "json:lines[0].text,json:n,json:missing.path"
    assert only(outcome, "not json", "failed_checks") == "json:n"


def test_a_big_answer_is_counted_to_its_last_byte(outcome: Ran) -> None:
    received = of(outcome, "big")["bytes_received"] - 5_000_000

    assert only(outcome, "big", "error") is None
    assert received.between(30, 100).all()  # the head


def test_an_answer_beyond_its_limit_is_cut_and_fails_its_check(outcome: Ran) -> None:
    assert only(outcome, "too big", "failed_checks") == "max_bytes"
    assert (of(outcome, "too big")["bytes_received"] < 5_000_000).all()


def test_an_answer_before_the_body_was_sent_ends_the_upload(outcome: Ran) -> None:
    rows = of(outcome, "early")

    assert only(outcome, "early", "status") == 413
    assert only(outcome, "early", "failed_checks") == "status"
    assert (rows["bytes_sent"] < 8_000_000).all()
    assert (rows["done_ns"] - rows["start_ns"] < 1_000_000_000).all()


def test_a_kept_connection_is_used_again_and_a_broken_one_is_not(outcome: Ran, server: Server) -> None:
    ok = of(outcome, "ok").sort_values("send_ns")

    assert ok["connected_ns"].isna().any()
    after_reset = {r.connection for r in server.requests if r.path in {"/reset", "/cut", "/close-delimited"}}
    last_uses = {c: [r.path for r in server.requests if r.connection == c][-1] for c in after_reset}
    assert set(last_uses.values()) <= {"/reset", "/cut", "/close-delimited"}


def test_the_end_line_carries_the_generators_own_health(outcome: Ran) -> None:
    readings = {r["name"]: r for r in outcome.end["readings"]}

    assert {"lateness_p50", "lateness_p99", "lateness_max", "hub_lag_p99", "cpu", "descriptors"} <= set(readings)
    assert {"gc_total", "gc_max", "clock_drift"} <= set(readings)
    assert 0 <= readings["lateness_p50"]["value"] < 0.1
    assert 0 < readings["cpu"]["value"] < 1.2
    assert all({"name", "value", "unit", "suspect", "invalid", "meaning"} <= set(r) for r in readings.values())


def test_the_end_line_says_when_the_measurement_was(outcome: Ran) -> None:
    end = outcome.end

    assert end["measured_from_ns"] == end["started_ns"]  # no warm-up
    assert end["measured_until_ns"] - end["measured_from_ns"] == 1_500_000_000
    assert end["ended_ns"] <= time.time_ns()
    assert end["interrupted"] is False


def test_progress_lines_carry_the_live_figures(outcome: Ran) -> None:
    lines = [x for x in outcome.lines if x["kind"] == "progress"]
    line = [x for x in lines if x["phase"] != "drain"][-1]

    assert line["total_s"] == 1.5
    assert line["phase"] == "measure"
    assert line["sent"] >= line["ok"] + line["failed"] > 0
    assert 0 < line["p50_s"] <= line["p95_s"]
    assert {"elapsed_s", "step", "scheduled", "censored", "in_flight", "backlog", "rate_per_s", "errors"} <= set(line)
