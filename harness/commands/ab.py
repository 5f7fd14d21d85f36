"""`harness ab`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.common import say, shown, silent
from harness.commands.outputs import output_options, outputs_of, publish, reporting
from harness.commands.run import overrides_of
from harness.commands.serving import ELSEWHERE, start_options
from harness.commands.sides import load_options, side
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.analysis.comparing.paired import Rule
    from harness.comparison import AbFindings
    from harness.model import Scenario
    from harness.run_folder import RunFolder

EXAMPLES = """
\b
Examples:
  harness ab scenario.yaml --a http://old:8000 --b http://new:8000
  harness ab scenario.yaml --a-cmd 'uvicorn app:app --port {port}' --a-dir ../main \\
                           --b-cmd 'uvicorn app:app --port {port}' --b-dir . --ready /readyz
  harness ab scenario.yaml --a-cmd 'THREADS=4 ./serve {port}' --b-cmd 'THREADS=8 ./serve {port}' --duration 20s

\b
Pairs of runs, A B, B A, A B, ..., both with the same arrivals and payloads; commands are started anew for each run.
It fails (exit code 1) only when the lower limit of the slow-down of p50 or p95 is beyond what is allowed; it always
says how much slower B may be at most, and what such pairs can find. Load both at about half of what A holds:
near saturation every figure varies much more. A comparison that finds no slow-down passes, however little it could
have found, which it says; with --strict it passes only when a slow-down of --rule-out is ruled out. The scenario's
SLOs are not judged here: that is `harness run`.

