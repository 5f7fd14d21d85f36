"""One execution: starts the children, drains, joins, analyses, judges. The command line and the demo call it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa

from harness.chunks import schema_of
from harness.conclude import Conclusion, conclude
from harness.deciding.cohort import cut, ended_s, measured_until
from harness.deciding.looks import prolonged
from harness.deciding.watching import watching
from harness.errors import Interrupted, RunFolderError
from harness.findings import Summary
from harness.interrupt import Interrupt
from harness.load import clocks, launch
from harness.load.cost import Cost
from harness.load.drive import Loaded, OnEvent, drive
from harness.load.order import ALONE, Crew, Order
from harness.mapped import mapped_spans, preset_warnings, with_preset
from harness.model import Arrivals, LoadProfile, RunWarning, Sample, Scenario, Span, Step, Vital
from harness.record import validated
from harness.report.files import FORMATS, write_reports
from harness.run.live_file import recording
from harness.run.written import first_record, last_record, planned, stored_scenario
from harness.run_folder import RunFolder
from harness.scenario.span_section import ADDRESSED
from harness.spans import arrive, fetch
from harness.spans.arrive import Awaited
from harness.spans.asked import asked_traces
from harness.spans.fetch import Fetched
from harness.spans.listen import ReceiverProcess
from harness.spans.mapping import stages_of
from harness.spans.probe import probe
from harness.tags import write_tags
from harness.viewing import views_of
from harness.views import Views
from harness.waterfall import write_clock

REPORTS = ("html", "md", "junit")
_WRITTEN = ("json", *REPORTS)  # the smallest first: a disk may be almost full


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run: its folder, what was concluded, and its ledger; of a dry request also its spans."""

    folder: RunFolder
    summary: Summary
    ledger: pd.DataFrame
    spans: pa.Table | None = None
    unwritten: tuple[str, ...] = ()  # a sentence per file of the run folder that could not be written
    views: Views = field(default_factory=Views)  # what only report.html shows; none where that was not asked for


def execute(
    scenario: Scenario,
    parent: Path,
    on_event: OnEvent,
    interrupt: Interrupt,
    listener: socket.socket | None = None,
    crew: Crew = ALONE,
    reports: Sequence[str] = _WRITTEN,
    label: str | None = None,
    accept_suspect: bool = False,
    until_s: float | None = None,
    tags: Sequence[str] = (),
) -> Outcome:
    """Run a scenario into a new folder below `parent`. `crew` says which processes send the load.

    `reports` are the report formats that are written; the tables are written always. `label` tells apart the runs of
    one scenario: it ends the name of the folder. With `accept_suspect` an invalid measurement is judged nevertheless.
    With `until_s` the run goes on until its SLOs are decided, at most so many seconds, warm-up included.

    `on_event` gets the progress events of the load child, then the phases "spans" and "report". `listener` is a bound
    socket for the span receiver, for a caller that had to tell the service its port before; otherwise the scenario's
    address is bound here.
    Raises UsageError (port taken, trace store down, a load that cannot go on), NothingMeasured (target down) before
    anything is written; UsageError (the scenario cannot be run), NothingMeasured or Interrupted when the load child
    ended before the first sample.
    """
    until = None
    if until_s is not None:
        scenario, until = prolonged(scenario, until_s, crew)
    launch.preflight(scenario.target)
    arrive.deadline_s()
    odd = probe(scenario.spans)
    ports = arrive.bind(scenario.spans, listener)
    started = datetime.now(UTC)
    folder = RunFolder.create(parent, scenario.name if label is None else f"{scenario.name}-{label}", started)
    record = {**first_record(scenario, folder, started, odd), "accept_suspect": accept_suspect, "label": label}
    if until is not None:
        record["decided"] = until.written(None)
    folder.write_json("run.json", record)
    if tags:
        write_tags(folder, tags)
    with recording(folder, on_event) as on_event:
        with arrive.receiving(ports, folder.path) as receiver:
            cost = Cost(None if receiver is None else receiver.pid)
            order = Order(scenario, str(folder.path), folder.run_id)
            with watching(until, folder.path, on_event, accept_suspect) as watch:
                loaded = drive(order, on_event, interrupt, crew, cost, watch)
            moved = _on_one_clock(folder, loaded) + (watch.warnings() if watch is not None else [])
            on_event({"phase": "spans"})
            awaited, fetched = _bring_spans(scenario, receiver, folder, interrupt, on_event, started)
        on_event({"phase": "report"})
        record = last_record(record, loaded, receiver.stop() if receiver is not None else None, awaited, fetched, moved)
        if loaded.failed is not None and folder.read_table("samples", Sample).num_rows == 0:
            with suppress(RunFolderError):  # why nothing was measured matters more
                folder.write_json("run.json", record)
            raise Interrupted("interrupted before anything was measured") if loaded.interrupted else loaded.failed
        if watch is not None:
            record = {**record, "decided": watch.written(loaded)}
            scenario = cut(scenario, ended_s(loaded))
        return _finish(folder, scenario, record, reports)


def reopen(folder: RunFolder) -> Outcome:
    """Conclude a stored run again, also one that was killed before it could report. Raises RunFolderError.

    What pages and exports read beside the summary is written where it is missing, as far as the folder can be written.
    """
    record = validated(folder.read_json("run.json"), folder.run_json)
    scenario = stored_scenario(record["plan"])
    conclusion = conclude(folder, scenario, record)
    if folder.ledger.is_file():
        _failure_of(lambda: write_clock(folder, conclusion.ledger.offsets))
    else:
        _stored(folder, conclusion)
    views = views_of(folder, conclusion, scenario, record)
    return Outcome(folder, conclusion.summary, conclusion.rows, views=views)


