"""The schedule is kept whatever the server does, and what waits is counted from the scheduled instant."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from load_support import OK, Ran, Request, a_request, a_scenario, raw_server, run


async def answer_late_and_close(request: Request) -> bool:
    await asyncio.sleep(0.1)
    request.writer.write(OK)
    return False


def test_a_stalled_server_shows_in_latency_from_the_scheduled_instant(tmp_path: Path) -> None:
    # 50/s for 3 s; from the 50th request on the server is frozen for 1 s. Arrival 50 + k waits 1 - k * 0.02 s:
    # 25 of them more than 0.51 s, and with 150 in all the 15th largest, k = 14, is p90 = 0.72 s.
    frozen_until = [0.0]
    seen = [0]

    async def freeze_once(request: Request) -> bool:
        seen[0] += 1
        if seen[0] == 51:
            frozen_until[0] = time.monotonic() + 1.0
        await asyncio.sleep(max(0.0, frozen_until[0] - time.monotonic()))
        request.writer.write(OK)
        return True

    with raw_server(freeze_once) as server:
        outcome = run(a_scenario(server.url, rate=50.0, duration_s=3.0), tmp_path)

    latency_s = (outcome.samples["done_ns"] - outcome.samples["scheduled_ns"]) / 1e9
    backlog_s = (outcome.samples["start_ns"] - outcome.samples["scheduled_ns"]) / 1e9
    assert len(latency_s) == 150
    assert 22 <= (latency_s > 0.51).sum() <= 30
    assert 0.66 <= latency_s.sort_values().iloc[-15] <= 0.85
    assert backlog_s.quantile(0.9) < 0.1  # more sessions were opened instead of waiting for the stalled ones
    assert outcome.end["readings"][0]["value"] < 0.1


@pytest.fixture(scope="module")
def one_session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, int]:
    """One session, an arrival every 50 ms, 0.25 s of them warm-up; each answer takes 100 ms and is followed by a close
    that nobody announced. Also the number of requests the server read."""
    with raw_server(answer_late_and_close) as server:
        scenario = a_scenario(server.url, rate=20.0, warmup_s=0.25, duration_s=0.25)
        outcome = run(scenario, tmp_path_factory.mktemp("run"), max_sessions=1)
        return outcome, len(server.requests)


def test_arrivals_that_find_the_pool_full_wait_as_backlog(one_session: tuple[Ran, int]) -> None:
    # Request i is taken at i * 0.1 s at the earliest, so it waited i * 0.05 s: the tenth 0.45 s.
    s = one_session[0].samples.sort_values("request_id")
    backlog_s = (s["start_ns"] - s["scheduled_ns"]) / 1e9
    service_s = (s["done_ns"] - s["start_ns"]) / 1e9

    assert 0.44 <= backlog_s.iloc[9] <= 1.2
    assert service_s.median() < 0.2


def test_a_kept_connection_that_died_costs_a_resend_counted_as_connect(one_session: tuple[Ran, int]) -> None:
    outcome, seen = one_session
    s = outcome.samples.sort_values("request_id")

    assert s["error"].isna().all()
    assert s["attempts"].tolist() == [1] + [2] * 9
    assert s["connected_ns"].notna().all()
    assert (s["start_ns"] <= s["resolved_ns"]).all()
    assert (s["resolved_ns"] <= s["tcp_ns"]).all()
    assert (s["tcp_ns"] <= s["connected_ns"]).all()
    assert (s["connected_ns"] <= s["send_ns"]).all()
    assert seen == 10  # no request was answered twice


def test_the_warm_up_is_told_by_the_scheduled_instant(one_session: tuple[Ran, int]) -> None:
    outcome, _ = one_session

    assert outcome.samples.sort_values("request_id")["phase"].tolist() == ["warmup"] * 5 + ["measure"] * 5
    assert outcome.end["measured_from_ns"] - outcome.end["started_ns"] == 250_000_000


def test_requests_in_flight_after_the_drain_are_kept_as_censored(tmp_path: Path) -> None:
    async def hang(request: Request) -> bool:
        await asyncio.sleep(30)
        return True

    with raw_server(hang) as server:
        kind = a_request(timeout_s=20.0)
        outcome = run(a_scenario(server.url, kind, rate=20.0, duration_s=0.2, drain_s=0.3), tmp_path, max_sessions=2)

    s = outcome.samples.sort_values("request_id")
    assert s["censored"].tolist() == [True] * 4
    assert s["error"].isna().all()
    assert s["status"].isna().all()
    assert s["send_ns"].isna().tolist() == [False, False, True, True]  # two never found a session
    assert outcome.end["censored"] == 4
    assert outcome.end["ok"] == 0
