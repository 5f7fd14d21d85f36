"""What a fix would give, the verdict's own sentences, and the rate of an unstable step, as the reports tell them."""

from __future__ import annotations

import dataclasses
import re

import pytest
from report_builders import a_summary, an_empty_summary, some_counts
from report_diagnosed import a_diagnosed_summary, a_step, no_gains, some_causes, some_gains, told
from report_texts import texts

from harness.diagnosis import Level, Sentence, Steadiness
from harness.findings import Summary
from harness.report import gains_text, html, said, steps_text
from harness.report.definitions import GROUPS

REFUSED = "load step 1 is unstable: its latencies grow with the length of the test"


def gains_of(**changes: object) -> gains_text.GainTable:
    table = gains_text.gain_table(a_summary(gains=some_gains(**changes)))
    assert table is not None
    return table


# --- what a fix would give -------------------------------------------------------------------------------------


def test_each_change_is_told_from_now_to_then_with_what_it_would_carry() -> None:
    table = gains_of()

    assert table.columns == ("change", "p50 (ms)", "p99 (ms)", "carries at most")
    assert table.lines[0][1:] == ("170.2 → 95.5", "612.0 → 204.1", "16.9/s")
    assert [line[0] for line in table.lines] == ["one more request inside model_lock (1 -> 2)", "inference x 0.8"]


def test_the_mean_stands_in_where_n_carries_no_p99() -> None:
    table = gains_of(now=Level(0.1824, 0.1702, None), then=Level(0.12, 0.0955, None), n=94)

    assert table.columns[2] == "mean (ms)"
    assert table.lines[0][2] == "182.4 → 120.0"
    assert table.notes[1].startswith("stands on n = 94 requests (measured, ok, with server half), too few for a p99")


def test_the_table_says_how_well_the_replay_fits_and_what_it_assumes() -> None:
    for name, text in texts(a_diagnosed_summary()).items():
        plain = re.sub(r"\s+", " ", text)
        assert "60.0 ms (p50) and 430 ms (p99) for model" in plain.replace("&#95;", "_"), name
        assert "measured were 61.0 ms (p50) and 440 ms (p99)" in plain
        assert "arrivals, transfer and all other work stay as recorded" in plain
        assert plain.lower().count("inference x 0.8") == 1, name  # not below the sentence as well


def test_where_nobody_waited_no_queue_is_said_to_carry_anything() -> None:
    table = gains_of(resource=None, servers=None, pools=0, most_per_s=None)

    assert table.columns == ("change", "p50 (ms)", "p99 (ms)")
    assert {len(line) for line in table.lines} == {3}
    assert table.notes[0].startswith("nobody had to wait")


def test_a_change_without_an_answer_keeps_its_row_and_says_why() -> None:
    (first, second) = some_gains()
    refused = dataclasses.replace(second, then=None, refusal="its queue would grow without end")
    table = gains_text.gain_table(a_summary(gains=(first, refused)))

    assert table is not None
    assert table.lines[1] == ("inference x 0.8", "–", "–", "–")
    assert table.columns[2] == "p99 (ms)"
    assert table.notes[-1] == "inference x 0.8: no answer, its queue would grow without end"


def test_a_run_without_an_answer_says_so_on_one_line() -> None:
    for name, text in texts(a_diagnosed_summary(gains=no_gains(REFUSED), sentences=())).items():
        assert text.count("What a fix would give") == 1, name
        assert "What a fix would give: no answer. Load step 1 is unstable: its latencies" in text
    assert 'id="gains"' not in html.render(a_diagnosed_summary(gains=no_gains(REFUSED)), None)


@pytest.mark.parametrize(
    "summary",
    [
        a_summary(gains=no_gains(REFUSED), counts=some_counts(split=(("none", 240),))),
        a_summary(),
        an_empty_summary(),
    ],
    ids=["no server half", "not asked", "empty"],
)
def test_a_run_nobody_would_ask_stays_silent(summary: Summary) -> None:
    for name, text in texts(summary).items():
        assert "What a fix would give" not in text, name


def test_no_answer_is_told_of_several_steps_also_without_server_halves() -> None:
    blind = some_counts(split=(("none", 240),))
    assert gains_text.no_gain(a_diagnosed_summary(gains=no_gains(REFUSED), counts=blind))


def test_a_name_from_outside_cannot_break_the_table() -> None:
    gains = some_gains(resource="<b>|\n", change="x|y\x1b[31m<i>")
    shown = texts(a_diagnosed_summary(gains=gains))

    assert "\x1b" not in "".join(shown.values())
    assert "x|y" not in shown["markdown"]
    assert "<i>" not in html.render(a_diagnosed_summary(gains=gains), None)


def test_what_a_fix_would_give_is_defined() -> None:
    words = {word for _, group in GROUPS for word, _ in group}
    assert {"what a fix would give", "carries at most", "server half"} <= words


# --- nothing twice ---------------------------------------------------------------------------------------------


def test_a_cause_that_a_sentence_tells_is_told_once() -> None:
    lock = some_causes()[0]
    summary = a_diagnosed_summary(causes=(lock,), sentences=(told(lock),))
    for name, text in texts(summary).items():
        assert text.count("give each worker its own session") == 1, name
        assert "Why, and what to try first" not in text
        assert "Further causes" not in text


def test_the_causes_that_are_left_are_counted_from_one() -> None:
    summary = a_diagnosed_summary()

    assert [(line.number, line.anchor) for line in said.cause_lines(summary)] == [(1, "cause-upload")]
    for name, text in texts(summary).items():
        assert "Further causes" in text, name
        assert text.count("Large images take long to arrive") == 1
        assert text.count("Requests queue for model") == 1


def test_a_cause_told_without_its_figures_keeps_its_place_in_the_list() -> None:
    cause = some_causes()[0]
    summary = a_diagnosed_summary(causes=(cause,), sentences=(Sentence(told(cause).text),))

    assert [line.further for line in said.cause_lines(summary)] == [cause.evidence]
    assert said.causes_title(summary) == "Why, and what to try first"


def test_the_page_sets_a_remedy_apart_and_leads_to_it() -> None:
    page = html.render(a_diagnosed_summary(), None)

    assert '<div class="said" id="cause-lock">' in page
    assert '<a href="#cause-lock">What to try first</a>' in page
    assert page.count('<a href="#gains">') == 2  # in the list of sections and at the sentence


# --- unstable --------------------------------------------------------------------------------------------------


def test_the_rate_of_an_unstable_step_says_that_it_is_of_its_second_half() -> None:
    lines = steps_text.step_lines(a_diagnosed_summary())
    assert [line.completed_when for line in lines] == ["", "", "2nd half"]
    shown = texts(a_diagnosed_summary())

    assert "27.4/s*" in shown["console"]
    assert "* completed in the second half of the step" in shown["console"]
    assert "27.4/s (2nd half)" in shown["markdown"]
    assert re.search(r"27\.4/s ?2nd half", shown["html"])


def test_a_step_without_a_rate_has_no_half_to_name() -> None:
    step = a_step(state=Steadiness.UNSTABLE, completed_per_s=None)
    (line,) = steps_text.step_lines(a_summary(steps=(step,)))

    assert (line.completed, line.completed_when) == ("–", "")
