"""Progress while a run is on: a bar on a terminal, a line now and then elsewhere, nothing when quiet."""

from __future__ import annotations

import io

from harness.report.live import figures, progress

EVENT = {
    "kind": "progress", "elapsed_s": 12.4, "total_s": 60.0, "phase": "measure", "rate_per_s": 4.1, "p95_s": 0.212,
    "failed": 3, "in_flight": 1, "backlog": 0,
}  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_figures_of_an_event_fit_on_one_line() -> None:
    assert figures(EVENT) == "4.1/s  p95 212 ms  errors 3  in flight 1"


def test_arrivals_without_a_session_are_shown_once_there_are_some() -> None:
    assert figures({**EVENT, "backlog": 7}).endswith("waiting 7")


def test_a_closed_loop_begins_with_its_users() -> None:
    assert figures({**EVENT, "users": 16}) == "16 users  4.1/s  p95 212 ms  errors 3  in flight 1"
    assert figures({**EVENT, "users": 1}).startswith("1 user  ")


def test_what_is_not_known_yet_is_a_dash() -> None:
    assert "p95 –" in figures({**EVENT, "p95_s": None})


def test_without_a_terminal_lines_come_at_most_every_five_seconds() -> None:
    out = io.StringIO()

    with progress(stream=out) as show:
        for _ in range(20):
            show(EVENT)
        show({"phase": "report"})

    assert out.getvalue() == "measure   12/60 s  4.1/s  p95 212 ms  errors 3  in flight 1\n"


def test_on_a_terminal_there_is_a_bar_that_cleans_up_after_itself() -> None:
    out = Terminal()

    with progress(stream=out) as show:
        show(EVENT)
        show({"phase": "spans"})

    assert "p95 212 ms" in out.getvalue()
    assert "spans" in out.getvalue()


def test_a_quiet_run_says_nothing() -> None:
    out = Terminal()

    with progress(quiet=True, stream=out) as show:
        show(EVENT)

    assert out.getvalue() == ""
