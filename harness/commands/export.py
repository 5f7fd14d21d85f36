"""`harness export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.common import say, shown
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.export.files import Export

EXAMPLES = """
\b
Examples:
  harness export runs/20261121T101500Z-read-receipts --format otlp
  harness export runs/ --format chrome,speedscope --slowest 100
  harness export runs/ --format csv --table ledger -o - | head
  harness export runs/ --format png --theme dark -o charts/

\b
Formats:
  otlp        OTLP JSON lines: for an OpenTelemetry collector (otlpjsonfile), Jaeger, Tempo.
              Without a selection every request.
  chrome      trace events in JSON: for Perfetto. At most 50,000 requests.
  speedscope  requests and flame graphs: for speedscope. Without a selection the 5 slowest
              and 5 typical requests; at most 200.
  csv         samples, ledger, model_calls, waits, vitals. A text that a spreadsheet would
              take for a formula (= + - @) gets an apostrophe in front.
  png         the charts of the report, of the whole run.
"""


_SUFFIXES = {".csv", ".json", ".jsonl", ".png"}


@click.command("export", epilog=EXAMPLES)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", metavar="F,F", required=True, help="Any of otlp, chrome, speedscope, csv, png.")
@click.option(
    "-o", "output", type=click.Path(),
    help="A file (one format), a folder, or - for stdout.  [export/ in the run folder]",
)  # fmt: skip
@click.option("--requests", "first", type=click.IntRange(1), metavar="N", help="Only the first N requests.")
@click.option("--request", "request_ids", type=int, multiple=True, metavar="ID", help="Only this one. Repeatable.")
@click.option("--slowest", type=click.IntRange(1), metavar="N", help="Only the N slowest of the measured phase.")
@click.option("--name", metavar="NAME", help="Only requests of this name.")
@click.option("--align", is_flag=True, help="otlp: spans onto the client's clock. The others do it anyway.")
@click.option("--table", metavar="TABLE", help="csv: this table alone.")
@click.option(
    "--theme", type=click.Choice(["light", "dark"]), default="light", show_default=True, help="png: its colours."
)
def command(
    run: Path,
    formats: str,
    output: str | None,
    first: int | None,
    request_ids: tuple[int, ...],
    slowest: int | None,
    name: str | None,
    align: bool,
    table: str | None,
    theme: str,
) -> None:
    """Hand the raw record of a stored RUN to other tools. Existing files are replaced."""
    from harness.errors import nearest
    from harness.run_folder import RunFolder

    folder = RunFolder.open(run)

    from harness.export import tables
    from harness.export.chosen import Wish
    from harness.export.files import Export, check_format

    wanted = list(dict.fromkeys(part.strip() for part in formats.split(",") if part.strip()))
    for one in wanted:
        check_format(one)
    if not wanted:
        raise UsageError("no format is named", "give --format otlp, for example")
    if table is not None and table not in tables.NAMES:
        raise UsageError(f"there is no table '{table}'", nearest(table, tables.NAMES))
    for flag, given, needs in (("--table", table is not None, "csv"), ("--align", align, "otlp")):
        if given and needs not in wanted:
            raise UsageError(f"{flag} is about {needs}", f"give --format {needs}")
    wish = Wish(first, request_ids, slowest, name)
    if wanted == ["png"] and not wish.is_everything:
        raise UsageError("the charts are of the whole run", "leave the selection of requests out")
    export = Export(folder, wish, align, "dark" if theme == "dark" else "light", table)
    if output == "-":
        _to_stdout(export, wanted)
    else:
        _to_files(export, wanted, output)


def _to_stdout(export: Export, wanted: Sequence[str]) -> None:
    from harness.export.files import names_of, write_one

    names = names_of(export, wanted[0]) if len(wanted) == 1 else None
    if names is None or len(names) != 1:
        hint = "name one: --format csv --table ledger -o -" if wanted == ["csv"] else "name one: --format otlp -o -"
        raise UsageError("stdout takes one file", hint)
    sys.stdout.flush()
    write_one(export, wanted[0], names[0], sys.stdout.buffer, say)
    sys.stdout.buffer.flush()


def _to_files(export: Export, wanted: Sequence[str], output: str | None) -> None:
    from harness.export.files import names_of, write, write_one
    from harness.export.whole import whole

    path = export.folder.path / "export" if output is None else Path(output)
    if output is not None and not path.is_dir() and not output.endswith("/"):
        names = names_of(export, wanted[0]) if len(wanted) == 1 else None
        if names is not None and len(names) == 1:
            with whole(path) as file:
                write_one(export, wanted[0], names[0], file, say)
            click.echo(f"wrote {shown(path)}")
            return
        if path.exists() or path.suffix in _SUFFIXES:
            hint = "name one table: --table ledger" if wanted == ["csv"] else "name a folder"
            raise UsageError(f"{path} is to be one file, and the export is several", hint)
    for one in wanted:
        for written in write(export, one, path, say):
            click.echo(f"wrote {shown(written)}")