def dry_request(scenario: Scenario, interrupt: Interrupt) -> Outcome:
    """A few requests of each kind, to see what comes back; nothing of it is kept on disk."""
    kinds = max(2, len(scenario.requests))
    load = LoadProfile(Arrivals.CONSTANT, (Step(4.0, float(kinds)),), warmup_s=0.0, drain_s=30.0, seed=1)
    requests = tuple(replace(request, weight=1.0) for request in scenario.requests)
    few = replace(scenario, name=f"check-{scenario.name}", requests=requests, load=load, slo=())
    with TemporaryDirectory(prefix="harness-check-") as parent:
        outcome = execute(few, Path(parent), lambda event: None, interrupt)
        none = schema_of(Span).empty_table()
        spec = with_preset(outcome.folder, scenario.spans)
        return replace(outcome, spans=pa.concat_tables([none, *mapped_spans(outcome.folder, spec)]))


def _bring_spans(
    scenario: Scenario,
    receiver: ReceiverProcess | None,
    folder: RunFolder,
    interrupt: Interrupt,
    on_event: OnEvent,
    started: datetime,
) -> tuple[Awaited | None, Fetched | None]:
    """Wait for the spans that are sent here; or bring them from where the scenario says they are."""
    spec, deadline_s = scenario.spans, arrive.deadline_s()
    if receiver is None and spec.source not in ADDRESSED:
        return None, None
    asked = asked_traces(folder.chunks("samples"), spec.sampled)
    if receiver is not None:
        run_s = time.time() - started.timestamp()
        return arrive.await_received(receiver, folder.path, asked, run_s, interrupt, on_event, deadline_s), None
    patience = fetch.USUAL if deadline_s is None else fetch.Patience(deadline_s, deadline_s)
    out = folder.path / fetch.FETCHED_FILE
    return None, fetch.fetch(spec, asked.traces.to_pylist(), asked.window, out, interrupt, on_event, patience)


def _on_one_clock(folder: RunFolder, loaded: Loaded) -> list[RunWarning]:
    try:
        return clocks.align(folder.path, loaded.end.get("workers", ()))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"samples of workers with another clock could not be moved onto ours: {reason}"
        return [RunWarning("worker_clock", message, "free some disk space, or use another --out", invalidates=True)]


# --- the end -----------------------------------------------------------------------------------------------


def _finish(folder: RunFolder, scenario: Scenario, record: Mapping[str, object], reports: Sequence[str]) -> Outcome:
    """Conclude, then store. A disk that is full by now costs the files, not the answer."""
    asked, scenario = scenario.spans, replace(scenario, spans=with_preset(folder, scenario.spans))
    known = record["warnings"]
    assert isinstance(known, list)  # noqa: S101 - made by last_record
    guessed = [asdict(warning) for warning in preset_warnings(folder, asked, scenario.spans)]
    record = {**record, "plan": planned(scenario), "warnings": [*known, *guessed]}
    try:
        _seal(folder, scenario, record)
    except RunFolderError as error:
        warning = RunWarning("not_stored", error.message, f"{error.hint}; then `harness report`", invalidates=True)
        conclusion = conclude(folder, scenario, {**record, "warnings": [*known, *guessed, asdict(warning)]})
        return Outcome(folder, conclusion.summary, conclusion.rows)
    conclusion = conclude(folder, scenario, record)
    unwritten = _stored(folder, conclusion)
    # What a page shows of single requests is read from the tables just written.
    views = views_of(folder, conclusion, scenario, record) if "html" in reports else Views()
    unwritten += _reported(folder, conclusion, reports, views)
    return Outcome(folder, conclusion.summary, conclusion.rows, unwritten=unwritten, views=views)


def _seal(folder: RunFolder, scenario: Scenario, record: Mapping[str, object]) -> None:
    folder.write_json("run.json", record)
    folder.seal(Sample, "samples", lambda part: measured_until(part, record))
    folder.seal(Span, "spans", lambda part: stages_of(part, scenario.spans))
    if folder.chunks("vitals"):
        folder.seal(Vital, "vitals")


def _stored(folder: RunFolder, conclusion: Conclusion) -> tuple[str, ...]:
    """Write the tables of what was concluded, each on its own; what could not be written, in words."""
    ledger = conclusion.ledger
    return _failures(
        lambda: folder.write_table("ledger", pa.Table.from_pandas(conclusion.rows, preserve_index=False)),
        lambda: folder.write_table("model_calls", pa.Table.from_pandas(ledger.model_calls, preserve_index=False)),
        lambda: folder.write_table("waits", pa.Table.from_pandas(ledger.waits, preserve_index=False)),
        lambda: write_clock(folder, ledger.offsets),
    )


def _reported(folder: RunFolder, conclusion: Conclusion, reports: Sequence[str], views: Views) -> tuple[str, ...]:
    """Write the reports, each on its own; what could not be written, in words."""
    summary, rows = conclusion.summary, conclusion.rows
    return _failures(*(partial(write_reports, summary, rows, (name,), folder.path, views) for name in reports))


def _failures(*steps: Callable[[], object]) -> tuple[str, ...]:
    return tuple(message for message in map(_failure_of, steps) if message is not None)


def _failure_of(step: Callable[[], object]) -> str | None:
    try:
        step()
    except RunFolderError as error:
        return error.message
    return None


assert set(REPORTS) <= set(FORMATS)  # noqa: S101
