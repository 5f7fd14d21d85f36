from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from harness.analysis.selection import OUTCOMES, Selection
from harness.dashboard.selecting_query import View, parse, written
from harness.errors import UsageError
from harness.model import STAGES

seconds = st.none() | st.integers(0, 10_000_000).map(lambda ms: ms / 1000)
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60).filter(str.strip)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    low, high = sorted([draw(seconds), draw(seconds)], key=lambda s: -1.0 if s is None else s)
    stage = draw(st.none() | st.sampled_from(STAGES))
    return Selection(
        from_s=low, until_s=high, least_s=draw(seconds), stage=stage,
        stage_least_s=draw(seconds) if stage else None,
        names=tuple(draw(st.lists(texts, max_size=3, unique=True))), outcome=draw(st.sampled_from(OUTCOMES)),
        error=draw(st.none() | texts), phase=draw(st.sampled_from([None, "measure", "warmup", "drain"])),
        step=draw(st.none() | st.integers(0, 30)),
    )  # fmt: skip


@given(
    selections(), st.sampled_from(["latency", "time", "queue"]), st.sampled_from(["asc", "desc"]), st.integers(1, 99)
)
def test_what_is_written_into_an_address_is_read_back(asked: Selection, sort: str, order: str, page: int) -> None:
    view = View(sort, order, page)

    assert parse(QueryParams(written(asked, view))) == (asked, view)


def test_what_goes_without_saying_is_not_written() -> None:
    assert written(Selection(phase="measure")) == ""
    assert parse(QueryParams("")) == (Selection(phase="measure"), View())


def test_milliseconds_and_percent_are_read_as_seconds_and_shares() -> None:
    found, _ = parse(QueryParams("least_ms=250&stage=queue&stage_ms=5&stage_share=40"))

    assert (found.least_s, found.stage_least_s, found.stage_least_share) == (0.25, 0.005, 0.4)


@pytest.mark.parametrize(
    ("query", "error", "hint"),
    [
        ("least_ms=fast", "'least_ms' is 'fast', which is no number from 0 on", "write e.g. least_ms=12.5"),
        ("from=-1", "'from' is '-1', which is no number from 0 on", "write e.g. from=12.5"),
        ("until=nan", "'until' is 'nan', which is no number from 0 on", "write e.g. until=12.5"),
        ("until=1e300", "'until' is '1e300', which is no number from 0 on", "write e.g. until=12.5"),
        ("from=2&until=1", "'from' is larger than 'until'", "exchange the two"),
        ("stage=infrence", "'stage' cannot be 'infrence'", "did you mean 'inference'?"),
        ("stage_ms=3", "there is a limit on a stage, but no stage", "add stage=, e.g. stage=inference"),
        ("phase=measured", "'phase' cannot be 'measured'", "did you mean 'measure'?"),
        ("page=0", "'page' is '0', which is no whole number from 1 on", "write e.g. page=2"),
        ("step=²", "'step' is '²', which is no whole number from 1 on", "write e.g. step=2"),
        ("latency=3", "'latency' is nothing one can select by", None),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence(query: str, error: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        parse(QueryParams(query))

    assert refused.value.message == error
    assert hint is None or refused.value.hint == hint


@given(st.dictionaries(st.sampled_from(["from", "least_ms", "stage", "name", "step", "page", "sort"]), st.text()))
def test_whatever_is_asked_is_answered_or_refused(asked: dict[str, str]) -> None:
    with suppress(UsageError):
        found, view = parse(QueryParams(asked))

        assert parse(QueryParams(written(found, view))) == (found, view)
