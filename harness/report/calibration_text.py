"""A calibration on the console: how much runs vary, and what a comparison can find."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.table import Table

from harness.comparison import CalibrationFindings, Noise
from harness.findings import Verdict
from harness.report.ab_text import ratio_text, value_text
from harness.report.text import visible

_WORDS = {
    Verdict.PASSED: ("CALIBRATED", "green"),
    Verdict.NOT_ENOUGH_DATA: ("NOT ENOUGH DATA", "yellow"),
    Verdict.INVALID: ("INVALID MEASUREMENT", "yellow"),
}


def as_text(found: CalibrationFindings) -> Callable[..., str]:
    """The calibration as text, as wide and coloured as it will be asked for."""
    return partial(render, found)


def render(found: CalibrationFindings, width: int = 100, colour: bool = False) -> str:
    """The whole calibration, as wide as asked for."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, no_color=not colour, highlight=False, markup=False)
    words, colour_name = _WORDS.get(found.verdict, (found.verdict.value, "yellow"))
    console.print(words, style=f"bold {colour_name}")
    for reason in found.reasons:
        console.print(f"  {visible(reason, 500)}")
    counted = sum(pair.counted for pair in found.pairs)
    console.print(visible(found.target, 300))
    console.print(f"{visible(found.scenario)}: {visible(found.load, 300)}; {counted} pairs")
    console.print()
    for sentence in found.sentences:
        console.print(f"- {visible(sentence, 1000)}")
    console.print()
    console.print(_table(found.noise))
    for warning in found.warnings:
        console.print(f"warning: {visible(warning.message, 500)}")
        console.print(f"  hint: {visible(warning.hint, 500)}")
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _table(noises: tuple[Noise, ...]) -> Table:
    table = Table(box=None, pad_edge=False)
    sizes = list(dict.fromkeys(pairs for noise in noises for pairs, _ in noise.detectable))
    for name in (
        "metric",
        "value",
        "varies by",
        "95 % interval",
        *(f"{'finds: ' if n == sizes[0] else ''}{n} pairs" for n in sizes),
    ):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for noise in noises:
        found = dict(noise.detectable)
        low, high = noise.deviation.low, noise.deviation.high
        table.add_row(
            noise.metric,
            value_text(noise.unit, noise.value),
            _percent(noise.deviation.value),
            "-" if low is None or high is None else f"{_percent(low)} .. {_percent(high)}",
            *(ratio_text(found.get(n)) for n in sizes),
        )
    return table


def _percent(deviation: float | None) -> str:
    return "-" if deviation is None else f"{100 * deviation:.1f}%"
