"""The HTML page: complete on its own, intact under hostile names, small for a long run; and what its charts draw."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_builders import a_ledger, a_summary, an_empty_summary, some_counts
from report_diagnosed import a_diagnosed_summary
from report_hostile import ALL, LONG, NUL, RIGHT_TO_LEFT, SCRIPT, TEMPLATE, a_hostile_summary, hostile_diagnosis

from harness.model import LedgerRow, columns
from harness.report import html
from harness.report.palette import DARK, LIGHT

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Elements, attributes, ids and visible text of a page; complains about tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def usual() -> str:
    return html.render(a_summary(), a_ledger())


def charts_of(page: Page) -> int:
    return sum("chart" in attributes.get("class", "").split() for _, attributes in page.elements)


def test_the_page_shows_verdict_sentences_tables_and_charts(usual: str) -> None:
    page = Page(usual)

    for words in ("failed", "Inference takes 65", "= mean latency", "182.4", "needs 368 requests", "text-recognition",
                  "hub_lag_p99", "run once at a low rate", "What each number means"):  # fmt: skip
        assert words in page.words
    assert charts_of(page) >= 3
    for title in ("Latency over time", "Stages over time", "Percentile curve"):
        assert title in page.words


def test_the_page_fetches_nothing_and_runs_nothing(usual: str) -> None:
    page = Page(usual)

    assert {"script", "link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements} == set()
    for _, attributes in page.elements:
        assert not {"src", "srcset", "action", "poster", "xlink:href"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "@import" not in usual
    assert re.findall(r"url\((?!#)", usual) == []


def test_the_page_forbids_everything_but_its_own_style(usual: str) -> None:
    (policy,) = [m["content"] for m in Page(usual).all("meta") if m.get("http-equiv") == "Content-Security-Policy"]

    assert policy.split("; ")[:3] == ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"]


def test_ids_are_unique_and_every_link_leads_somewhere(usual: str) -> None:
    ids = Counter(attributes["id"] for _, attributes in Page(usual).elements if "id" in attributes)

    assert max(ids.values()) == 1
    assert {a["href"].removeprefix("#") for a in Page(usual).all("a")} <= ids.keys()
    assert {a["aria-labelledby"] for _, a in Page(usual).elements if "aria-labelledby" in a} <= ids.keys()


def test_every_chart_and_bar_can_be_read_aloud(usual: str) -> None:
    page = Page(usual)
    images = [a for _, a in page.elements if a.get("role") == "img"]

    assert len(images) == charts_of(page) + 1 + 5  # the mean request, three slowest and two typical requests
    assert all(len(a["aria-label"]) > 20 for a in images)


def test_every_stage_colour_is_defined_for_light_and_dark(usual: str) -> None:
    used = set(re.findall(r"var\((--[a-z-]+)\)", usual)) - {"--c", "--w", "--s", "--verdict"}

    for theme in (LIGHT, DARK):
        for name in used:
            field = name.removeprefix("--").removeprefix("stage-").replace("-", "_")
            colour = theme.stages.get(field) or getattr(theme, field)
            assert f"{name}: {colour};" in usual


@pytest.mark.parametrize("text", ALL, ids=lambda t: ascii(t[:12]))
def test_no_name_changes_the_structure_of_the_page(text: str) -> None:
    assert tags_of_hostile(text) == tags_of_hostile("name")


@cache
def hostile_page(name: str) -> str:
    return html.render(a_hostile_summary(name), None)


@cache
def tags_of_hostile(name: str) -> list[tuple[str, list[str]]]:
    page = Page(hostile_page(name))
    return [(tag, sorted(attributes)) for tag, attributes in page.elements]


@cache
def tags_of_findings(said: str) -> list[tuple[str, list[str]]]:
    page = Page(html.render(a_diagnosed_summary(**hostile_diagnosis(a_diagnosed_summary(), said)), None))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    return [(tag, sorted(attributes)) for tag, attributes in page.elements]


@settings(max_examples=3, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>&\"'`{}%#;:/=- \n\x00aid"), max_size=30))
def test_no_text_of_a_finding_adds_an_element_or_an_attribute(text: str) -> None:
    assert tags_of_findings(text or "name") == tags_of_findings("name")


def test_every_table_of_an_explained_run_has_a_caption_and_scoped_heads() -> None:
    page = html.render(a_diagnosed_summary(), None)
    explained = "".join(re.findall(r'<section class="card" id="(?:steps|tail|work)".*?</section>', page, re.DOTALL))

    assert explained.count("<table") == explained.count("<caption") >= 6
    assert re.findall(r"<th(?! scope=)", explained.replace("<thead", "")) == []


def test_hostile_names_stay_text_that_can_be_seen() -> None:
    for text, shown in ((SCRIPT, SCRIPT), (NUL, "before⟨NUL⟩after"), (RIGHT_TO_LEFT, "⟨U+202E⟩"),
                        (TEMPLATE, "{{ 7 * 7 }}"), (LONG, "(1,000,000 characters)")):  # fmt: skip
        page = hostile_page(text)
        assert shown in Page(page).words
        assert len(page) < 200_000
        page.encode()


@pytest.mark.parametrize("ledger", [None, pd.DataFrame(columns=[*columns(LedgerRow), "scheduled_ns"]), a_ledger(1)],
                         ids=["no ledger", "no row", "one row"])  # fmt: skip
def test_a_run_of_next_to_nothing_still_makes_a_page(ledger: pd.DataFrame | None) -> None:
    assert "not enough data" in Page(html.render(an_empty_summary(), ledger)).words


def test_a_run_where_everything_failed_draws_the_failures() -> None:
    page = Page(html.render(an_empty_summary(), a_ledger(50, failed=1.0)))

    assert len(page.all("svg")) == 1  # latency over time; no curve and no shares without an answer


@pytest.mark.parametrize(("censored", "times"), [(0, 0), (100, 1)])
def test_requests_that_never_ended_are_named_where_requests_are_counted_by_name(censored: int, times: int) -> None:
    page = Page(html.render(a_summary(counts=some_counts(censored=censored)), None))

    assert page.words.count("100 requests had not ended when the run did: not counted here.") == times


def test_a_client_only_run_has_no_stage_chart() -> None:
    ledger = a_ledger().assign(split="none")

    assert "Stages over time" not in html.render(a_summary(stages=()), ledger)


def test_a_long_run_makes_a_small_page() -> None:
    page = html.render(a_summary(), a_ledger(40_000))

    assert len(page.encode()) < 1_500_000  # the cells of the heatmap are bounded, so more rows need no more
