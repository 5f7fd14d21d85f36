"""`harness run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.common import finish, say, silent
from harness.commands.crew import crew_of, crew_options
from harness.commands.outputs import Outputs, output_options, outputs_of, reporting
from harness.commands.serving import served, service_of, service_options
from harness.commands.watching import metrics_of, metrics_options
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.load.drive import OnEvent
    from harness.load.order import Crew
    from harness.model import Scenario
    from harness.run import Outcome
    from harness.scenario import Overrides

EXAMPLES = """
\b
Examples:
  harness run scenarios/read-receipts.yaml --rate 8/s --duration 60s
  harness run scenario.yaml --cmd 'uvicorn app:app --port {port}' --ready /readyz --slo 'p95(latency) < 200ms'
  harness run scenario.yaml --until-decided 10min --junit junit.xml

\b
Exit codes: 0 passed (or no SLO), 1 failed, 2 bad usage, 3 not enough data or an invalid measurement, 4 interrupted.
"""


@click.command("run", epilog=EXAMPLES)
@click.argument("scenario")
@click.option("--target", metavar="URL", help="Where the API is; overrides the scenario.")
@service_options
@click.option("--rate", metavar="R", help="Arrivals per second or minute, e.g. 20/s; replaces the load's shape.")
@click.option("--users", metavar="N", help="Users of a closed loop, e.g. 16; replaces rate, ramp, replay.")
@click.option("--duration", metavar="D", help="Measured time per step, e.g. 60s.")
@click.option("--warmup", metavar="D", help="Time before the measured part, e.g. 10s.")
@click.option("--seed", metavar="N", help="Seed of arrivals, request mix and payloads.")
@click.option(
    "--until-decided",
    metavar="MAX",
    help="Go on just as long as the SLOs need, at most MAX, e.g. 10min; looks at them now and then.",
)
@click.option("--slo", metavar="EXPR", multiple=True, help="One more limit, e.g. 'p95(latency) < 200ms'. Repeatable.")
@crew_options
@click.option("--accept-suspect", is_flag=True, help="Judge an invalid measurement nevertheless; the verdict says so.")
@click.option("--tag", "tags", metavar="WORD", multiple=True, help="A word to find the run by. Repeatable.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
@metrics_options
@output_options
def command(
    scenario: str,
    out: Path,
    accept_suspect: bool,
    until_decided: str | None,
    tags: tuple[str, ...],
    **overrides: Any,
) -> int:
    """Stress the API as SCENARIO says, split every request, judge, report."""
    outputs = outputs_of(overrides)
    with ExitStack() as telling:
        with reporting(outputs, scenario):
            telling.enter_context(metrics_of(overrides, out, silent if outputs.silent else say))
            outcome = _executed(scenario, out, outputs, accept_suspect, until_decided, tags, overrides)
        return finish(outcome, outputs)


def _executed(
    scenario: str,
    out: Path,
    outputs: Outputs,
    accept_suspect: bool,
    until_decided: str | None,
    tags: Sequence[str],
    overrides: dict[str, Any],
) -> Outcome:
    from harness.scenario import load_scenario, plan
    from harness.tags import checked

    announce = silent if outputs.silent else say
    tags = checked(list(tags))
    crew = crew_of(overrides, announce)
    service = service_of(overrides, crew)
    loaded = load_scenario(scenario, overrides_of(overrides))  # before the heavy imports: mistakes are answered at once
    until_s, most = longest(loaded, until_decided, crew)

    from harness.interrupt import Interrupt
    from harness.report import live, plan_text
    from harness.run import execute

    with Interrupt() as interrupt, served(service, loaded, out, interrupt, announce) as (target, listener):
        loaded, most = replace(loaded, target=target), replace(most, target=target)
        announce(("" if until_s is None else "at most: ") + plan_text.headline(most, plan(most)))
        with live.progress(quiet=outputs.silent) as show:
            told = _told(show, announce)
            return execute(
                loaded, out, told, interrupt, listener, crew=crew, accept_suspect=accept_suspect, until_s=until_s,
                tags=tags,
            )  # fmt: skip


def _told(show: OnEvent, announce: Callable[[str], None]) -> OnEvent:
    """`show`, and what an event has to say in words."""

    def tell(event: Mapping[str, object]) -> None:
        if "message" in event:
            announce(str(event["message"]))
        show(event)

    return tell


def longest(scenario: Scenario, until_decided: str | None, crew: Crew) -> tuple[float | None, Scenario]:
    """The seconds of --until-decided, and the scenario with a load as long as it may become. Raises UsageError."""
    if until_decided is None:
        return None, scenario
    from harness.deciding.looks import FLAG, prolonged
    from harness.units import UnitError, parse_duration_s

    try:
        until_s = parse_duration_s(until_decided)
    except UnitError as error:
        raise UsageError(f"{FLAG}: {error.message}", error.hint) from None
    return until_s, prolonged(scenario, until_s, crew)[0]


def overrides_of(options: Mapping[str, object]) -> Overrides:
    """Flags as the scenario reader takes them: text, validated there with the same rules as the file."""
    from harness.scenario import Overrides

    slo = options.get("slo")
    texts = {name: str(value) for name, value in options.items() if name != "slo" and value is not None}
    return Overrides(**texts, slo=tuple(slo) if isinstance(slo, tuple) else ())
