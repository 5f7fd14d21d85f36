"""The SLO language under any text: an Slo or an SloError, fast; and everything the grammar makes is read."""

from __future__ import annotations

import unicodedata
from time import perf_counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.model import Phase
from harness.slo import GRAMMAR, LONGEST_SLO, Slo, SloError, Where, parse_slo, parse_slos
from harness.slo.names import ARGUMENTS, CALLED, FIGURES, VITALS, arguments_of, directions_of, subjects_of, unit_of

LIMITS = {"s": "200ms", "ratio": "25%", "1/s": "20/s", "B": "2 GiB", "": "500"}
PERCENTILES = st.integers(100, 9999).map(lambda hundredths: f"p{hundredths / 100:g}")
BLANKS = st.sampled_from(["", " ", "  ", "\t", "\n "])


def attempt(text: str) -> tuple[Slo, ...] | SloError:
    try:
        return parse_slos(text)
    except SloError as error:
        return error


WORDS = [
    "p95",
    "p100",
    "mean",
    "share",
    "cv",
    "peak",
    "rate",
    "error_rate",
    "completed",
    "latency",
    "ok",
    "rss",
    "call",
]
SIGNS = ["(", ")", "<", ">=", "≤", "=", ",", "'", '"', " ", " and ", "é", "1s", "2%", "20/s", "500", "\0", "\u202e"]
ARGUED = ["name=", "step=1", "model=det", "phase=warmup", "phase=", "'a, b'"]
SOUP = st.lists(st.sampled_from(WORDS + SIGNS + ARGUED) | st.text(max_size=3), max_size=20).map("".join)


@given(st.text(max_size=300) | SOUP)
def test_any_text_is_read_or_refused_with_a_hint(text: str) -> None:
    read = attempt(text)

    if isinstance(read, SloError):
        assert read.hint
        assert read.message.isprintable()
        assert all(line.isprintable() for line in read.hint.split("\n"))
    else:
        assert parse_slos(" and ".join(slo.expression for slo in read)) == read


@st.composite
def values(draw: st.DrawFn, key: str) -> tuple[str, str | int]:
    """An argument's value as it is written and as it is read."""
    if key == "step":
        number = draw(st.integers(0, 99))
        return str(number), number
    if key == "phase":
        phase = draw(st.sampled_from(Phase)).value
        return draw(st.sampled_from([phase, f"'{phase}'"])), phase
    name = draw(st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and text.strip()))
    mark = draw(st.sampled_from("'\""))
    return f"{mark}{name.replace(mark, mark * 2)}{mark}", name


@st.composite
def clauses(draw: st.DrawFn) -> tuple[str, Slo]:
    """A clause, and what has to be read from it (its expression left out)."""
    statistic = draw(st.sampled_from((*CALLED, *FIGURES)) | PERCENTILES)
    subjects = subjects_of(statistic)
    subject = draw(st.sampled_from(subjects)) if subjects else None
    keys = draw(st.lists(st.sampled_from(arguments_of(statistic, subject) or ("",)), unique=True))
    found = {key: draw(values(key)) for key in keys if key}
    blank = draw(BLANKS)
    inside = f"{blank},{blank}".join(
        ([subject] if subject else []) + [f"{key}{blank}={blank}{written}" for key, (written, _) in found.items()]
    )
    op = draw(st.sampled_from([d + e for d in directions_of(statistic, subject) for e in ("", "=")]))
    unit = unit_of(statistic, subject)
    brackets = f"{blank}({blank}{inside}{blank})" if inside else ""
    where = Where(**{key: value for key, (_, value) in found.items()})  # type: ignore[arg-type]
    limit = {"s": 0.2, "ratio": 0.25, "1/s": 20.0, "B": 2.0 * 1024**3, "": 500.0}[unit]
    return f"{statistic}{brackets}{blank}{op}{blank}{LIMITS[unit]}", Slo("", statistic, subject, op, limit, unit, where)


@given(clauses())
def test_everything_the_grammar_makes_is_read_as_it_is_meant(made: tuple[str, Slo]) -> None:
    text, meant = made
    assume(len(text) <= LONGEST_SLO)

    read = parse_slo(text)

    assert read == Slo(read.expression, *[getattr(meant, name) for name in FIELDS])
    assert parse_slo(read.expression) == read


FIELDS = ("statistic", "subject", "op", "limit", "unit", "where")


@given(st.lists(clauses(), min_size=1, max_size=5, unique_by=lambda made: made[0]))
def test_a_list_is_read_as_its_clauses_are(made: list[tuple[str, Slo]]) -> None:
    assume(all(len(text) <= LONGEST_SLO for text, _ in made))

    read = parse_slos("  and\t".join(text for text, _ in made))

    assert read == tuple(dict.fromkeys(parse_slo(text) for text, _ in made))


@given(clauses(), st.integers(0, 200), st.characters())
def test_one_changed_character_is_refused_under_it_or_read(made: tuple[str, Slo], at: int, c: str) -> None:
    text = made[0]
    assume(at < len(text) <= LONGEST_SLO)

    read = attempt(text[:at] + c + text[at + 1 :])

    if isinstance(read, SloError):
        line, caret = (read.hint or "").split("\n")[-2:]
        assert caret.strip() == "^"
        assert len(caret) - 3 <= sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize(
    "text",
    [
        "p95(latency) < 1s" + " and p95(latency) < 1s" * 10_000,
        "and " * 10_000,
        "p95" + "(" * 10_000,
        "(" * 1_900,
        "p95(latency, " + "name=a, " * 240 + ") < 1s",
        "p95(latency, name='" + "a" * 1_800 + "') < 1s",
        "p" + "9" * 1_900 + "(latency) < 1s",
        "p95(latency) < " + "9" * 1_900 + "s",
        "count(ok) > " + "9" * 180,
        "throughput > 0." + "0" * 180 + "1/s",
        "p95(latency) < 1s" + "\0" * 180,
        "p95(latency, name=" + "'" * 1_801 + ") < 1s",
        " \n" * 900 + "x",
        "é" * 1_999,
        "\ud800" * 100,
    ],
    ids=lambda text: f"{len(text)}-{text[:8]!a}",
)
def test_a_monstrous_expression_is_refused_at_once_and_in_a_few_lines(text: str) -> None:
    began = perf_counter()

    read = attempt(text)

    assert isinstance(read, SloError)
    assert len(read.message) < 300
    assert len(read.hint or "") < 900
    assert perf_counter() - began < 1.0


def test_every_example_of_the_grammar_is_read() -> None:
    examples = [line[:40].rstrip(" ,") for line in GRAMMAR.splitlines() if "< " in line[:40] or "> " in line[:40]]

    assert len(examples) >= 8
    for example in examples:
        for one in example.split(", " if example.count("<") + example.count(">") > 1 else "\0"):
            assert parse_slos(one)


def test_no_vital_is_named_like_a_column_or_an_argument() -> None:
    assert not set(VITALS) & {*subjects_of("count"), *ARGUMENTS, *FIGURES, *CALLED}