\b
Exit codes: 0 passed, 1 B is slower, 2 bad usage, 3 not enough data or an invalid measurement, 4 interrupted.
"""
METRICS = ("p50", "p95", "p99", "mean", "throughput")


@click.command("ab", epilog=EXAMPLES)
@click.argument("scenario")
@click.option("--a", "a_url", metavar="URL", help="The baseline, where it runs.")
@click.option("--b", "b_url", metavar="URL", help="The candidate, where it runs.")
@click.option("--a-cmd", metavar="CMD", help="Or how it is started, with {port} in it; no shell.")
@click.option("--b-cmd", metavar="CMD", help="Likewise.")
@click.option("--a-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where --a-cmd is started.")
@click.option("--b-dir", type=click.Path(path_type=Path), metavar="DIR", help="Where --b-cmd is started.")
@start_options
@click.option(
    "--pairs", type=click.IntRange(3, 100), default=5, show_default=True, help="First look; then 2 and 4 more."
)
@click.option("--allowed", metavar="P", default="5%", show_default=True, help="Slow-down that is allowed.")
@click.option("--rule-out", metavar="P", default="15%", show_default=True, help="Slow-down to rule out.")
@click.option("--confidence", metavar="P", default="95%", show_default=True, help="Of the whole comparison.")
@click.option(
    "--gate",
    "gating",
    metavar="M",
    multiple=True,
    help=f"What decides: {', '.join(METRICS)}.  [p50, p95, and throughput in a closed loop; the error rate always]",
)
@click.option("--strict", is_flag=True, help="Pass only when a slow-down of --rule-out is ruled out.")
@click.option("--accept-suspect", is_flag=True, help="Judge invalid measurements nevertheless; the verdict says so.")
@load_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
@output_options
def command(scenario: str, out: Path, **options: Any) -> int:
    """Is B slower than A? Interleaved pairs of runs against two targets, judged."""
    outputs = outputs_of(options)
    with reporting(outputs, scenario):
        folder, found = _compared(scenario, out, options, silent if outputs.silent else say, quiet=outputs.silent)

    from harness.ab import AB_FILE, write_reports
    from harness.report import ab_text

    written = [AB_FILE, *write_reports(folder, found)]
    where = [f"{name:<12} {shown(folder.path / name)}" for name in written if (folder.path / name).exists()]
    return publish(found, outputs, ab_text.as_text(found), notes=where)


def _compared(
    scenario: str, out: Path, options: dict[str, Any], announce: Callable[[str], None], *, quiet: bool
) -> tuple[RunFolder, AbFindings]:
    """Check everything that was typed, then measure."""
    ready, within = options.pop("ready"), options.pop("ready_within")
    a, b = (
        side(
            name.upper(), f"--{name}", options.pop(f"{name}_url"), options.pop(f"{name}_cmd"),
            options.pop(f"{name}_dir"), ready, within,
        )
        for name in "ab"
    )  # fmt: skip
    if ready is not None and a.start is None and b.start is None:
        raise UsageError("--ready is about a service that is started", "leave it out, or give --a-cmd and --b-cmd")
    rule = rule_of(options)
    gating, strict, accept = options.pop("gating"), options.pop("strict"), options.pop("accept_suspect")
    loaded = loaded_scenario(scenario, a.target or b.target, options)

    from harness.ab import Ask, run_ab
    from harness.interrupt import Interrupt
    from harness.pairs import Bench, open_folder
    from harness.report import ab_text, live

    ask = Ask(rule, strict, checked_gating(gating, loaded))
    with Interrupt() as interrupt, live.progress(quiet=quiet) as show:
        folder = open_folder(out, loaded, "ab")
        announce(ab_text.plan_line(loaded, a.label, b.label, rule.looks))
        tell_calibration(out, loaded, announce)
        return folder, run_ab(Bench(loaded, a, b, folder, show, interrupt, announce, accept), ask)


def rule_of(options: dict[str, Any]) -> Rule:
    """Takes the flags of the rule out of `options`. Raises UsageError."""
    from harness.analysis.comparing.paired import Rule

    first = options.pop("pairs")
    allowed = share(options.pop("allowed"), "--allowed", 0.0, 1.0)
    strict_limit = share(options.pop("rule_out"), "--rule-out", 0.0, 1.0)
    confidence = share(options.pop("confidence"), "--confidence", 0.5, 0.9999)
    if strict_limit < allowed:
        raise UsageError("--rule-out is below --allowed", "a slow-down that is allowed need not be ruled out")
    return Rule(allowed, strict_limit, confidence, (first, first + 2, first + 4))


def share(text: str, flag: str, low: float, high: float) -> float:
    """5% -> 0.05. Raises UsageError, which names the flag."""
    from harness.units import UnitError, format_share, parse_share

    try:
        value = parse_share(text)
    except UnitError as error:
        raise UsageError(f"{flag}: {error.message}", f"write it like {flag} 5%") from None
    if not low <= value <= high:
        raise UsageError(f"{flag} {text!r} is not from {format_share(low)} to {format_share(high)}", None)
    return value


def checked_gating(gating: tuple[str, ...], scenario: Scenario) -> tuple[str, ...]:
    """What --gate asks for. Raises UsageError for a metric that is none, or that says nothing here."""
    from harness.errors import nearest
    from harness.model import Arrivals

    names = tuple(dict.fromkeys(name.strip() for text in gating for name in text.split(",") if name.strip()))
    for name in names:
        if name not in METRICS:
            raise UsageError(f"--gate {name!r} is no metric", nearest(name, METRICS))
    if "throughput" in names and scenario.load.arrivals is not Arrivals.USERS:
        hint = "compare p50 and p95, or a closed loop: --users 8"
        raise UsageError("the throughput of this load is that of its schedule: it cannot change", hint)
    return names


def loaded_scenario(path: str, target: str | None, options: Mapping[str, object]) -> Scenario:
    """The scenario with the flags of its load; where both sides are commands, its own target does not matter."""
    from harness.scenario import load_scenario

    return load_scenario(path, overrides_of({**options, "target": target or ELSEWHERE}))


def tell_calibration(out: Path, scenario: Scenario, announce: Callable[[str], None]) -> None:
    """What a calibration of this machine and scenario says, when one is stored."""
    from harness.noise import latest

    known = latest(out, scenario)
    if known is not None:
        for sentence in known.sentences:
            announce(f"calibrated: {sentence}")
