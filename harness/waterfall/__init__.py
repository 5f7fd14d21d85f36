"""Single requests of a stored run: what the client and the service did, instant by instant, with the ledger's numbers.

Nothing is concluded: a request is placed by the clock offsets that were kept beside its run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from harness import ledger as ledgers
from harness.chunks import schema_of
from harness.errors import RunFolderError
from harness.join import CHANNELS, SERVER_TIMING
from harness.model import STAGES, Sample, Scenario, Split
from harness.record import own_host
from harness.run_folder import RunFolder
from harness.tables import typed_rows_of
from harness.views import Waterfall
from harness.waterfall.batches import beside
from harness.waterfall.client_lane import client_bars
from harness.waterfall.notes import note_of
from harness.waterfall.placing import Few, joined_few, place_of, place_of_rest
from harness.waterfall.server_lane import Frame, Shown, header_bars, span_bars
from harness.waterfall.span_tree import rows_of_request
from harness.waterfall.stored_clock import read_clock as read_clock
from harness.waterfall.stored_clock import write_clock as write_clock
from harness.waterfall.stored_spans import SLACK_NS, Window
from harness.waterfall.stored_spans import spans_of as spans_of
from harness.windows import Offsets

MOST_BARS = 400
_AWAY_NS = 60_000_000_000  # where a service's clock may be when nobody compared it with ours

Row = Mapping[str, Any]
T = TypeVar("T")


def of_requests(
    folder: RunFolder,
    scenario: Scenario,
    record: Mapping[str, object],
    request_ids: Sequence[int],
    offsets: Offsets | None = None,
    *,
    ledger: pd.DataFrame | None = None,
    most_bars: int = MOST_BARS,
) -> tuple[Waterfall, ...]:
    """The waterfalls of these requests, in this order; ids that the run has not are left out.

    `record` is run.json. Without `offsets` those of clock.json are used, else what these requests alone tell. `ledger`
    are rows of model.LedgerRow, for a run whose ledger is not stored. Raises RunFolderError when samples, spans or
    ledger cannot be read.
    """
    if offsets is None:
        offsets = _or_none(lambda: read_clock(folder))
    samples = _samples(folder, request_ids)
    if not samples.num_rows:
        return ()
    source, host, loopback = scenario.spans.source, own_host(record), bool(record.get("loopback"))
    spans, tls = _spans(folder, samples, scenario, offsets), scenario.target.lower().startswith("https:")
    few = joined_few(samples, spans, source, offsets, host, loopback)
    rows = _ledger_rows(folder, samples, few, ledger, host, loopback)
    mates = _or_none(lambda: beside(folder, samples.column("request_id").to_pylist())) or {}
    found = {
        sample["request_id"]: _waterfall(
            sample, few, row, spans, rows.get(sample["request_id"]), source, most_bars,
            mates.get(sample["request_id"], ()), tls,
        )
        for row, sample in enumerate(samples.to_pylist())
    }  # fmt: skip
    return tuple(found[each] for each in request_ids if each in found)


def _or_none(read: Callable[[], T]) -> T | None:
    """What can be done without."""
    try:
        return read()
    except RunFolderError:
        return None


def _waterfall(
    sample: Row,
    few: Few,
    row: int,
    spans: pa.Table,
    known: Row | None,
    source: str,
    most: int,
    mates: tuple[int, ...],
    tls: bool,
) -> Waterfall:
    split = str(known["split"]) if known is not None else Split.NONE.value
    place, frame = place_of(few, row), Frame.of(sample)
    charged = place is not None and split != Split.NONE.value
    shown = Shown([])
    if place is not None and few.joined.halves.channel[row] == CHANNELS.index(SERVER_TIMING):
        shown = header_bars(few, row, place, frame)
    else:
        place = place or place_of_rest(few, row, rows_of_request(few, row))
        if place is not None:
            shown = span_bars(few, row, spans, place, frame, max(1, most - 12), charged)
    queue_est = None if known is None else known["queue_est_s"]
    return Waterfall(
        request_id=sample["request_id"],
        trace_id=sample["trace_id"],
        name=sample["name"],
        phase=sample["phase"],
        ok=known is not None and bool(known["ok"]),
        outcome=outcome_of(sample),
        scheduled_ns=sample["scheduled_ns"],
        latency_s=(sample["done_ns"] - sample["scheduled_ns"]) / 1e9,
        split=split,
        stages=tuple((stage, None if known is None else known[f"{stage}_s"]) for stage in STAGES),
        bars=(*client_bars(sample, place if charged else None, split, queue_est, tls), *shown.bars),
        note=note_of(sample, few, row, place, shown, split, source),
        beside=mates,
    )


def outcome_of(sample: Row) -> str:
    """What came of a request, e.g. "200", "timeout", "503, failed check: status", "still in flight"."""
    if sample["censored"]:
        return "still in flight when the run ended"
    said = [str(sample["status"])] if sample["status"] is not None else []
    if sample["error"]:
        said.append(sample["error"])
    if sample["failed_checks"]:
        checks = sample["failed_checks"]
        said.append(f"failed check{'s' if ',' in checks else ''}: {checks.replace(',', ', ')}")
    return ", ".join(said) or "no answer"


# --- what is stored of them --------------------------------------------------------------------------------


def _samples(folder: RunFolder, request_ids: Sequence[int]) -> pa.Table:
    """The rows of model.Sample, each request once; also of a run that was killed before it was sealed."""
    ids = [each for each in dict.fromkeys(request_ids) if -(2**63) <= each < 2**63]
    if folder.samples.is_file():
        return typed_rows_of(folder, "samples", ids)
    wanted = pa.array(ids, pa.int64())
    parts = [
        part.filter(pc.is_in(part.column("request_id"), value_set=wanted)) for part in folder.parts("samples", Sample)
    ]
    return pa.concat_tables([schema_of(Sample).empty_table(), *parts])


def _spans(folder: RunFolder, samples: pa.Table, scenario: Scenario, offsets: Offsets | None) -> pa.Table:
    known = scenario.spans.source not in (SERVER_TIMING, "none")
    trace_ids = samples.column("trace_id").to_pylist() if known else []
    return spans_of(folder, trace_ids, _windows(samples, offsets), scenario.spans)


def _windows(samples: pa.Table, offsets: Offsets | None) -> list[Window]:
    """When each request was going on, on any of the services' clocks."""
    ahead = [0]
    if offsets is not None:
        ahead += [offset.offset_ns + sign * offset.bound_ns for _, offset in offsets if offset for sign in (-1, 1)]
    early, late = min(ahead), max(ahead)
    if offsets is None or any(offset is None for _, offset in offsets):
        early, late = early - _AWAY_NS, late + _AWAY_NS
    ends = zip(samples.column("scheduled_ns").to_pylist(), samples.column("done_ns").to_pylist(), strict=True)
    return [(since + early - SLACK_NS, until + late + SLACK_NS) for since, until in ends]


def _ledger_rows(
    folder: RunFolder, samples: pa.Table, few: Few, ledger: pd.DataFrame | None, host: str, loopback: bool
) -> dict[int, Row]:
    """By request id: from the ledger of the run; without one, from these requests alone."""
    ids = samples.column("request_id").to_pylist()
    if ledger is not None:
        table = pa.Table.from_pandas(ledger[ledger["request_id"].isin(ids)], preserve_index=False)
    elif folder.ledger.is_file():
        table = typed_rows_of(folder, "ledger", ids)
    else:
        rows = ledgers.build(samples, few.joined, host, loopback).rows
        table = pa.Table.from_pandas(rows, preserve_index=False)
    return {row["request_id"]: {key: _known(value) for key, value in row.items()} for row in table.to_pylist()}


def _known(value: object) -> object:
    """NaN is not known."""
    return None if isinstance(value, float) and value != value else value
