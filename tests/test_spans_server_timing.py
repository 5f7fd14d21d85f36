from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Split
from harness.spans.server_timing import ServerHalf, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEAD = f'mlharness;desc="1 {TRACE} {SPAN} 1700000000000000000 host-7"'
OURS = f"{HEAD}, total;dur=52.5, upload;dur=0.25, queue;dur=4, preprocess;dur=8, inference;dur=32, download;dur=1"


def durations(header: str) -> tuple[float, dict[str, float]]:
    half = parse(header)
    assert half is not None
    assert (half.split, half.trace_id, half.window_start_ns) == (Split.DURATIONS, None, None)
    return half.total_s, dict(half.stages)


def test_our_header_gives_everything() -> None:
    assert parse(OURS) == ServerHalf(
        split=Split.MARKS,
        trace_id=TRACE,
        span_id=SPAN,
        window_start_ns=1_700_000_000_000_000_000,
        host="host-7",
        total_s=0.0525,
        stages=(
            ("upload", 0.00025),
            ("queue", 0.004),
            ("preprocess", 0.008),
            ("inference", 0.032),
            ("download", 0.001),
        ),
    )


def test_a_host_that_does_not_tell_is_unknown() -> None:
    half = parse(OURS.replace("host-7", "-"))

    assert half is not None
    assert half.host is None


def with_words(words: str) -> ServerHalf:
    half = parse(OURS.replace("host-7", f"host-7{words}"))
    assert half is not None
    assert (half.split, half.host, half.total_s) == (Split.MARKS, "host-7", 0.0525)
    return half


@pytest.mark.parametrize("words", [" streamed", " streamed later", " later streamed"])
def test_an_answer_that_was_streamed_says_so_behind_the_host(words: str) -> None:
    assert with_words(words).streamed


@pytest.mark.parametrize("words", ["", " ", " later", " notstreamed", " streamed=0", " 2 x=y"])
def test_unknown_words_behind_the_host_are_passed_over(words: str) -> None:
    assert not with_words(words).streamed


def test_a_host_called_streamed_is_a_host() -> None:
    half = parse(OURS.replace("host-7", "streamed"))

    assert half is not None
    assert (half.host, half.streamed) == ("streamed", False)


def test_our_header_is_found_among_the_entries_of_a_proxy() -> None:
    half = parse(f'cdn-cache;desc="HIT, \\"fresh\\"; total=1", edge;dur=3, {OURS}')

    assert half is not None
    assert (half.split, half.total_s) == (Split.MARKS, 0.0525)


def test_what_the_application_says_before_our_header_is_not_ours() -> None:
    assert parse(f"total;dur=3.1, db;dur=3.1, inference;dur=3.1, {OURS}") == parse(OURS)


def test_what_a_proxy_adds_behind_our_header_does_not_count_twice() -> None:
    assert parse(f"{OURS}, total;dur=3.1, inference;dur=9") == parse(OURS)


def test_of_a_gateway_and_the_service_behind_it_the_gateway_counts() -> None:
    behind = OURS.replace("total;dur=52.5", "total;dur=40").replace("inference;dur=32", "inference;dur=30")

    assert parse(f"{behind}, {OURS}") == parse(f"{OURS}, {behind}") == parse(OURS)


@pytest.mark.parametrize(
    "head",
    [
        f'mlharness;desc="2 {TRACE} {SPAN} 1700000000000000000 -"',
        f'mlharness;desc="1 {TRACE[:-1]} {SPAN} 1700000000000000000 -"',
        f'mlharness;desc="1 {"0" * 32} {SPAN} 1700000000000000000 -"',
        f'mlharness;desc="1 {TRACE} {SPAN} 0 -"',
        f'mlharness;desc="1 {TRACE} {SPAN} 9999999999999999999 -"',
        f'mlharness;desc="1 {TRACE} {SPAN} 17e17 -"',
        f'mlharness;desc="1 {TRACE} {SPAN} 1700000000000000000"',
        "mlharness",
    ],
)
def test_a_head_that_cannot_be_read_leaves_the_durations(head: str) -> None:
    assert durations(f"{head}, total;dur=50, inference;dur=20, upload;dur=3") == (0.05, {"inference": 0.02})


