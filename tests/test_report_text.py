"""What the reports have in common: safe text, figures, rows that add up, colours that can be told apart."""

from __future__ import annotations

import dataclasses
import itertools
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import a_coverage, a_summary, an_empty_summary, an_estimate, some_counts, some_stages

from harness.findings import Estimate, Loss, Reading, Verdict, WaitFindings
from harness.model import RunWarning
from harness.report import figures, json_report, lines, verdict_text
from harness.report.lights import LightState, lights
from harness.report.palette import DARK, LIGHT, Theme
from harness.report.text import shortened, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Straße, 東京, עברית", "Straße, 東京, עברית"),
        ("a\x00b", "a⟨NUL⟩b"),
        ("a\nb\tc\r", "a⟨LF⟩b⟨TAB⟩c⟨CR⟩"),
        ("\x1b[31m", "⟨ESC⟩[31m"),
        ("abc\u202edef", "abc⟨U+202E⟩def"),
        ("a\u200bb", "a⟨U+200B⟩b"),
        ("a\ud800b", "a⟨U+D800⟩b"),
    ],
)
def test_what_cannot_be_seen_becomes_a_sign(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_long_text_keeps_its_ends_and_says_its_length() -> None:
    shown = visible("head" + "x" * 1_000_000 + "tail")

    assert shown.startswith("head")
    assert shown.endswith("tail")
    assert "(1,000,008 characters)" in shown
    assert len(shown) < 200


@given(st.text())
def test_no_text_keeps_a_control_or_an_unpaired_surrogate(text: str) -> None:
    kept = {unicodedata.category(c) for c in visible(text)}

    assert not kept & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [(0.1824, 1, "182.4"), (1.5, 0, "1,500"), (0.0, 2, "0.00"), (-1e-9, 2, "0.00"), (-0.0012, 1, "-1.2"),
     (None, 1, "–"), (float("nan"), 1, "–"), (float("inf"), 1, "∞")],
)  # fmt: skip
def test_milliseconds_line_up(seconds: float | None, decimals: int, text: str) -> None:
    assert figures.ms(seconds, decimals) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.1, 0.2, "100 … 200"), (0.1, None, "≥ 100"), (None, 0.2, "≤ 200"), (None, None, "")],
)
def test_an_open_interval_is_written_as_one(low: float | None, high: float | None, text: str) -> None:
    assert figures.interval(Estimate(0.15, low, high, 9), 0) == text


@pytest.mark.parametrize(
    ("value", "suspect", "invalid", "state"),
    [
        (1.0, 2.0, 3.0, "healthy"),
        (2.5, 2.0, 3.0, "suspect"),
        (4.0, 2.0, 3.0, "invalid"),
        (1.5, 2.0, 1.0, "suspect"),  # here small is bad
        (0.5, 2.0, 1.0, "invalid"),
        (4.0, None, None, "healthy"),
        (None, 2.0, 3.0, "unknown"),
    ],
)
def test_a_reading_is_judged_by_its_limits(
    value: float | None, suspect: float | None, invalid: float | None, state: str
) -> None:
    assert figures.beyond(Reading("r", value, "s", suspect, invalid, "")) == state


@pytest.mark.parametrize(("share", "text"), [(0.7101, "71.0%"), (-0.0001, "0.0%"), (-0.02, "-2.0%"), (None, "–")])
def test_a_share_has_one_decimal_and_nothing_is_never_negative(share: float | None, text: str) -> None:
    assert figures.share(share) == text


def test_an_interval_of_shares_may_be_open() -> None:
    assert figures.share_interval(0.002, 0.011) == "0.2% … 1.1%"
    assert figures.share_interval(None, 0.5) == "≤ 50.0%"
    assert figures.share_interval(0.5, float("inf")) == "≥ 50.0%"
    assert figures.share_interval(None, None) == ""


def test_the_total_is_the_sum_of_the_whole_stages_only() -> None:
    table = lines.stage_table(a_summary())

    assert table.total == "182.4"  # 0.4 + 6 + 12 + 31 + 118.6 + 9.4 + 5; connect, upload and download are in the 6
    assert [line.stage for line in table.lines if line.part] == ["connect", "upload", "download"]


def test_an_estimated_queue_and_an_unsplit_rest_appear_only_when_there_are() -> None:
    usual = {line.stage for line in lines.stage_table(a_summary()).lines}
    unsplit = next(s for s in some_stages() if s.stage == "unsplit")
    more = (
        dataclasses.replace(unsplit, mean=an_estimate(0.01)),
        dataclasses.replace(unsplit, stage="queue_est", mean=an_estimate(0.02), estimated=True),
    )
    known = tuple(s for s in some_stages() if s.stage != "unsplit")
    every = {line.stage for line in lines.stage_table(a_summary(stages=(*known, *more))).lines}

    assert every - usual == {"unsplit", "queue_est"}


def test_no_slo_and_an_interruption_are_said_beside_the_verdict() -> None:
    summary = a_summary(verdict=Verdict.PASSED, slo=(), interrupted=True)

    assert verdict_text.verdict_line(summary).startswith("nothing judged: no SLO (")
    assert verdict_text.verdict_line(summary).endswith("; interrupted)")  # not "judged on what was measured"


def test_failures_stand_beside_a_verdict_that_nobody_gave() -> None:
    counts = dataclasses.replace(a_summary().counts, scheduled=600, ok=560, failed=40, censored=0)
    unjudged = a_summary(verdict=Verdict.PASSED, slo=(), counts=counts)

    assert verdict_text.verdict_line(unjudged) == "nothing judged: no SLO (40 of 600 requests failed)"


