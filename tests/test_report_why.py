"""The parts of the reports that explain a run: rows with figures worked by hand, and what they are silent about."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_builders import a_coverage, a_summary, an_empty_summary, an_estimate, some_counts
from report_diagnosed import a_diagnosed_summary, a_step, some_causes, some_steps
from report_texts import texts

from harness.diagnosis import Cause, Sentence, Steadiness
from harness.findings import Estimate, Loss, Summary
from harness.report import console, html, json_report, said, steps_text
from harness.report.definitions import GROUPS


def page_of(summary: Summary) -> str:
    return html.render(summary, None)


# --- load steps ------------------------------------------------------------------------------------------------


def test_a_single_steady_step_makes_no_table_any_other_does() -> None:
    assert steps_text.step_lines(a_summary(steps=(a_step(),))) == ()
    for state in set(Steadiness) - {Steadiness.STEADY}:
        assert len(steps_text.step_lines(a_summary(steps=(a_step(state=state),)))) == 1
    assert len(steps_text.step_lines(a_summary(steps=(a_step(), a_step(step=1))))) == 2


def test_a_step_is_told_in_rates_shares_and_milliseconds() -> None:
    line = steps_text.step_lines(a_diagnosed_summary())[1]

    assert (line.level, line.offered, line.completed) == ("20/s", "20/s", "19.9/s")
    assert (line.failed, line.failed_interval) == ("0.5%", "0.2% … 1.1%")
    assert [cell.value for cell in line.percentiles] == ["238.3", "434.6", "–"]  # 1.4 times 170.2 and 310.4 ms
    assert (line.in_flight, line.gauge) == ("5.1", "5")


def test_an_unstable_step_says_once_why_it_has_no_percentiles() -> None:
    line = steps_text.step_lines(a_diagnosed_summary())[2]

    assert line.refused == "the step is unstable: more requests came than were answered"
    assert [note for note in line.notes if "no p" in note] == [f"no percentiles: {line.refused}"]
    for name, text in texts(a_diagnosed_summary()).items():
        assert text.count("more requests came than were answered") == 1, name


def test_missing_percentiles_of_a_step_are_told_together() -> None:
    few = Estimate(None, None, None, 70, refusal="needs 660 requests, has 70")
    fewer = Estimate(None, None, None, 70, refusal="needs 3,085 requests, has 70")
    latency = dataclasses.replace(a_step().latency, p95=few, p99=fewer)
    (line,) = steps_text.step_lines(a_summary(steps=(a_step(latency=latency, state=Steadiness.UNTESTED),)))

    assert line.notes[1:] == ("no p95 or p99: needs 660 requests, has 70",)


def test_a_closed_loop_is_told_in_users() -> None:
    steps = tuple(dataclasses.replace(s, offered_per_s=None, level=2.0**s.step) for s in some_steps())
    summary = a_diagnosed_summary(steps=steps)

    assert [line.level for line in steps_text.step_lines(summary)] == ["1 user", "2 users", "4 users"]
    assert "offered" not in steps_text.columns(summary)


def test_a_step_without_any_request_is_still_a_row() -> None:
    nothing = Estimate(None, None, None, 0, refusal="no request ended here")
    step = a_step(step=1, scheduled=0, ok=0, failed=nothing, offered_per_s=None, completed_per_s=None, in_flight=None)
    line = steps_text.step_lines(a_summary(steps=(a_step(), step)))[1]

    assert (line.offered, line.completed, line.failed, line.failed_interval, line.in_flight) == (*"–––", "", "–")


@pytest.mark.parametrize(("width", "columns"), [
    (60, "step completed failed p95 state"),
    (80, "step completed failed p50 p95 in flight state"),
    (120, "step offered completed failed p50 p95 in flight gauge state"),
])  # fmt: skip
def test_a_narrow_terminal_drops_columns_and_none_of_the_kept_is_cut(width: int, columns: str) -> None:
    lines = console.render(a_diagnosed_summary(), width=width, colour=False).splitlines()
    table = lines[lines.index("Load steps (ms)") :]

    assert table[1].split() == columns.split()
    assert table[5].split()[0] == "40/s"
    assert table[5].split()[-1] == "unstable"


def test_failed_checks_are_told_with_their_step_and_the_rest_summed_up() -> None:
    step = a_step(state=Steadiness.UNTESTED, checks=tuple((f"check {i}", 10 - i) for i in range(7)))
    (line,) = steps_text.step_lines(a_summary(steps=(step,)))

    assert line.checks[0] == ("check 0", "10")
    assert line.checks[-1] == ("2 more", "9")  # 5 + 4


# --- sentences and causes --------------------------------------------------------------------------------------


def test_each_sentence_stands_above_its_figures() -> None:
    for name, text in texts(a_diagnosed_summary()).items():
        said = text.index("Beyond 20/s the service falls behind.")
        figure = text.index("27.4/s answered of 40/s offered, n = 2,400")
        assert said < figure < text.index("Slow requests are slow because they wait"), name


def test_no_more_than_six_sentences_are_shown() -> None:
    sentences = tuple(dataclasses.replace(a_diagnosed_summary().sentences[0], text=f"No. {i}!") for i in range(9))
    for text in texts(a_diagnosed_summary(sentences=sentences)).values():
        assert [i for i in range(9) if f"No. {i}!" in text] == [0, 1, 2, 3, 4, 5]


def test_a_cause_stands_with_its_remedy_and_its_evidence_and_without_its_code() -> None:
    for name, text in texts(a_diagnosed_summary(causes=some_causes()[1:])).items():
        told = text[text.index("Why, and what to try first") :]
        parts = ("Large images take long", "resize the image", "80 of 90 slow requests send")
        places = [told.index(part) for part in parts]
        assert places == sorted(places), name
    assert 'id="cause-upload"' in page_of(a_diagnosed_summary())


def test_the_answer_on_the_tail_leads_to_the_cause_of_the_bottleneck() -> None:
    assert 'href="#cause-lock"' in page_of(a_diagnosed_summary())
    assert 'href="#cause-' not in page_of(a_diagnosed_summary(causes=()))


def test_causes_of_one_kind_have_anchors_of_their_own() -> None:
    codes = ("lock", "lock", "lock-2", "<b>", "", "LOCK")
    causes = tuple(dataclasses.replace(some_causes()[0], code=code) for code in codes)

    assert said.anchors(causes) == ("cause-lock", "cause-lock-2", "cause-lock-2-2", "cause-b", "cause-known",
                                   "cause-lock-3")  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "No known cause shows in this run."),
        ({"counts": some_counts(split=(("none", 240),))}, "Nothing could be looked at inside the service: it gave no"),
        ({"coverage": a_coverage(loss=Loss.BIASED)}, "Nothing could be looked at inside the service: the requests"),
        ({"counts": some_counts(ok=0, failed=244)}, "No request was answered as expected"),
    ],
    ids=["looked", "no spans", "biased", "all failed"],
)
def test_where_no_cause_is_named_it_is_said_once_why(changes: dict[str, object], said: str) -> None:
    for name, text in texts(a_diagnosed_summary(causes=(), **changes)).items():
        assert text.replace("\n", " ").count(said) == 1, name
        assert "Why, and what to try first" not in text


@pytest.mark.parametrize("said", ["No known cause of slowness shows.", "Nothing is said about stages: no spans."])
def test_what_the_verdict_says_about_causes_is_not_said_again(said: str) -> None:
    for name, text in texts(a_diagnosed_summary(causes=(), sentences=(Sentence(said),))).items():
        assert said in text, name
        assert "No known cause shows in this run" not in text


def test_evidence_that_stands_below_a_sentence_is_not_repeated_where_all_is_open() -> None:
    cause = some_causes()[1]
    summary = a_diagnosed_summary(causes=(cause,), sentences=(Sentence("Uploads.", (*cause.evidence, "more")),))
    for name in ("console", "markdown"):
        assert texts(summary)[name].count("80 of 90 slow requests send") == 1


def test_a_summary_from_before_the_search_says_nothing_about_causes() -> None:
    for text in (*texts(a_summary()).values(), *texts(an_empty_summary()).values()):
        assert "cause" not in text
        assert "looked at" not in text


# --- latency ---------------------------------------------------------------------------------------------------


def test_latency_of_the_answered_alone_is_shown_only_where_requests_failed() -> None:
    for name, text in texts(a_diagnosed_summary()).items():
        assert "answered only" in text, name
        assert "176.9" in text  # 0.97 times 182.4 ms
    all_answered = a_diagnosed_summary(latency=a_summary().latency, counts=some_counts(failed=0))
    none_answered = a_diagnosed_summary(counts=some_counts(ok=0))
    for summary in (all_answered, none_answered, a_summary()):
        assert "answered only" not in "".join(texts(summary).values())


# --- whole reports ---------------------------------------------------------------------------------------------


def all_failed() -> Summary:
    """Nothing was answered: steps without a percentile, nothing to split."""
    refused = Estimate(None, None, None, 0, refusal="no request ended here")
    step = a_step(ok=0, failed=an_estimate(1.0), completed_per_s=0.0, in_flight=None, gauge=None, stages=(),
                  state=Steadiness.UNTESTED, sentence="needs 30 answered requests, has 0")  # fmt: skip
    nothing = {"stages": (), "models": (), "work": (), "growth": (), "blame": (), "contrasts": (), "causes": ()}
    latency = dataclasses.replace(an_empty_summary().latency, mean=refused)
    return a_diagnosed_summary(steps=(step,), tail=None, latency=latency, answered=latency, service=latency,
                               counts=some_counts(ok=0, failed=244, split=()), **nothing)  # fmt: skip


@pytest.mark.parametrize("summary", [an_empty_summary(), all_failed(), a_summary(stages=())],
                         ids=["empty", "all failed", "no spans"])  # fmt: skip
def test_a_run_without_findings_keeps_a_clean_report(summary: Summary) -> None:
    for name, text in texts(summary).items():
        assert not re.search(r"\b(None|nan|inf)\b", text), name
        for title in ("Why slow requests", "Works or waits", "What grows", "Who held"):
            assert title not in text, name
    assert not re.search(r"<tbody>\s*</tbody>|<ul>\s*</ul>|<ol>\s*</ol>", page_of(summary))


def test_the_explained_run_keeps_its_figures_in_json() -> None:
    summary = a_diagnosed_summary()
    written = json.loads(json_report.render(summary))

    assert json_report.parse(json_report.render(summary)) == summary
    assert written["steps"][2]["checks"] == {"lines[0].text ~ (?i)total": 702, "max_bytes": 4}
    assert written["sentences"][1]["evidence"] == ["40/s: 27.4/s answered of 40/s offered, n = 2,400"]


def test_a_summary_from_before_these_findings_is_still_read() -> None:
    plain = json.loads(json_report.render(a_summary()))
    for name in ("answered", "steps", "work", "growth", "tail", "blame", "contrasts", "causes"):
        del plain[name]
    del plain["bottleneck"]["cause"]
    plain["sentences"] = [sentence["text"] for sentence in plain["sentences"]]
    found = json_report.parse(json.dumps(plain))

    assert [s.text for s in found.sentences] == [s.text for s in a_summary().sentences]
    assert (found.steps, found.causes, found.tail, found.answered) == ((), (), None, None)


@given(st.text(max_size=30))
def test_any_text_in_a_finding_survives_the_round_trip(text: str) -> None:
    cause = Cause(text, text, text, text, text, text, (text,), math.pi)
    summary = a_diagnosed_summary(causes=(cause,), steps=(a_step(sentence=text),))

    assert json_report.parse(json_report.render(summary)) == summary


def test_every_word_of_the_new_tables_is_defined() -> None:
    words = " ".join(word for _, group in GROUPS for word, _ in group)

    for word in (*Steadiness, "in flight", "answered only", "who held what", "slow against typical", "works, waits",
                 "false discoveries", "share of the difference"):  # fmt: skip
        assert word in words