def test_a_foreign_header_is_read_by_obvious_names() -> None:
    header = "app;dur=100, wait;dur=10, Pre;dur=20, infer;dur=30, post;dur=5, db;dur=7, cache"

    assert durations(header) == (
        0.1,
        {"queue": 0.01, "preprocess": 0.02, "inference": 0.03, "postprocess": 0.005},
    )


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("queue", "queue"), ("queued", "queue"), ("preprocessing", "preprocess"), ("model", "inference"),
        ("predict", "inference"), ("INFERENCE", "inference"), ("postprocessing", "postprocess"),
    ],
)  # fmt: skip
def test_synonyms_mean_a_stage(name: str, stage: str) -> None:
    assert durations(f"{name};dur=8") == (0.008, {stage: 0.008})


def test_without_a_total_the_stages_are_the_total() -> None:
    assert durations("pre;dur=10, model;dur=30")[0] == pytest.approx(0.04)


def test_total_wins_over_server_and_app_wherever_it_stands() -> None:
    assert durations("app;dur=1, server;dur=2, total;dur=3") == (0.003, {})
    assert durations("app;dur=1, server;dur=2")[0] == 0.002


def test_names_that_repeat_are_calls_that_add_up() -> None:
    assert durations('model;desc="det";dur=8, model;desc="rec";dur=16')[1] == {"inference": 0.024}


def test_the_first_of_repeated_parameters_wins() -> None:
    assert durations("model;dur=8;dur=16")[0] == 0.008


def test_a_quoted_duration_and_loose_spaces_are_read() -> None:
    assert durations('\tmodel ; Dur = "8" ; x , ,;, pre;dur=2 ')[1] == {"preprocess": 0.002, "inference": 0.008}


@pytest.mark.parametrize(
    "value", ["-1", "nan", "inf", "1e400", "1e9", "0x10", "1_000", "", " ", "8ms", "٣", "+1", '"', '"8', "--", "1e"]
)
def test_an_absurd_duration_is_ignored(value: str) -> None:
    half = parse(f"total;dur=5, model;dur={value}")

    assert half is not None
    assert half.total_s == 0.005
    assert dict(half.stages).get("inference") in ((0.008,) if value == '"8' else (None,))


@pytest.mark.parametrize(
    "header",
    [None, "", ",", ";", ";;,;", '"', "=", "miss", "db;dur=5", "total;dur=nan", ";dur=5", "\x00", '"total";dur=1'],
)
def test_a_header_that_says_nothing_useful_is_none(header: str | None) -> None:
    assert parse(header) is None


@pytest.mark.parametrize("piece", ['"', "\\", '"\\', ",", ";", "a;", "a=", 'a;b="', "total;dur=1,", '","', " "])
def test_a_hostile_header_is_read_in_no_time(piece: str) -> None:
    began = time.monotonic()

    parse(piece * 200_000)

    assert time.monotonic() - began < 2


pieces = st.sampled_from(
    [*'=;,"\\ 1-\x00', "mlharness", "total", "model", "desc", "dur", "e9", "nan", TRACE, SPAN, HEAD]
)


@given(st.text() | st.lists(pieces, max_size=30).map("".join))
def test_no_header_raises_and_every_number_is_one(header: str) -> None:
    half = parse(header)

    if half is not None:
        for seconds in (half.total_s, *dict(half.stages).values()):
            assert math.isfinite(seconds)
            assert seconds >= 0


@given(st.dictionaries(st.sampled_from(["queue", "preprocess", "inference", "postprocess"]), st.integers(0, 10**9)))
def test_durations_written_in_milliseconds_come_back_to_the_nanosecond(spent_ns: dict[str, int]) -> None:
    entries = [f"{stage};dur={ns // 10**6}.{ns % 10**6:06d}" for stage, ns in spent_ns.items()]
    half = parse(", ".join([HEAD, "total;dur=4000.000001", *entries]))

    assert half is not None
    assert {stage: round(seconds * 1e9) for stage, seconds in half.stages} == spent_ns
    assert round(half.total_s * 1e9) == 4_000_000_001
