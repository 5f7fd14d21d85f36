"""Texts with units and back."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.units import (
    UnitError,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_share,
    parse_bytes,
    parse_duration_s,
    parse_rate_per_s,
    parse_share,
    quoted,
)

PARSERS = (parse_duration_s, parse_rate_per_s, parse_bytes, parse_share)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200ms", 0.2),
        ("1.5s", 1.5),
        ("2 m", 120.0),
        ("2min", 120.0),
        ("1h", 3600.0),
        ("800us", 0.0008),
        (" .5s ", 0.5),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize(("text", "per_s"), [("20/s", 20.0), ("1200/min", 20.0), ("0.5 / s", 0.5), ("90/h", 0.025)])
def test_a_rate_is_read_per_second(text: str, per_s: float) -> None:
    assert parse_rate_per_s(text) == pytest.approx(per_s, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "size"),
    [("5 MiB", 5_242_880), ("1MB", 1_000_000), ("1.5KiB", 1536), ("10kb", 10_000), ("800B", 800), ("1GiB", 2**30)],
)
def test_a_size_is_read_in_powers_of_1000_or_1024(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "share"), [("25%", 0.25), ("2 %", 0.02), ("0%", 0.0), ("99.9%", 0.999), ("100%", 1.0)]
)
def test_a_share_is_read_from_percent(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (parse_duration_s, "30", "write 30s or 30ms"),
        (parse_rate_per_s, "4", "write 4/s or 4/min"),
        (parse_bytes, "1024", "write 1024B or 1024KiB"),
        (parse_share, "0.25", "write 25%"),
        (parse_share, "2", "write 2%"),
    ],
)
def test_a_bare_number_is_asked_for_its_unit(parse: Callable[[str], float], text: str, hint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(text)

    assert caught.value.message == f"'{text}' has no unit"
    assert caught.value.hint == hint


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text",
    ["", "nan", "inf", "-inf", "-3s", "1e9s", "٣s", "3 parsecs", "%", "1..2s", "1s2", "9" * 41 + "s", "\0", "1m30s"],
)
def test_what_is_no_quantity_is_refused(parse: Callable[[str], float], text: str) -> None:
    with pytest.raises(UnitError):
        parse(text)


def test_a_negative_duration_is_called_negative() -> None:
    with pytest.raises(UnitError, match="'-3s' is negative"):
        parse_duration_s("-3s")


def test_more_than_the_whole_is_no_share() -> None:
    with pytest.raises(UnitError, match="more than the whole"):
        parse_share("101%")


def attempt(parse: Callable[[str], float], text: str) -> float | UnitError:
    try:
        return parse(text)
    except UnitError as error:
        return error


@given(st.text(max_size=60) | st.from_regex(r"[-+]?[0-9.]{1,6} ?[a-zA-Z/%]{0,4}", fullmatch=True))
def test_no_text_crashes_a_parser(text: str) -> None:
    for parse in PARSERS:
        read = attempt(parse, text)
        if isinstance(read, UnitError):
            assert read.hint
            assert read.message.isprintable()
        else:
            assert math.isfinite(read)
            assert read >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
        (0, "0 s"),
        (3e-7, "0.300 us"),
        (0.0008, "800 us"),
        (0.0123, "12.3 ms"),
        (0.9996, "1.00 s"),
        (1.5, "1.50 s"),
        (30, "30.0 s"),
        (119.9, "2.00 min"),
        (9999, "167 min"),
        (-0.0032, "-3.20 ms"),
    ],
)
def test_a_duration_is_printed_with_three_digits_in_the_unit_that_fits(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_setting_is_printed_without_zeros_at_the_end() -> None:
    assert format_duration(30.0, trim=True) == "30 s"
    assert format_duration(0.25, trim=True) == "250 ms"


@pytest.mark.parametrize(
    ("per_s", "text"),
    [(None, "–"), (4.0, "4/s"), (12.53, "12.5/s"), (1234.0, "1234/s"), (0.1, "6/min"), (1 / 3600, "1/h"), (0.0, "0/s")],
)
def test_a_rate_is_printed_in_the_shortest_way(per_s: float | None, text: str) -> None:
    assert format_rate(per_s) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (1_310_720, "1.25 MiB"), (2**41, "2 TiB")],
)
def test_a_size_is_printed_in_binary_units(size: float | None, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (0.253, "25.3%"),
        (1.0, "100%"),
        (0.99999, ">99.9%"),
        (0.00001, "<0.01%"),
        (-0.1, "-10%"),
    ],
)
def test_almost_all_is_not_printed_as_all_nor_a_little_as_none(share: float | None, text: str) -> None:
    assert format_share(share) == text


def test_a_count_has_thousands_separated() -> None:
    assert (format_count(12345), format_count(0), format_count(None)) == ("12,345", "0", "–")


@given(st.floats(1e-9, 1e7))
def test_a_duration_survives_printing_and_reading(seconds: float) -> None:
    assert parse_duration_s(format_duration(seconds)) == pytest.approx(seconds, rel=0.00501)


@given(st.floats(1e-3, 1e6))
def test_a_rate_survives_printing_and_reading(per_s: float) -> None:
    assert parse_rate_per_s(format_rate(per_s)) == pytest.approx(per_s, rel=0.00501)


@given(st.integers(0, 2**50))
def test_a_size_survives_printing_and_reading(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.00501)


@given(st.floats(1e-4, 0.9994))
def test_a_share_survives_printing_and_reading(share: float) -> None:
    assert parse_share(format_share(share)) == pytest.approx(share, rel=0.00501)


def test_a_quoted_text_is_printable_short_and_on_one_line() -> None:
    assert quoted("a\nb\x1b[31m") == "'a\\nb\\x1b[31m'"
    assert quoted("x" * 100, 5) == "'xxxxx…'"
