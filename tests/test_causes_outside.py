"""The event loop, the way to the service and back, and the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from facts_builders import a_reading, attributes_of, facts_of, rows_of, vitals_of, waits_of

from harness.analysis.causes import find
from harness.analysis.facts import Facts
from harness.diagnosis import Cause
from harness.findings import Health, HealthState
from harness.model import RunWarning

LATE = (RunWarning("taken_late", "", ""),)


def codes(facts: Facts) -> list[str]:
    return [cause.code for cause in find(facts)]


def first(facts: Facts) -> Cause:
    return find(facts)[0]


# --- the event loop ----------------------------------------------------------------------------------------


def blocked(back_ms: float = 25.0, upload_ms: float = 30.0, other_ms: float = 50.0, **changes: Any) -> Facts:
    rows = rows_of(queue=back_ms, upload=upload_ms, other=other_ms, inference=30.0)
    known = {"waits": waits_of(rows, "event_loop"), "vitals": vitals_of(lag_ms=80.0)}
    return facts_of(rows, **{**known, **changes})


def test_a_blocked_event_loop_costs_what_waits_for_it_and_what_blocks_it() -> None:
    (cause,) = find(blocked())

    assert (cause.code, cause.resource) == ("event_loop", "event_loop")
    assert cause.cost_s == pytest.approx(0.105)
    assert "median 80.0 ms" in cause.evidence[0]


def test_a_loop_on_time_is_not_blocked_whatever_else_takes_time() -> None:
    assert "event_loop" not in codes(blocked(vitals=vitals_of(lag_ms=4.0)))
    assert codes(blocked(vitals=vitals_of(lag_ms=19.0), upload_ms=5.0, other_ms=1.0)) == []


def test_a_late_loop_that_costs_nobody_much_is_no_cause() -> None:
    assert codes(blocked(back_ms=1.0, upload_ms=1.0, other_ms=1.0)) == []


def test_on_a_machine_without_a_free_core_only_unclaimed_time_tells_a_blocked_loop() -> None:
    health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", 1.0, None, None),), ())

    assert codes(blocked(health=health)) == ["event_loop"]
    assert "event_loop" not in codes(blocked(other_ms=5.0, health=health))


def test_rare_but_long_delays_count_when_a_third_of_the_readings_has_them() -> None:
    often, seldom = [200.0] * 4 + [1.0] * 8, [200.0] * 3 + [1.0] * 9

    assert codes(blocked(vitals=vitals_of(lag_ms=often)))[0] == "event_loop"
    assert "event_loop" not in codes(blocked(vitals=vitals_of(lag_ms=seldom)))


def test_without_vitals_the_waits_for_the_loop_must_say_it() -> None:
    assert codes(blocked(vitals=vitals_of())) == ["event_loop"]  # 25 of 135 ms
    assert "event_loop" not in codes(blocked(back_ms=15.0, vitals=vitals_of()))
    assert codes(blocked(back_ms=15.0, vitals=vitals_of(), warnings=LATE)) == ["event_loop"]


def test_requests_that_are_taken_late_by_an_unknown_service_need_more_workers() -> None:
    rows = rows_of(upload=60.0, inference=40.0)

    assert codes(facts_of(rows, warnings=LATE)) == ["taken_late"]
    assert codes(facts_of(rows, warnings=LATE, vitals=vitals_of(lag_ms=1.0))) == []


def test_small_requests_that_wait_on_a_machine_without_a_free_core_are_not_told_to_send_less() -> None:
    health = Health(HealthState.HEALTHY, (a_reading("cpu_machine", 1.0, None, None),), ())
    rows = rows_of(upload=500.0, inference=50.0)
    (cause,) = find(facts_of(rows, warnings=LATE, vitals=vitals_of(lag_ms=370.0), health=health))

    assert cause.code == "taken_late"
    assert "no core left" in cause.sentence
    assert "machines of their own" in cause.remedy


def test_one_blocked_loop_of_four_is_found_and_its_process_named() -> None:
    mine = np.arange(200) % 4 == 0
    rows = rows_of(upload=np.where(mine, 400.0, 0.3), inference=30.0)
    vitals = pd.concat([vitals_of(process=f"w/{i}", lag_ms=500.0 if i == 0 else 2.0) for i in range(4)])
    (cause,) = find(facts_of(rows, vitals=vitals, warnings=LATE))

    assert cause.code == "event_loop"
    assert "1 of 4 service processes (w/0)" in cause.sentence
    assert "in 100% of 12 readings" in cause.evidence[0]


def test_an_await_that_nobody_marked_is_not_charged_to_a_loop_that_is_late_now_and_then() -> None:
    other = 55.0 * np.random.default_rng(3).lognormal(0, 0.2, 200)
    rows = rows_of(upload=0.5, inference=23.0, other=other, rate=3.0)

    assert "event_loop" not in codes(facts_of(rows, vitals=vitals_of(lag_ms=23.5)))
    assert codes(facts_of(rows, vitals=vitals_of(lag_ms=50.0))) == ["event_loop"]


def test_four_readings_of_the_loop_say_nothing() -> None:
    rows = rows_of(upload=60.0, other=50.0, inference=20.0)

    assert "event_loop" not in codes(facts_of(rows, vitals=vitals_of(4, lag_ms=80.0)))
    assert codes(facts_of(rows, vitals=vitals_of(5, lag_ms=80.0))) == ["event_loop"]


def test_large_bodies_of_one_size_prove_no_wait_for_the_loop() -> None:
    rows = rows_of(upload=60.0, inference=45.0, other=1.0, rate=3.0)

    assert codes(facts_of(rows, attributes=attributes_of(rows, bytes_sent=4e5), vitals=vitals_of(lag_ms=46.0))) == [
        "upload"
    ]
    assert codes(facts_of(rows, attributes=attributes_of(rows, bytes_sent=4e3), vitals=vitals_of(lag_ms=46.0))) == [
        "event_loop"
    ]


# --- the way -----------------------------------------------------------------------------------------------


def test_the_way_to_the_service_is_told_with_its_speed() -> None:
    rows = rows_of(upload=100.0, inference=100.0)
    (cause,) = find(facts_of(rows, attributes=attributes_of(rows, bytes_sent=400_000.0)))

    assert (cause.code, cause.stage) == ("upload", "upload")
    assert cause.cost_s == pytest.approx(0.1)
    assert "391 KiB on average at 3.81 MiB/s" in cause.sentence


def test_an_upload_that_grows_with_the_bytes_is_no_wait_for_the_loop() -> None:
    size = np.linspace(10_000, 60_000, 200)
    rows = rows_of(upload=size / 500, inference=30.0)
    facts = facts_of(
        rows, attributes=attributes_of(rows, bytes_sent=size), vitals=vitals_of(lag_ms=30.0), warnings=LATE
    )

    assert codes(facts) == ["upload"]


def test_the_way_back_is_told_from_four_tenths_of_the_latency_on() -> None:
    silent, told = (rows_of(download=ms, inference=60.0) for ms in (39.0, 41.0))

    assert codes(facts_of(silent, attributes=attributes_of(silent, bytes_received=4e5))) == []
    cause = first(facts_of(told, attributes=attributes_of(told, bytes_received=4e5)))
    assert (cause.code, cause.stage) == ("download", "download")


def test_a_way_that_is_not_known_is_no_cause() -> None:
    assert codes(facts_of(rows_of(upload=np.nan, download=np.nan, inference=30.0))) == []


def test_forty_milliseconds_and_nothing_around_them_are_a_held_back_acknowledgement() -> None:
    download = np.where(np.arange(200) % 4 == 0, 40.5, 0.3)
    rows = rows_of(download=download, inference=20.0)
    (cause,) = find(facts_of(rows))

    assert (cause.code, cause.stage) == ("delayed_ack", "download")
    assert "50 of 200 requests" in cause.evidence[0]


def test_a_way_that_is_slow_for_all_is_no_timer() -> None:
    random = np.random.default_rng(3)

    assert "delayed_ack" not in codes(facts_of(rows_of(download=random.uniform(20, 60, 200), inference=20.0)))
    assert "delayed_ack" not in codes(facts_of(rows_of(download=np.where(np.arange(200) % 10 == 0, 40.5, 0.3))))


def test_a_network_of_eighty_milliseconds_is_no_held_back_acknowledgement() -> None:
    both, noise = np.full(200, 42.0), np.random.default_rng(3).normal(0, 0.4, 200)

    assert "delayed_ack" not in codes(facts_of(rows_of(upload=both + noise, download=both - noise, inference=25.0)))
    assert "delayed_ack" not in codes(facts_of(rows_of(download=both + noise, inference=25.0)))


def test_answers_that_pause_by_design_are_no_held_back_acknowledgement() -> None:
    streams = np.arange(200) % 3 == 0
    rows = rows_of(download=np.where(streams, 40.5, 0.3), inference=20.0)

    assert "delayed_ack" not in codes(facts_of(rows.assign(name=np.where(streams, "stream", "read"))))
    assert codes(facts_of(rows)) == ["delayed_ack"]


def test_most_of_the_time_is_more_than_half_of_it() -> None:
    rows = [rows_of(**{stage: ms, "inference": 60.0}) for stage in ("upload", "download") for ms in (45.0, 61.0)]
    said = [first(facts_of(r, attributes=attributes_of(r, bytes_sent=4e5))).sentence for r in rows]

    assert ["most" in sentence for sentence in said] == [False, True, False, True]


def test_connections_made_anew_are_told_with_how_many_there_were() -> None:
    rows = rows_of(connect=np.where(np.arange(200) % 2 == 0, 60.0, 0.0), inference=60.0)
    (cause,) = find(facts_of(rows))

    assert (cause.code, cause.stage) == ("connections", "connect")
    assert cause.cost_s == pytest.approx(0.03)
    assert "50%" in cause.sentence
    assert codes(facts_of(rows_of(connect=10.0, inference=60.0))) == []


def test_requests_sent_twice_are_no_new_connections() -> None:
    rows = rows_of(connect=np.where(np.arange(200) % 2 == 0, 60.0, 0.0), inference=60.0)
    again = attributes_of(rows, resent=np.arange(200) % 2 == 0)
    facts = facts_of(rows, attributes=again, warnings=(RunWarning("resent", "", ""),))

    assert codes(facts) == ["retries"]
    assert codes(replace(facts, warnings=())) == ["connections"]


# --- the generator -----------------------------------------------------------------------------------------


def late_generator(late_s: float, backlog_ms: float, state: HealthState, **changes: Any) -> Facts:
    health = Health(state, (a_reading("lateness_p99", late_s),), ())
    return facts_of(rows_of(backlog=backlog_ms, upload=80.0, inference=50.0), health=health, **changes)


def test_an_invalid_generator_comes_first_and_silences_what_its_delays_look_like() -> None:
    (cause,) = find(late_generator(0.4, 100.0, HealthState.INVALID))

    assert (cause.code, cause.stage) == ("generator", "backlog")
    assert cause.cost_s == pytest.approx(0.1)
    assert "lateness_p99 400 ms" in cause.sentence
    assert cause.remedy == "what to do"


def test_a_generator_that_was_late_now_and_then_does_not_stand_before_what_the_service_does() -> None:
    assert codes(late_generator(0.4, 3.0, HealthState.INVALID)) == ["upload", "generator"]


def test_a_suspect_generator_is_a_cause_only_when_it_shows_in_the_latency() -> None:
    assert codes(late_generator(0.04, 1.0, HealthState.SUSPECT)) == ["upload"]
    assert codes(late_generator(0.04, 35.0, HealthState.SUSPECT)) == ["generator"]


def test_waiting_for_a_busy_session_is_not_the_fault_of_the_generator() -> None:
    assert "generator" not in codes(late_generator(0.001, 500.0, HealthState.HEALTHY))
    assert "generator" not in codes(late_generator(0.02, 500.0, HealthState.SUSPECT))  # late by 20 ms, waits 500


def test_an_invalid_generator_is_told_without_any_request_to_look_at() -> None:
    facts = late_generator(0.4, 0.0, HealthState.INVALID)

    assert codes(replace(facts, rows=facts.rows.iloc[:0], attributes=facts.attributes.iloc[:0])) == ["generator"]
