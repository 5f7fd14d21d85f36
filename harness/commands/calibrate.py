"""`harness calibrate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.ab import loaded_scenario, share
from harness.commands.common import say, shown, silent
from harness.commands.outputs import output_options, outputs_of, publish, reporting
from harness.commands.serving import start_options
from harness.commands.sides import load_options, side

if TYPE_CHECKING:
    from harness.comparison import CalibrationFindings
    from harness.run_folder import RunFolder

EXAMPLES = """
\b
Examples:
  harness calibrate scenario.yaml --cmd 'uvicorn app:app --port {port}' --ready /readyz
  harness calibrate scenario.yaml --target http://127.0.0.1:8000 --pairs 12 --duration 20s

\b
The same service against itself: how much its figures vary between two runs where nothing changed, and so what a
comparison on this machine can find. It is kept beside the runs with the machine's fingerprint; `harness ab` shows it.
"""


@click.command("calibrate", epilog=EXAMPLES)
@click.argument("scenario")
@click.option("--target", metavar="URL", help="The service, where it runs.")
@click.option("--cmd", metavar="CMD", help="Or how it is started, with {port} in it; no shell. Started anew each time.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where --cmd is started.")
@start_options
@click.option("--pairs", type=click.IntRange(5, 1000), default=10, show_default=True, help="Pairs of runs.")
@click.option("--allowed", metavar="P", default="5%", show_default=True, help="Slow-down a comparison would allow.")
@load_options
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Parent folder.")
@output_options
def command(scenario: str, out: Path, pairs: int, **options: Any) -> int:
    """How much this machine's runs vary, and the smallest change that `harness ab` can find on it."""
    outputs = outputs_of(options)
    with reporting(outputs, scenario):
        stored, found = _calibrated(scenario, out, pairs, options, silent if outputs.silent else say, outputs.silent)

    from harness.noise import CALIBRATION_FILE
    from harness.report import calibration_text

    written = stored.path / CALIBRATION_FILE
    where = [f"{CALIBRATION_FILE:<17} {shown(written)}"] if written.exists() else []
    return publish(found, outputs, calibration_text.as_text(found), notes=where)


def _calibrated(
    scenario: str, out: Path, pairs: int, options: dict[str, Any], announce: Callable[[str], None], quiet: bool
) -> tuple[RunFolder, CalibrationFindings]:
    """Check everything that was typed, then measure."""
    url, cmd, folder = options.pop("target"), options.pop("cmd"), options.pop("folder")
    ready, within = options.pop("ready"), options.pop("ready_within")
    a, b = (side(name, "--target", url, cmd, folder, ready, within) for name in "AB")
    allowed = share(options.pop("allowed"), "--allowed", 0.0, 1.0)
    loaded = loaded_scenario(scenario, a.target, options)

    from harness.analysis.comparing.paired import Rule
    from harness.interrupt import Interrupt
    from harness.noise import calibrate
    from harness.pairs import Bench, open_folder
    from harness.report import ab_text, live

    with Interrupt() as interrupt, live.progress(quiet=quiet) as show:
        stored = open_folder(out, loaded, "calibration")
        announce(ab_text.plan_line(loaded, a.label, b.label, (pairs,)))
        return stored, calibrate(Bench(loaded, a, b, stored, show, interrupt, announce), pairs, Rule(allowed=allowed))
