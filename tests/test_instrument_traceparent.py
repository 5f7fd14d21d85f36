from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.instrument.traceparent import TraceParent, parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_valid_header_gives_ids_and_the_recording_flag() -> None:
    expected = TraceParent(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, True)

    assert parse(f"00-{TRACE}-{SPAN}-01".encode()) == expected
    assert parse(f"00-{TRACE}-{SPAN}-02".encode()) == expected._replace(sampled=False)


def test_a_later_version_may_say_more() -> None:
    assert parse(f"cc-{TRACE}-{SPAN}-01-what-comes-next".encode()) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01x",
    ],
)
def test_an_invalid_header_is_as_good_as_none(header: str) -> None:
    assert parse(header.encode()) is None


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser(header: bytes) -> None:
    found = parse(header)

    assert found is None or (found.trace_id and found.span_id)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_what_was_written_is_read_back(trace_id: int, span_id: int, flags: int) -> None:
    header = f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}".encode()

    assert parse(header) == TraceParent(trace_id, span_id, flags % 2 == 1)