def test_an_accepted_measurement_is_never_shown_as_a_plain_pass() -> None:
    summary = a_summary(verdict=Verdict.PASSED, accepted=("the generator was late",), decided="decided at look 2 of 4")

    assert verdict_text.verdict_line(summary) == "passed (an invalid measurement, accepted as it is)"
    assert verdict_text.reason_lines(summary) == [
        *summary.reasons, "accepted as it is: the generator was late", "decided at look 2 of 4",
    ]  # fmt: skip


def test_the_lights_of_a_good_run_are_good() -> None:
    summary = a_summary(counts=some_counts(failed=0, errors=()))

    assert {light.state for light in lights(summary)} == {LightState.GOOD}


def test_nothing_measured_leaves_the_lights_dark() -> None:
    dark = [light.name for light in lights(an_empty_summary()) if light.state is LightState.UNKNOWN]

    assert dark == ["Server halves", "Clocks", "Errors"]


@pytest.mark.parametrize(
    ("loss", "state", "how"),
    [
        (None, LightState.ATTENTION, ""),
        (Loss.UNIFORM, LightState.GOOD, ", the others missing at random"),
        (Loss.UNTESTED, LightState.ATTENTION, ", too few to compare with the others"),
        (Loss.CLUSTERED, LightState.BAD, ", the others missing together in time: no stage is judged"),
        (Loss.BIASED, LightState.BAD, ", the others differ in latency: no stage is judged"),
    ],
)
def test_missing_server_halves_are_counted_and_their_loss_is_judged(
    loss: Loss | None, state: LightState, how: str
) -> None:
    coverage = None if loss is None else a_coverage(loss=loss)
    summary = a_summary(counts=some_counts(split=(("marks", 180), ("none", 60))), coverage=coverage)
    light = next(light for light in lights(summary) if light.name == "Server halves")

    assert (light.state, light.phrase) == (state, f"for 75% of the ok requests{how}")


def test_a_run_without_any_success_says_so_beside_its_verdict() -> None:
    counts = some_counts(ok=0, failed=244)
    summary = a_summary(verdict=Verdict.NOT_ENOUGH_DATA, counts=counts)

    assert verdict_text.verdict_line(summary) == "not enough data (no request succeeded: 244 failed)"


def test_where_clocks_do_not_tell_upload_from_download_both_are_marked() -> None:
    coarse = RunWarning("coarse_clock", "known only within 2 ms", "")
    labels = [line.label for line in lines.stage_table(a_summary(warnings=(coarse,))).lines if line.part]

    assert labels == ["connect", "upload (±)", "download (±)"]


def test_waits_are_told_by_resource_the_largest_first() -> None:
    assert lines.waits_line(a_summary()) == (
        "Queue, as the service measured it: threadpool 9.00 ms, model_lock 2.50 ms, not named 500 us; mean per request"
    )
    assert lines.waits_line(a_summary(waits=())) == ""


def test_the_waits_for_a_batcher_are_shown_with_what_they_were_about() -> None:
    batcher = WaitFindings("batcher", 20, 20, 0.019, 0.019, 0.1, (("busy", 0.010), ("window", 0.009)))
    summary = a_summary(waits=(batcher,))

    assert lines.waits_line(summary).startswith(
        "Queue, as the service measured it: batcher 19.0 ms (busy 10.0 ms, window 9.00 ms);"
    )
    assert lines.wait_lines(summary)[0][0] == "batcher (busy 10.0 ms, window 9.00 ms)"
    assert json_report.parse(json_report.render(summary)) == summary


def test_many_resources_are_summed_up() -> None:
    waits = tuple(WaitFindings(f"lock-{i}", 1, 1, 0.24, 0.001, 0.01) for i in range(30))

    assert lines.waits_line(a_summary(waits=waits)).endswith("lock-5 1.00 ms, 24 more 24.0 ms; mean per request")
    assert len(lines.wait_lines(a_summary(waits=waits))) == 21
    assert lines.wait_lines(a_summary(waits=waits))[-1] == ("10 more", "10", "–", "–", "10.00", "10.0%")


# --- colours: linear-light RGB through the matrices of Machado, Oliveira and Fernandes (2009), severity 1 ------

_READERS = {
    "common": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanope": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranope": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
_NEIGHBOURS = ("backlog", "connect", "upload", "queue_est", "queue", "preprocess", "inference", "postprocess",
               "other", "download", "unsplit")  # fmt: skip


def seen(colour: str, reader: str) -> tuple[float, ...]:
    """OKLab of a hex colour as that reader sees it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    r, g, b = (min(max(sum(m * c for m, c in zip(row, linear, strict=True)), 0), 1) for row in _READERS[reader])
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize("reader", _READERS)
def test_neighbouring_stages_can_be_told_apart(theme: Theme, reader: str) -> None:
    for a, b in itertools.pairwise(_NEIGHBOURS):
        first, second = seen(theme.stages[a], reader), seen(theme.stages[b], reader)
        assert sum((x - y) ** 2 for x, y in zip(first, second, strict=True)) ** 0.5 > 0.07, (a, b)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize("ink", ["ink", "ink_soft", "good", "attention", "bad", "accent"])
@pytest.mark.parametrize("ground", ["surface", "page"])
def test_words_stand_out_from_the_page(theme: Theme, ink: str, ground: str) -> None:
    dark, light = sorted((luminance(getattr(theme, ink)), luminance(getattr(theme, ground))))

    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def test_what_is_left_out_is_longer_than_what_says_so() -> None:
    assert shortened("x" * 100, 90) == "x" * 100
    assert shortened("x" * 200, 90) == "x" * 60 + " … (200 characters) … " + "x" * 22


def test_sentences_are_shortened_between_their_words() -> None:
    assert shortened("needs 36 requests, " * 10, 60) == (
        "needs 36 requests, needs 36 requests, … (190 characters) … 36 requests, "
    )
