"""Progress of a running test on stderr: a bar on a terminal, a line every five seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from harness.report.text import visible
from harness.units import format_duration, format_rate

LINE_EVERY_S = 5.0
_LONGEST_LOOK = 300  # characters

OnProgress = Callable[[Mapping[str, object]], None]


@contextmanager
def progress(quiet: bool = False, stream: TextIO | None = None) -> Iterator[OnProgress]:
    """Gives a function that shows a progress event of the load child, or a look at a run that may end earlier."""
    out = stream or sys.stderr
    if quiet:
        yield lambda event: None
    elif out.isatty():
        with _bar(out) as show:
            yield show
    else:
        yield _lines(out)


@contextmanager
def _bar(out: TextIO) -> Iterator[OnProgress]:
    console = Console(file=out)
    bar = Progress(
        TextColumn("{task.fields[phase]:>7}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        refresh_per_second=2,  # as often as the load process reports; drawing costs CPU the service may need
    )
    task = bar.add_task("run", total=None, phase="start", figures="")

    def show(event: Mapping[str, object]) -> None:
        if "look" in event:
            console.print(visible(str(event["look"]), _LONGEST_LOOK), markup=False, highlight=False)  # above the bar
            return
        bar.update(task, phase=str(event.get("phase", "")))
        if "elapsed_s" in event:  # without it only the phase has changed
            total, elapsed = _number(event, "total_s"), _number(event, "elapsed_s")
            bar.update(task, total=total, completed=elapsed or 0.0, figures=figures(event))

    with bar:
        yield show


def _lines(out: TextIO) -> OnProgress:
    last = -LINE_EVERY_S

    def show(event: Mapping[str, object]) -> None:
        nonlocal last
        if "look" in event:
            print(visible(str(event["look"]), _LONGEST_LOOK), file=out, flush=True)
        now = time.monotonic()
        if now - last < LINE_EVERY_S or "elapsed_s" not in event:
            return
        last = now
        elapsed = _number(event, "elapsed_s") or 0.0
        total = _number(event, "total_s") or 0.0
        print(f"{event.get('phase', ''):>7} {elapsed:4.0f}/{total:.0f} s  {figures(event)}", file=out, flush=True)

    return show


def figures(event: Mapping[str, object]) -> str:
    """The figures of one progress event on one line, e.g. `4.1/s  p95 212 ms  errors 0  in flight 1`.

    A closed loop begins with how many `users` there are now.
    """
    p95 = _number(event, "p95_s")
    users = _number(event, "users")
    shown = [
        *([] if users is None else [f"{users:.0f} {'user' if users == 1 else 'users'}"]),
        format_rate(_number(event, "rate_per_s")),
        f"p95 {format_duration(p95)}",
        f"errors {event.get('failed', 0)}",
        f"in flight {event.get('in_flight', 0)}",
    ]
    backlog = event.get("backlog")
    if backlog:
        shown.append(f"waiting {backlog}")
    return "  ".join(shown)


def _number(event: Mapping[str, object], key: str) -> float | None:
    value = event.get(key)
    return float(value) if isinstance(value, int | float) else None
