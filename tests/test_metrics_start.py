"""The process that tells of a run: there before the run, gone after it, whatever happens to either."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from harness.metrics.child import Order, _Orders, _push, _Watched
from harness.metrics.pushed import Pusher
from harness.metrics.start import Wanted, published
from harness.metrics.tally import Tally


def address(said: list[str]) -> str:
    return said[0].removeprefix("metrics at ")


def test_it_answers_before_the_run_and_no_more_when_the_run_fails(tmp_path: Path) -> None:
    said: list[str] = []
    found: list[httpx.Response] = []

    def fails() -> None:
        with published(Wanted("0", None, None, 30.0), tmp_path, said.append):
            found.append(httpx.get(address(said), timeout=20))
            raise ValueError("the run")

    with pytest.raises(ValueError, match="the run"):
        fails()

    assert (found[0].status_code, found[0].text) == (200, "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address(said))


def test_where_nobody_reads_nothing_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with published(Wanted("0", None, None, 30.0), tmp_path, said.append):
        began = time.monotonic()

    assert time.monotonic() - began < 20
    assert len(said) == 1


def test_the_pushes_end_when_nothing_more_can_be_seen_whether_the_run_has_ended_or_not(tmp_path: Path) -> None:
    watched, orders = _Watched(Order(None, str(tmp_path), 1, None, None, 0.0)), _Orders()
    watched.tally = Tally("r", "s", 0)
    orders.done.set()
    orders.seen.set()
    pusher = Pusher("http://127.0.0.1:9/v1/metrics")
    pusher.close()
    _push(watched, pusher, orders)

    assert pusher.pushed + pusher.failed == 1
