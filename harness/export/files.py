"""The files of an export: which format goes into which, and what was left out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
import pandas as pd

from harness.errors import UsageError, nearest
from harness.export import chrome, otlp, speedscope, tables
from harness.export.aligned import onto_client
from harness.export.chosen import Ids, Wish, choose, requests_of, typical
from harness.export.flames import flames_of
from harness.export.whole import whole
from harness.run_folder import RunFolder
from harness.stored_run import StoredRun

FORMATS = {
    "otlp": "otlp.jsonl", "chrome": "trace.json", "speedscope": "speedscope.json", "csv": "{}.csv", "png": "{}.png",
}  # fmt: skip
"""Format -> its file name; of csv and png one for each table and chart."""

FEW = 5
"""Slowest and typical requests that speedscope shows when nobody says which ones."""
MOST_PROFILES = 200
"""Requests that speedscope's menu can still be used with."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Export:
    """What to export of a run, and how."""

    folder: RunFolder
    wish: Wish
    align: bool = False  # spans in OTLP onto the client's clock
    theme: Literal["light", "dark"] = "light"
    table: str | None = None  # of csv: this one alone

    def rows(self) -> pd.DataFrame:
        return requests_of(self.folder)

    def request_ids(self) -> list[int] | None:
        """What was asked for; None for all."""
        return None if self.wish.is_everything else choose(self.rows(), self.wish).tolist()


def check_format(wanted: str) -> None:
    """Raises UsageError for an unknown format."""
    if wanted not in FORMATS:
        raise UsageError(f"'{wanted}' is no export format", nearest(wanted, FORMATS))


def names_of(export: Export, wanted: str) -> list[str] | None:
    """The file names of a format, None when they are known only when it is made."""
    if wanted == "csv":
        return [FORMATS["csv"].format(table) for table in ([export.table] if export.table else tables.NAMES)]
    return None if wanted == "png" else [FORMATS[wanted]]


def write(export: Export, wanted: str, output: Path, say: Say) -> Iterator[Path]:
    """Write one format below the folder `output`; its files as they are there. Raises RunFolderError, UsageError."""
    if wanted == "png":
        from harness.export import pictures  # the drawing library takes a second that the other formats need not wait

        run = StoredRun.open(export.folder.path)
        for key, picture in pictures.pictures(run, export.theme):
            path = output / FORMATS["png"].format(key)
            with whole(path) as file:
                file.write(picture)
            yield path
        return
    for name in names_of(export, wanted) or ():
        with whole(output / name) as file:
            write_one(export, wanted, name, file, say)
        yield output / name


def write_one(export: Export, wanted: str, name: str, file: IO[bytes], say: Say) -> None:
    """Write one file of a format. Raises RunFolderError, UsageError, and OSError when it cannot be written."""
    if wanted == "csv":
        table = name.removesuffix(".csv")
        rows = tables.write(export.folder, table, file, export.request_ids())
        why = "" if rows else _why_none(export.folder, table)
        say(f"csv: {table} has {rows:,} row{'' if rows == 1 else 's'}{why}")
        return
    pieces = {"otlp": _otlp, "chrome": _chrome, "speedscope": _speedscope}[wanted]
    for piece in pieces(export, say):
        file.write(piece.encode("utf-8", "backslashreplace"))


def _why_none(folder: RunFolder, table: str) -> str:
    made = table in ("ledger", "model_calls", "waits")
    return f"; the run was not concluded: `harness report {folder.path}` does that" * (
        made and not folder.ledger.is_file()
    )


def _otlp(export: Export, say: Say) -> Iterable[str]:
    ids = export.request_ids()
    shift = onto_client(export.folder) if export.align else None
    clock = "the service's own clock, as recorded; --align moves them onto the client's"
    if export.align:
        clock = (
            "the client's clock" if shift is not None else "the service's clock: no difference to the client's is known"
        )
    say(f"otlp: {_how_many(ids)}, each a client span; the service's spans on {clock}")
    return otlp.lines(export.folder, ids, shift)


def _chrome(export: Export, say: Say) -> Iterable[str]:
    ids = _capped(export, chrome.MOST_REQUESTS, "chrome", say)
    return chrome.pieces(export.folder, ids.tolist(), onto_client(export.folder))


def _speedscope(export: Export, say: Say) -> Iterable[str]:
    flames, missing = flames_of(export.folder)
    if export.wish.is_everything:
        rows = export.rows()
        slowest = choose(rows, Wish(slowest=FEW))
        ids = np.concatenate((slowest, typical(rows[~rows["request_id"].isin(slowest)], FEW)))
        say(f"speedscope: the {FEW} slowest and {FEW} typical requests; --requests, --request, --slowest name others")
    else:
        ids = _capped(export, MOST_PROFILES, "speedscope", say)
    said = f"speedscope: {len(flames)} flame graphs beside them"
    say(f"{said}; {missing}" if missing else said)
    yield speedscope.render(export.folder, ids.tolist(), flames, onto_client(export.folder))


def _capped(export: Export, most: int, wanted: str, say: Say) -> Ids:
    """What was asked for, as far as the viewer can hold it; what is left out is said."""
    ids = choose(export.rows(), export.wish)
    if len(ids) > most:
        say(f"{wanted}: the first {most:,} of {len(ids):,} requests; {len(ids) - most:,} are left out")
        return ids[:most]
    say(f"{wanted}: {_how_many(ids.tolist())}")
    return ids


def _how_many(ids: Sequence[int] | None) -> str:
    if ids is None:
        return "all requests"
    return f"{len(ids):,} request{'' if len(ids) == 1 else 's'}"
