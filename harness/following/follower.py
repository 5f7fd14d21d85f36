"""Follows one run: every look gives a frame of figures, and the ledger rows of the requests that were settled since."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.following.figures import WINDOW_S, Figures
from harness.following.growing import Growing, Ids
from harness.following.lines import FILE, Lines, first_of, may_be_on
from harness.following.planned import Planned
from harness.following.said import counts_of, doubts_of, number, status_of, whole
from harness.following.sealed import LedgerRows, SampleRows
from harness.following.settling import COLUMNS, Settling, failures
from harness.model import Sample, Span
from harness.run_folder import RunFolder
from harness.views import LiveFrame

SPLIT_PER_S = 2_000
"""Of more settled requests a second only so many, drawn by their trace ids, are split into stages."""
_MOST_ROWS, _MOST_SPANS = 100_000, 500_000  # of one look
_MOST_FILES = 1000
_NO_SAMPLES = schema_of(Sample).empty_table()
_NO_ROWS = pd.DataFrame({name: [] for name in COLUMNS})
_RATIO_HELD_S = 30.0
"""A smaller ratio is kept for so long: the spans of requests that were not chosen have been dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One look. `rows` has the columns COLUMNS: those of the ledger and span_id, scheduled_ns, done_ns, status, what
    (went wrong, None when ok). `over`: the run has ended, and all its rows were given."""

    frame: LiveFrame
    rows: pd.DataFrame
    over: bool


def running(runs: Path) -> tuple[Path, ...]:
    """The folders below `runs` of runs that are on now, the newest first. A folder that cannot be read has none."""
    try:
        folders = sorted((path.parent for path in runs.glob(f"*/{FILE}")), reverse=True)
    except OSError:
        return ()
    return tuple(folder for folder in folders if is_on(folder))


def is_on(folder: Path) -> bool:
    """Whether the run of this folder is on now."""
    if not may_be_on(folder):
        return False
    lines = Lines(folder)
    lines.poll()
    return lines.on


def process_of(folder: Path) -> int | None:
    """The process id that the run of this folder said it has, on or not."""
    return whole(first_of(folder)[0].get("pid"))


class Follower:
    """One reader of one run, from its beginning or joined late. Not thread-safe."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lines = Lines(folder.path)
        self._plan = Planned.of(folder)
        self._settling = Settling(self._plan.spans, self._plan.loopback)
        self._figures = Figures()
        self._samples: dict[Path, Growing] = {}
        self._spans: dict[Path, Growing] = {}
        self._ids = Ids()
        self._sealed: LedgerRows | SampleRows | None = None
        self._ratios: list[tuple[float, float]] = []
        self._polled_s: float | None = None
        self._over = False

    def poll(self) -> Seen:
        """What has come since the last look. Raises RunFolderError when the folder has gone."""
        if not self._folder.path.is_dir():
            raise RunFolderError(f"{self._folder.path} is gone", "was it moved or deleted?")
        now_s = time.monotonic()
        self._lines.poll()
        on = self._lines.on  # asked before the files are read: what was there at its end is not missed
        parts: list[pd.DataFrame] = []
        if not self._over:
            more = self._take_chunks(parts, now_s)
            parts += self._settling.settled(now_s)
            if not on and not more:
                self._over = self._take_sealed(parts, now_s)
        self._polled_s = now_s
        for part in parts:
            self._figures.settled(now_s, part)
        return Seen(self._frame(now_s, on), _together(parts), self._over)

    # --- what the run writes -------------------------------------------------------------------------------

    def _take_chunks(self, parts: list[pd.DataFrame], now_s: float) -> bool:
        """Whether there is more to be read than was read."""
        for name, row_type, known in (("samples", Sample, self._samples), ("spans", Span, self._spans)):
            for path in self._folder.chunks(name)[:_MOST_FILES]:
                known.setdefault(path, Growing(path, row_type))
        # Spans first: those of a request are there before its sample.
        spans = [batch for file in self._spans.values() for batch in file.new(_MOST_SPANS)]
        new = {file.path.name: self._new_samples(file) for file in self._samples.values()}
        self._settling.ratio = self._ratio(sum(table.num_rows for table in new.values()), now_s)
        for batch in spans:
            self._settling.take_spans(batch, now_s)
        for name, table in new.items():
            self._take(name, table, parts, now_s)
        return any(file.behind for file in (*self._samples.values(), *self._spans.values()))

    def _new_samples(self, file: Growing) -> pa.Table:
        """Those that were not seen before."""
        table = pa.concat_tables([_NO_SAMPLES, *file.new(_MOST_ROWS)])
        return table.filter(pa.array(self._ids.add(table.column("request_id").to_numpy())))

    def _take(self, name: str, samples: pa.Table, parts: list[pd.DataFrame], now_s: float) -> None:
        self._figures.censored += pc.sum(samples.column("censored"), min_count=0).as_py()
        ended = samples.filter(pc.invert(samples.column("censored")))
        done_ns = ended.column("done_ns").to_numpy()
        latency_s = (done_ns - ended.column("scheduled_ns").to_numpy()) / 1e9
        self._figures.seen(now_s, name, done_ns, latency_s, failures(ended))
        parts += self._settling.take_samples(ended, now_s)

    def _ratio(self, came: int, now_s: float) -> float:
        """The share of requests to be split; a smaller one holds for a while."""
        passed_s = 1.0 if self._polled_s is None else max(0.2, now_s - self._polled_s)
        self._ratios = [each for each in self._ratios if each[0] > now_s - _RATIO_HELD_S]
        self._ratios.append((now_s, min(1.0, SPLIT_PER_S * passed_s / came) if came else 1.0))
        return min(ratio for _, ratio in self._ratios)

    # --- after the end -------------------------------------------------------------------------------------

    def _take_sealed(self, parts: list[pd.DataFrame], now_s: float) -> bool:
        """The rows that were never given, a part of the run's tables at a time. Whether that was all."""
        if self._sealed is None and self._folder.ledger.is_file():
            self._sealed = LedgerRows(self._folder, self._ids, self._settling.pending)
            self._settling.forget()
        elif self._sealed is None:
            self._sealed = SampleRows(self._folder, self._ids)
        if isinstance(self._sealed, LedgerRows):
            found = self._sealed.next()
            if found is not None:
                rows, fresh = found
                done_ns, latency_s, what = (rows.loc[fresh, name] for name in ("done_ns", "latency_s", "what"))
                self._figures.seen(now_s, "", done_ns.to_numpy(), latency_s.to_numpy(), what.to_numpy(dtype=object))
                parts.append(rows)
            return found is None
        samples = self._sealed.next()
        if samples is None:
            parts += self._settling.settled(now_s, everything=True)
            return True
        self._settling.ratio = self._ratio(samples.num_rows, now_s)
        self._take("", samples, parts, now_s)
        return False

    # --- the frame -----------------------------------------------------------------------------------------

    def _frame(self, now_s: float, on: bool) -> LiveFrame:
        lines, figures = self._lines, self._figures
        said = lines.progress
        phase = lines.phase if lines.ended or (on and lines.phase) else status_of(self._folder)
        sending = on and phase in ("starting", "waiting", "warmup", "measure", "drain")
        recent = figures.recent(now_s, ended=not sending)
        ok, failed, censored = counts_of(said, figures, self._folder if self._over else None)
        elapsed_s = number(said.get("elapsed_s"))
        level = None if elapsed_s is None or phase not in ("warmup", "measure") else elapsed_s
        health, doubts = doubts_of(said)
        return LiveFrame(
            run_id=self._folder.run_id,
            at_ns=time.time_ns(),
            phase=phase or "starting",
            elapsed_s=elapsed_s,
            total_s=number(said.get("total_s")),
            offered_per_s=None if level is None else self._plan.offered_per_s(level),
            rate_per_s=number(said.get("rate_per_s")) if sending else 0.0 if said else None,
            in_flight=whole(said.get("in_flight")) if sending else 0 if said else None,
            backlog=whole(said.get("backlog")) if sending else 0 if said else None,
            users=None if level is None else self._plan.users(level),
            ok=ok,
            failed=failed,
            censored=censored,
            errors=figures.errors,
            window_s=WINDOW_S,
            n=recent.n,
            p50_s=recent.p50_s,
            p95_s=recent.p95_s,
            p99_s=recent.p99_s,
            n_split=recent.n_split,
            stages=recent.stages,
            health=health,
            doubts=doubts,
        )


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    if not parts:
        return _NO_ROWS.copy()
    rows = pd.concat(parts, ignore_index=True)
    what = rows["what"].astype(object)
    return rows.assign(what=what.where(what.notna(), None))[list(COLUMNS)]
