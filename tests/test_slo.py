"""What the SLO language reads."""

from __future__ import annotations

import pytest

from harness.model import STAGES, LedgerRow, columns
from harness.slo import Slo, Where, needs_server_half, parse_slo, parse_slos, requests_needed


def test_a_percentile_of_the_latency_is_read() -> None:
    assert parse_slo("p95(latency) < 1s") == Slo("p95(latency) < 1s", "p95", "latency", "<", 1.0, "s")


def test_blanks_do_not_matter() -> None:
    assert parse_slo("  p95 ( latency )<=600 ms ") == Slo("p95 ( latency )<=600 ms", "p95", "latency", "<=", 0.6, "s")


@pytest.mark.parametrize(
    ("text", "statistic", "subject", "op", "limit", "unit"),
    [
        ("mean(inference) < 600ms", "mean", "inference", "<", 0.6, "s"),
        ("max(service) <= 2s", "max", "service", "<=", 2.0, "s"),
        ("share(transfer) < 25%", "share", "transfer", "<", 0.25, "ratio"),
        ("error_rate < 2%", "error_rate", None, "<", 0.02, "ratio"),
        ("error_rate ≤ 0%", "error_rate", None, "<=", 0.0, "ratio"),
        ("completed > 98%", "completed", None, ">", 0.98, "ratio"),
        ("completed >= 100%", "completed", None, ">=", 1.0, "ratio"),
        ("cv(latency) < 0.5", "cv", "latency", "<", 0.5, ""),
        ("max(call) < 80ms", "max", "call", "<", 0.08, "s"),
        ("share(ok) ≥ 99%", "share", "ok", ">=", 0.99, "ratio"),
        ("count(ok) > 500", "count", "ok", ">", 500.0, ""),
        ("count(clipped) <= 0", "count", "clipped", "<=", 0.0, ""),
        ("rate(inference) > 18/s", "rate", "inference", ">", 18.0, "1/s"),
        ("check_rate > 99%", "check_rate", None, ">", 0.99, "ratio"),
        ("throughput >= 1200/min", "throughput", None, ">=", 20.0, "1/s"),
        ("coverage > 98%", "coverage", None, ">", 0.98, "ratio"),
        ("peak(rss) < 2GiB", "peak", "rss", "<", 2.0 * 1024**3, "B"),
        ("mean(cpu) < 250%", "mean", "cpu", "<", 2.5, "ratio"),
        ("max(threads) <= 40", "max", "threads", "<=", 40.0, ""),
        ("mean(in_flight) < 2.5", "mean", "in_flight", "<", 2.5, ""),
        ("p99(loop_lag) < 20ms", "p99", "loop_lag", "<", 0.02, "s"),
    ],
)
def test_every_kind_of_slo_is_read(
    text: str, statistic: str, subject: str | None, op: str, limit: float, unit: str
) -> None:
    assert parse_slo(text) == Slo(text, statistic, subject, op, limit, unit)


def test_every_duration_of_the_ledger_is_a_subject_with_and_without_its_unit() -> None:
    for column in columns(LedgerRow):
        if column.endswith("_s"):
            subject = column.removesuffix("_s")
            assert parse_slo(f"p50({column}) < 1s").subject == parse_slo(f"p50({subject}) < 1s").subject == subject


def test_every_stage_can_be_limited() -> None:
    for subject in ("latency", "service", "transfer", *STAGES):
        assert parse_slo(f"p50({subject}) < 1s").subject == subject


@pytest.mark.parametrize(
    ("text", "quantile"),
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p95.00", 0.95), ("p095", 0.95)],
)
def test_a_percentile_gives_its_quantile_exactly(text: str, quantile: float) -> None:
    assert parse_slo(f"{text}(latency) < 1s").quantile == quantile


def test_other_statistics_have_no_quantile() -> None:
    assert parse_slo("mean(latency) < 1s").quantile is None


