"""Single requests: the client's phases, the service's spans, and the numbers of the ledger in both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import ClockOffset
from harness.model import SERVER_STAGES
from harness.views import Bar
from harness.waterfall import of_requests, write_clock
from harness.windows import Offsets
from tests import simulated_queues as queues
from tests import stored_queues
from tests.waterfall_builders import (
    ONE_CLOCK,
    RECORD,
    ROOT,
    a_chain,
    a_root,
    a_sample,
    a_scenario,
    a_span,
    at,
    bars,
    concluded,
    seen,
    store,
    trace,
)

BEHIND: Offsets = ((None, ClockOffset(5_000_000, 3_000_000, False, 0, 10)),)
OURS = f'mlharness;desc="1 {trace(0)} a000000000000000 {at(10)} -", total;dur=80.0, queue;dur=10.0, inference;dur=50.0'


def ms(bar: Bar) -> tuple[float, float]:
    return round(bar.from_s * 1e3, 6), round(bar.until_s * 1e3, 6)


def drawn(found: list[Bar]) -> dict[str, tuple[float, float]]:
    return {bar.label: ms(bar) for bar in found}


# --- the client --------------------------------------------------------------------------------------------


def test_the_phases_of_the_client_follow_each_other(tmp_path: Path) -> None:
    found = bars(seen(tmp_path, a_sample(resolved_ns=at(1.5)), a_chain()), "client")

    assert drawn([bar for bar in found if bar.depth == 0]) == {
        "waiting for a free session": (0, 1), "connect": (1, 3), "writing the request": (3, 4),
        "waiting for the first byte": (4, 98), "reading the answer": (98, 100),
    }  # fmt: skip
    assert drawn([bar for bar in found if bar.depth == 1]) == {
        "name lookup": (1, 1.5), "TCP": (1.5, 2), "on the way, or not yet taken": (4, 10),
        "on the way back": (90, 98),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "connected_ms", "drawn_as"),
    [
        ("https://127.0.0.1", 2.03, "TLS"),
        ("HTTPS://127.0.0.1", 2.5, "TLS"),
        ("http://127.0.0.1", 2.03, None),
        ("http://127.0.0.1", 2.5, "connection ready"),
    ],
)
def test_only_a_connection_with_tls_has_a_row_of_it(
    tmp_path: Path, target: str, connected_ms: float, drawn_as: str | None
) -> None:
    scenario = replace(a_scenario(), target=target)

    found = drawn(bars(seen(tmp_path, a_sample(connected_ns=at(connected_ms)), scenario=scenario), "client"))

    assert {name: found[name] for name in ("TLS", "connection ready") if name in found} == (
        {} if drawn_as is None else {drawn_as: (2, connected_ms)}
    )


def test_a_reused_connection_has_no_parts(tmp_path: Path) -> None:
    found = drawn(bars(seen(tmp_path, a_sample(resolved_ns=None, tcp_ns=None, connected_ns=None)), "client"))

    assert found["connection reused"] == (1, 3)
    assert "TCP" not in found


def test_a_refused_request_is_all_connecting(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("send_ns", "sent_ns", "first_byte_ns", "status", "connected_ns", "tcp_ns"))
    found = seen(tmp_path, a_sample(**nothing, error="connection refused", done_ns=at(2)))

    assert drawn(list(found.bars)) == {"waiting for a free session": (0, 1), "connect": (1, 2)}
    assert (found.outcome, found.ok) == ("connection refused", False)
    assert found.note == "No server part: nothing was written to the service."


def test_the_estimated_wait_stands_right_before_the_window(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample()], a_chain())
    ledger = concluded(folder).rows.assign(queue_est_s=0.004)

    (found,) = of_requests(folder, a_scenario(), RECORD, [0], ONE_CLOCK, ledger=ledger)

    assert drawn(bars(found, "client", "queue_est")) == {"waiting to be taken (estimated)": (6, 10)}
    assert drawn(bars(found, "client", "upload"))["on the way to the service"] == (4, 6)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"status": 200}, "200"),
        ({"status": 503, "failed_checks": "status"}, "503, failed check: status"),
        ({"status": 200, "failed_checks": "json:a,json:b"}, "200, failed checks: json:a, json:b"),
        ({"status": None, "error": "timeout"}, "timeout"),
        ({"status": None, "censored": True}, "still in flight when the run ended"),
    ],
)
def test_what_came_of_a_request_is_said(tmp_path: Path, changes: dict[str, object], outcome: str) -> None:
    assert seen(tmp_path, a_sample(**changes)).outcome == outcome


# --- the service -------------------------------------------------------------------------------------------


def test_the_spans_of_the_service_stand_below_their_parents(tmp_path: Path) -> None:
    found = bars(seen(tmp_path, a_sample(), a_chain()), "server")

    assert [(bar.depth, bar.label, bar.stage, *ms(bar)) for bar in found] == [
        (0, "POST /v1/read", None, 10, 90),
        (1, "wait: threadpool", "queue", 10, 20),
        (1, "decode", "preprocess", 20, 30),
        (1, "detect · det", "inference", 32, 70),
        (2, "session.run", None, 35, 65),
        (1, "boxes", "postprocess", 70, 85),
        (1, "other: nobody claims it", "other", 30, 32),
        (1, "other: nobody claims it", "other", 85, 90),
    ]


def test_bars_add_up_to_the_ledger_of_a_simulated_run(tmp_path: Path) -> None:
    path = stored_queues.store(tmp_path / "run", queues.simulate(120, 0.7, 3, servers=2, settle=50))
    folder = store(tmp_path / "other", [])
    folder = type(folder)(path)
    rows = concluded(folder, scenario := a_scenario()).rows.set_index("request_id")

    found = of_requests(folder, scenario, RECORD, list(range(0, 120, 10)))

    assert len(found) == 12
    for each in found:
        row = rows.loc[each.request_id]
        for stage in (*SERVER_STAGES, "other"):
            spent = sum(bar.until_s - bar.from_s for bar in bars(each, "server", stage))
            assert spent == pytest.approx(row[f"{stage}_s"], abs=1e-6)
        for stage in ("upload", "download", "backlog", "connect"):
            spent = sum(bar.until_s - bar.from_s for bar in bars(each, "client", stage) if bar.depth < 2)
            assert spent == pytest.approx(row[f"{stage}_s"], abs=1e-6)
        assert dict(each.stages)["inference"] == row["inference_s"]


def test_the_bars_of_another_host_are_moved_by_its_stored_clock(tmp_path: Path) -> None:
    ahead = [replace(span, start_ns=span.start_ns + 5_000_000, end_ns=span.end_ns + 5_000_000) for span in a_chain()]
    folder = store(tmp_path, [a_sample()], ahead)
    write_clock(folder, BEHIND)

    (found,) = of_requests(folder, a_scenario(), RECORD, [0])

    assert ms(bars(found, "server")[0]) == (10, 90)
    assert {bar.uncertain_s for bar in bars(found, "server")} == {0.003}
    assert found.note == "The service has another clock: its part may stand up to 3.00 ms earlier or later."


def test_a_window_without_a_clock_stands_in_the_middle_of_where_it_may(tmp_path: Path) -> None:
    found = seen(tmp_path, a_sample(), a_chain(), ((None, None),))

    # 97 ms of exchange from 3 on less 80 ms of work: 8.5 ms on either side.
    assert ms(bars(found, "server")[0]) == (11.5, 91.5)
    assert bars(found, "server")[0].uncertain_s == 0.0085
    assert "± 8.50 ms" in (found.note or "")


def test_a_service_that_goes_on_after_a_timeout_is_drawn_until_it_ends(tmp_path: Path) -> None:
    gave_up = {"status": None, "error": "timeout", "first_byte_ns": None, "done_ns": at(50), "done_user_ns": at(50)}
    found = seen(tmp_path, a_sample(**gave_up), a_chain())

    assert drawn(bars(found, "server"))["in the service"] == (10, 50)
    assert drawn(bars(found, "server"))["POST /v1/read"] == (10, 90)
    assert "worked 40.0 ms outside of the exchange" in (found.note or "")


def test_what_lies_far_outside_is_cut_or_left_out(tmp_path: Path) -> None:
    late = [a_span("mail", 150, 900, parent_id=ROOT), a_span("clean up", 400, 500, parent_id=ROOT)]
    found = seen(tmp_path, a_sample(), [*a_chain(), *late])

    assert drawn(bars(found, "server"))["mail"] == (150, 200)
    assert ("from, until", "150 ms, 900 ms") in next(bar for bar in found.bars if bar.label == "mail").details
    assert "Not drawn: 1 span long before or after the request." in (found.note or "")


def test_stretches_that_nobody_claims_and_nobody_sees_are_counted(tmp_path: Path) -> None:
    many = [
        a_span("s", 10 + n, 10.5 + n, parent_id=ROOT, span_id=f"{n + 1:016x}", stage="inference") for n in range(79)
    ]
    found = seen(tmp_path, a_sample(), [a_root(), *many])

    assert len(bars(found, "server", "other")) == 60
    assert found.note == "Not drawn: 19 of the shortest stretches that nobody claims."


# --- without spans -----------------------------------------------------------------------------------------


def test_durations_of_a_header_are_drawn_one_after_the_other(tmp_path: Path) -> None:
    found = seen(tmp_path, a_sample(server_timing=OURS), scenario=a_scenario("auto"))

    assert [(bar.label, *ms(bar)) for bar in bars(found, "server")] == [
        ("in the service", 10, 90),
        ("queue", 10, 20),
        ("inference", 20, 70),
        ("other: nobody claims it", 70, 90),
    ]
    assert "not when" in (found.note or "")


def test_a_foreign_header_has_no_place_of_its_own(tmp_path: Path) -> None:
    sample = a_sample(server_timing="total;dur=60, inference;dur=40, db;dur=3")
    found = seen(tmp_path, sample, scenario=a_scenario("auto"))

    assert (found.split, dict(found.stages)["upload"]) == ("durations", None)
    assert ms(bars(found, "server", "inference")[0]) == (21.5, 61.5)
    assert bars(found, "client", "upload") == []


@pytest.mark.parametrize(
    ("source", "header", "why"),
    [
        ("none", None, "none was asked for"),
        ("otlp", None, "no span of it arrived"),
        ("otlp", "total;dur=60", "the scenario takes nothing else"),
        ("auto", OURS.replace(' -"', ' - streamed"'), "was streamed"),
    ],
)
def test_why_there_is_no_server_part_is_said(tmp_path: Path, source: str, header: str | None, why: str) -> None:
    found = seen(tmp_path, a_sample(server_timing=header), scenario=a_scenario(source))

    assert bars(found, "server") == []
    assert why in (found.note or "")
    assert {bar.stage for bar in bars(found, "client")} == {"backlog", "connect", "unsplit"}


def test_spans_without_their_root_are_drawn_and_charged_to_nobody(tmp_path: Path) -> None:
    found = seen(tmp_path, a_sample(), a_chain()[1:])

    assert found.split == "none"
    assert drawn(bars(found, "server"))["detect · det"] == (32, 70)
    assert "never arrived" in (found.note or "")


def test_a_request_that_lacks_announced_spans_says_so(tmp_path: Path) -> None:
    root = a_root(attributes={"harness.split": "marks", "harness.spans": 9})
    found = seen(tmp_path, a_sample(), [root, *a_chain()[1:]])

    assert "Not all spans" in (found.note or "")
    assert drawn(bars(found, "server"))["boxes"] == (70, 85)


# --- which requests ----------------------------------------------------------------------------------------


def test_requests_come_in_the_order_asked_for_and_unknown_ones_are_left_out(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample(number) for number in range(3)])

    found = of_requests(folder, a_scenario(), RECORD, [2, 99, 0, -5, 2**70])

    assert [each.request_id for each in found] == [2, 0]


def test_a_request_in_flight_at_the_end_has_a_waterfall_but_no_stages(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample(status=None, first_byte_ns=None, censored=True)], a_chain())
    concluded(folder)

    (found,) = of_requests(folder, a_scenario(), RECORD, [0])

    assert set(dict(found.stages).values()) == {None}
    assert drawn(bars(found, "server"))["detect · det"] == (32, 70)
    assert found.note == "Still in flight when the run ended: no stage is charged for it."


def test_the_members_of_a_batch_are_beside_each_other(tmp_path: Path) -> None:
    told = {"harness.model": "det", "harness.batch_id": "b7", "harness.batch_size": 2}
    spans = []
    for number in range(3):
        batch = told if number < 2 else {**told, "harness.batch_id": "b8"}
        spans += [a_root(number=number), a_span("detect", 20, 70, number=number, parent_id=ROOT, stage="inference",
                                                attributes=batch)]  # fmt: skip
    folder = store(tmp_path, [a_sample(number) for number in range(3)], spans)
    concluded(folder)

    found = of_requests(folder, a_scenario(), RECORD, [0, 1, 2])

    assert [each.beside for each in found] == [(1,), (0,), ()]
    assert bars(found[0], "server", "inference")[0].label == "detect · det · batch of 2"
    assert ("batch", "b7") in bars(found[0], "server", "inference")[0].details


def test_damaged_files_beside_the_run_cost_what_they_tell(tmp_path: Path) -> None:
    folder = store(tmp_path, [a_sample()], a_chain())
    concluded(folder)
    for name in ("clock.json", "model_calls.parquet"):
        (tmp_path / name).write_bytes(b"damaged")

    (found,) = of_requests(folder, a_scenario(), RECORD, [0])

    assert ms(bars(found, "server")[0]) == (10, 90)
