"""The SLO grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import STAGES
from harness.slo import SLO_SUBJECTS, Slo, SloError, parse_slo, requests_needed


def refusal(text: str) -> SloError:
    with pytest.raises(SloError) as caught:
        parse_slo(text)
    return caught.value


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
    ],
)
def test_every_kind_of_slo_is_read(
    text: str, statistic: str, subject: str | None, op: str, limit: float, unit: str
) -> None:
    assert parse_slo(text) == Slo(text, statistic, subject, op, limit, unit)


def test_every_stage_can_be_limited() -> None:
    for subject in ("latency", "service", "transfer", *STAGES):
        assert parse_slo(f"p50({subject}) < 1s").subject == subject


@pytest.mark.parametrize(("text", "quantile"), [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)])
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
    ],
)
def test_an_slo_knows_the_fewest_requests_that_can_pass_it(text: str, requests: int | None) -> None:
    assert requests_needed(parse_slo(text)) == requests


def test_99_percent_confidence_needs_459_requests_for_p99() -> None:
    assert requests_needed(parse_slo("p99(latency) < 1s"), confidence=0.99) == 459


def test_a_misspelt_stage_gets_a_caret_and_the_nearest_name() -> None:
    error = refusal("p95(inferense) < 1s")

    assert error.message == "SLO 'p95(inferense) < 1s': 'inferense' is not latency, service or a stage"
    assert error.hint == "did you mean 'inference'?\n  p95(inferense) < 1s\n      ^"


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("p0(latency) < 1s", "p0 is no percentile", "between p1 and p99.9"),
        ("p100(latency) < 1s", "p100 is the largest value", "write max(...) instead"),
        ("p101(latency) < 1s", "beyond the largest value", "between p1 and p99.9"),
        ("p95(latency) > 1s", "needs an upper limit", "write p95(latency) < 1s"),
        ("completed < 98%", "needs a lower limit", "write completed > 98%"),
        ("error_rate >= 2%", "needs an upper limit", "write error_rate <= 2%"),
        ("p95(latency) < 1", "'1' has no unit", "write 1s or 1ms"),
        ("error_rate < 0.02", "'0.02' has no unit", "write 2%"),
        ("p95(latency) <", "the limit is missing", "write 1s or 200ms"),
        ("p95(latency)", "a comparison is missing", "write < and a limit here"),
        ("p95(latency) == 1s", "'==' is not a comparison", "one of < <= > >="),
        ("p95(latency < 1s", "a closing bracket is missing", "write p95(latency)"),
        ("p95 < 1s", "p95 of what?", "write p95(latency)"),
        ("p95() < 1s", "p95 of what?", "valid names: latency"),
        ("latency < 1s", "which statistic of latency?", "write p95(latency)"),
        ("share(latency) < 3%", "'latency' is not a stage", "valid names:"),
        ("error_rate(x) < 2%", "error_rate takes no subject", "write error_rate alone"),
        ("error_rate < 0%", "can never be met", "write error_rate <= 0%"),
        ("completed > 100%", "can never be met", "write completed >= 100%"),
        ("p95(latency) < 0s", "can never be met", "above zero"),
        ("men(latency) < 1s", "'men' is not a statistic", "did you mean 'mean'?"),
        ("< 1s", "starts with the name of a statistic", "an SLO reads like"),
        ("", "is empty", "an SLO reads like"),
        ("p95(latency) < 1s" + " " * 10_000, "of 10,017 characters is too long", "an SLO reads like"),
    ],
)
def test_a_bad_slo_is_refused_with_what_to_write(text: str, problem: str, hint: str) -> None:
    error = refusal(text)

    assert problem in error.message
    assert hint in (error.hint or "")


def test_the_caret_stays_under_its_place_in_a_long_line() -> None:
    hint = refusal("p95(" + " " * 90 + "nonsense) < 1s").hint or ""

    line, caret = hint.splitlines()[-2:]
    assert line[caret.index("^") :].startswith("nonsense")


def attempt(text: str) -> Slo | SloError:
    try:
        return parse_slo(text)
    except SloError as error:
        return error


SOUP = st.lists(
    st.sampled_from(
        ["p95", "p100", "mean", "share", "error_rate", "completed", "(", ")", "<", ">=", "1s", "2%", " ", "é"]
    )
    | st.sampled_from(SLO_SUBJECTS)
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(st.text(max_size=300) | SOUP)
def test_any_text_is_read_or_refused_with_a_hint(text: str) -> None:
    read = attempt(text)

    if isinstance(read, SloError):
        assert read.hint
        assert read.message.isprintable()
    else:
        assert parse_slo(read.expression) == read