# 0.95^58 = 0.0510, 0.95^59 = 0.0485; 0.99^298 = 0.05003, 0.99^299 = 0.0495; 0.98^148 = 0.0503, 0.98^149 = 0.0493.
@pytest.mark.parametrize(
    ("text", "requests"),
    [
        ("p50(latency) < 1s", 5),
        ("p95(latency) < 1s", 59),
        ("p99(latency) < 1s", 299),
        ("error_rate < 2%", 149),
        ("completed > 98%", 149),
        ("mean(latency) < 1s", None),
        ("share(queue) < 5%", None),
        ("error_rate <= 0%", None),
        ("p99.99(latency) < 1s", 29_956),  # ln 0.05 / ln 0.9999 = 29955.8
        ("p1(latency) < 1s", 1),
        ("p95(call, model=det) < 1s", 59),
        ("p95(loop_lag) < 1s", 59),
        ("check_rate > 98%", 149),
        ("coverage >= 98%", 149),
        ("share(ok) > 98%", 149),
        ("share(ok) >= 100%", None),
        ("count(ok) > 500", 501),
        ("count(ok) >= 500", 500),
        ("count(ok) < 500", None),
        ("rate(ok) > 18/s", None),
        ("throughput > 18/s", None),
        ("cv(latency) < 1", None),
        ("peak(rss) < 1GiB", None),
    ],
)
def test_an_slo_knows_the_fewest_requests_that_can_pass_it(text: str, requests: int | None) -> None:
    assert requests_needed(parse_slo(text)) == requests


def test_99_percent_confidence_needs_459_requests_for_p99() -> None:
    assert requests_needed(parse_slo("p99(latency) < 1s"), confidence=0.99) == 459


# --- arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("p95(latency, name=receipt) < 1s", Where(name="receipt")),
        ("p95(latency, step=2) < 1s", Where(step=2)),
        ("p95(latency,phase = 'warmup') < 1s", Where(phase="warmup")),
        ("p95(inference, model=det) < 1s", Where(model="det")),
        ("p95(call, model=org/det:v2, name=a.b) < 1s", Where(name="a.b", model="org/det:v2")),
        ("error_rate(step=0, phase=measure, name=é) < 1%", Where("é", 0, "measure")),
        ("throughput(name='POST /v1/read, (again)') > 1/s", Where(name="POST /v1/read, (again)")),
        ('count(ok, name="it\'s and  more") > 1', Where(name="it's and  more")),
        ("count(ok, name='it''s') > 1", Where(name="it's")),
    ],
)
def test_arguments_narrow_the_requests_down(text: str, where: Where) -> None:
    assert parse_slo(text).where == where


def test_blanks_in_quotes_are_part_of_the_name() -> None:
    slo = parse_slo("p95( latency,  name='a  b' )  <  1s")

    assert slo.expression == "p95( latency, name='a  b' ) < 1s"
    assert slo.where.name == "a  b"


# --- lists -------------------------------------------------------------------------------------------------


def test_each_clause_of_a_list_is_an_slo_of_its_own() -> None:
    latency, errors = parse_slos("p95(latency) < 200ms  and\n error_rate < 1%")

    assert latency == parse_slo("p95(latency) < 200ms")
    assert errors == Slo("error_rate < 1%", "error_rate", None, "<", 0.01, "ratio")


def test_the_word_and_in_a_name_does_not_end_a_clause() -> None:
    (slo,) = parse_slos("p95(latency, name='a and b') < 1s")

    assert slo.where.name == "a and b"


def test_a_clause_that_is_written_twice_counts_once() -> None:
    assert len(parse_slos("error_rate < 1% and p95(latency) < 1s and error_rate  < 1%")) == 2


# --- what it stands on -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("p95(latency) < 1s", False),
        ("throughput(name=a) > 1/s", False),
        ("share(ok) > 1%", False),
        ("peak(rss) < 1GiB", False),
        ("p95(inference) < 1s", True),
        ("p95(call) < 1s", True),
        ("count(queue) > 1", True),
        ("coverage > 98%", True),
    ],
)
def test_an_slo_knows_whether_it_stands_on_server_halves(text: str, needs: bool) -> None:
    assert needs_server_half(parse_slo(text)) is needs
