"""A run that is on, followed through the files it writes: rows made by hand, in real chunk files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from harness.chunks import ChunkWriter
from harness.errors import RunFolderError
from harness.findings import HealthState
from harness.following import Follower, history, is_on, process_of, running
from harness.following.figures import Figures
from harness.following.growing import Growing, Ids
from harness.following.lines import FILE, first_line, may_be_on
from harness.following.planned import Planned
from harness.following.said import doubts_of
from harness.following.settling import Settling
from harness.load.clocks import move
from harness.model import Arrivals, LedgerRow, LoadProfile, Sample, SpanSpec, Step, columns
from harness.run_folder import RunFolder
from tests.builders import a_root, a_sample, a_span, at, samples_table, spans_table

HEADER = f'mlharness;desc="1 {1:032x} {1:016x} {at(10)} -", total;dur=80.0, inference;dur=60.0'


def begun(folder: Path, *phases: str) -> RunFolder:
    """A run of this very process."""
    lines = [first_line(folder.name, at(0)), *({"phase": phase, "elapsed_s": 2.0, "total_s": 5.0} for phase in phases)]
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RunFolder(folder)


class Chunks:
    """A chunk file that is being written."""

    def __init__(self, folder: Path, name: str, row_type: type) -> None:
        self.writer = ChunkWriter(folder / f"{name}.arrows", row_type)

    def add(self, *rows: object) -> None:
        self.writer.append_all([astuple(row) for row in rows])  # type: ignore[call-overload]
        self.writer.flush()


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Chunks]:
    chunks = Chunks(tmp_path, "samples-0", Sample)
    yield chunks
    chunks.writer.close()


# --- rows --------------------------------------------------------------------------------------------------


def test_a_request_is_counted_at_once_and_given_once_when_it_is_settled(tmp_path: Path, samples: Chunks) -> None:
    follower = Follower(begun(tmp_path, "measure"))
    samples.add(a_sample(0), a_sample(1, done_ns=at(200), done_user_ns=at(200)))
    seen = follower.poll()
    assert (seen.frame.n, seen.frame.p50_s, seen.frame.p95_s, len(seen.rows)) == (2, 0.1, 0.2, 0)

    begun(tmp_path, "measure", "finished")
    samples.writer.close()
    rounds = [follower.poll() for _ in range(3)]
    assert sorted(number for seen in rounds for number in seen.rows["request_id"]) == [0, 1]
    assert [seen.over for seen in rounds] == [True, True, True]


def test_a_torn_batch_is_read_when_it_is_whole(tmp_path: Path, samples: Chunks) -> None:
    samples.add(a_sample(0))
    samples.add(a_sample(1))
    whole = samples.writer.path.read_bytes()
    copy = Growing(tmp_path / "copy.arrows", Sample)
    copy.path.write_bytes(whole[:-100])
    assert sum(batch.num_rows for batch in copy.new(100)) == 1

    copy.path.write_bytes(whole)
    assert sum(batch.num_rows for batch in copy.new(100)) == 1
    assert copy.new(100) == []


def test_a_file_that_was_moved_onto_another_clock_gives_nothing_twice(tmp_path: Path, samples: Chunks) -> None:
    follower = Follower(begun(tmp_path, "measure"))
    samples.add(a_sample(0), a_sample(1))
    follower.poll()
    samples.writer.close()
    move(samples.writer.path, 5_000_000)

    assert follower.poll().frame.ok == 2


def test_the_rows_that_were_sealed_between_two_looks_come_from_the_tables(tmp_path: Path, samples: Chunks) -> None:
    folder = begun(tmp_path, "measure")
    follower = Follower(folder)
    samples.add(a_sample(0, status=503, failed_checks="status"))
    follower.poll()
    samples.add(a_sample(1))
    samples.writer.close()
    folder.seal(Sample, "samples")
    begun(tmp_path, "measure", "finished")
    seen = [follower.poll() for _ in range(3)]

    rows = [row for each in seen for row in each.rows[["request_id", "what"]].to_numpy().tolist()]
    assert sorted(rows) == [[0, "status 503"], [1, None]]
    assert (seen[-1].frame.ok, seen[-1].frame.failed, seen[-1].frame.phase) == (1, 1, "finished")


@pytest.mark.parametrize("bad", [{}, {"status": 503, "failed_checks": "status"}])
def test_who_comes_when_all_is_over_gets_the_rows_of_the_ledger(tmp_path: Path, bad: dict[str, Any]) -> None:
    folder, stored = begun(tmp_path, "finished"), samples_table(a_sample(0), a_sample(1, **bad))
    settling = Settling(SpanSpec(source="none"), loopback=True)
    settling.take_samples(stored, 0.0)
    (ledger,) = settling.settled(0.0)
    folder.write_table("samples", stored)
    folder.write_table("ledger", pa.Table.from_pandas(ledger[list(columns(LedgerRow))], preserve_index=False))
    follower = Follower(folder)
    seen, last = follower.poll(), follower.poll()

    rows = seen.rows[["request_id", "what", "span_id"]].to_numpy().tolist()
    assert rows == [[0, None, f"{1:016x}"], [1, "status 503" if bad else None, f"{2:016x}"]]
    assert (last.over, last.frame.ok, last.frame.errors) == (True, 1 if bad else 2, (("status 503", 1),) if bad else ())


def test_censored_requests_have_no_row(tmp_path: Path, samples: Chunks) -> None:
    follower = Follower(begun(tmp_path, "measure", "finished"))
    samples.add(a_sample(0), a_sample(1, censored=True))
    seen = [follower.poll() for _ in range(2)]

    assert [row for each in seen for row in each.rows["request_id"]] == [0]
    assert seen[-1].frame.censored == 1


# --- settling ----------------------------------------------------------------------------------------------


def test_a_request_is_split_when_its_server_half_has_come() -> None:
    settling = Settling(SpanSpec(), loopback=True)
    settling.take_samples(samples_table(a_sample(0)), 0.0)
    settling.take_spans(spans_table(a_span("predict", 20, 70, stage="inference"), a_root()), 0.5)
    assert settling.settled(1.0) == []

    (rows,) = settling.settled(1.5)
    stages = rows[["latency_s", "inference_s", "upload_s", "download_s"]].iloc[0].tolist()
    assert stages == pytest.approx([0.1, 0.05, 0.007, 0.01])


def test_without_spans_the_header_is_taken_after_three_seconds_and_nothing_after_eight() -> None:
    settling = Settling(SpanSpec(), loopback=True)
    settling.take_samples(samples_table(a_sample(0, server_timing=HEADER), a_sample(1)), 0.0)
    assert settling.settled(2.9) == []
    (first,) = settling.settled(3.0)
    assert settling.settled(7.9) == []
    (second,) = settling.settled(8.0)

    assert first[["request_id", "split", "inference_s"]].iloc[0].tolist() == [0, "marks", 0.06]
    assert second[["request_id", "split"]].iloc[0].tolist() == [1, "none"]


@pytest.mark.parametrize("source", ["none", "server-timing", "jaeger"])
def test_where_no_spans_come_while_it_is_on_nothing_is_waited_for(source: str) -> None:
    settling = Settling(SpanSpec(source=source), loopback=True)
    settling.take_samples(samples_table(a_sample(0)), 0.0)

    assert len(settling.settled(0.0)[0]) == 1


def test_of_many_requests_a_random_part_is_split_and_all_are_counted() -> None:
    settling = Settling(SpanSpec(), loopback=True)
    settling.ratio = 0.25
    ids = np.random.default_rng(1).integers(0, 16, (2000, 32))
    traces = ["".join(f"{digit:x}" for digit in one) for one in ids]
    now = settling.take_samples(samples_table(*(a_sample(n, trace_id=t) for n, t in enumerate(traces))), 0.0)
    later = settling.settled(60.0)

    assert sum(map(len, now)) + sum(map(len, later)) == 2000
    assert 400 < sum(map(len, later)) < 600


def test_stages_add_up_to_the_latency_also_where_upload_and_download_are_not_known() -> None:
    settling, figures = Settling(SpanSpec(source="server-timing"), loopback=True), Figures()
    settling.take_samples(samples_table(a_sample(0, server_timing="inference;dur=60")), 0.0)
    for rows in settling.settled(0.0):
        figures.settled(0.0, rows)
    recent = figures.recent(1.0, ended=False)

    assert recent.n_split == 1
    assert sum(seconds for _, seconds in recent.stages) == pytest.approx(0.1)
    assert dict(recent.stages)["transfer"] > 0.01


# --- figures -----------------------------------------------------------------------------------------------


def test_percentiles_are_nearest_ranks_of_the_ok_requests_of_the_last_seconds() -> None:
    figures = Figures()
    done_ns = np.array([at(ms) for ms in (0, 6000, 6100, 6200, 6300)])
    what = np.array([None, None, None, None, "timeout"], dtype=object)
    figures.seen(0.0, "samples-0", done_ns, np.array([9.0, 0.3, 0.1, 0.2, 30.0]), what)
    recent = figures.recent(1.0, ended=False)

    assert (recent.n, recent.p50_s, recent.p95_s, recent.p99_s) == (4, 0.2, 0.3, 0.3)
    assert (figures.ok, figures.failed, figures.errors) == (4, 1, (("timeout", 1),))


def test_requests_of_all_workers_count_whatever_their_clocks() -> None:
    figures, none = Figures(), np.array([None], dtype=object)
    figures.seen(0.0, "samples-0", np.array([at(0)]), np.array([1.0]), none)
    figures.seen(0.0, "samples-1", np.array([at(3_600_000)]), np.array([3.0]), none)

    assert figures.recent(1.0, ended=False).p95_s == 3.0


def test_a_service_that_answers_no_more_leaves_no_percentile_behind() -> None:
    figures = Figures()
    figures.seen(0.0, "s", np.array([at(0)]), np.array([1.0]), np.array([None], dtype=object))

    assert figures.recent(7.0, ended=False).p50_s is None
    assert figures.recent(7.0, ended=True).n == 0


def test_what_went_wrong_is_bounded() -> None:
    figures = Figures()
    names = np.array([f"{number}{'x' * 1000}" for number in range(200)], dtype=object)
    figures.seen(0.0, "s", np.full(200, at(0)), np.ones(200), names)

    assert len(figures.errors) == 51
    assert figures.errors[0] == ("other", 150)


# --- what was planned and said -----------------------------------------------------------------------------


def test_what_is_offered_follows_the_plan() -> None:
    ramp = LoadProfile(Arrivals.CONSTANT, (Step(10.0, 10.0, to=30.0),), warmup_s=2.0, drain_s=1.0, seed=1)
    planned = Planned(SpanSpec(), True, ramp)

    assert [planned.offered_per_s(t) for t in (0.0, 2.0, 7.0, 12.0)] == [10.0, 10.0, 20.0, 30.0]
    assert planned.users(5.0) is None


def test_users_are_those_of_the_step() -> None:
    planned = Planned(
        SpanSpec(),
        True,
        LoadProfile(Arrivals.USERS, (Step(4.0, 5.0), Step(8.0, 5.0)), warmup_s=1.0, drain_s=1.0, seed=1),
    )

    assert [planned.users(t) for t in (0.5, 3.0, 7.0, 99.0)] == [4, 4, 8, 0]
    assert planned.offered_per_s(3.0) is None


def test_doubts_are_told_in_words_and_the_worst_counts() -> None:
    late = {"name": "lateness_p99", "value": 0.02, "unit": "s", "limit": 0.005, "meaning": "m", "advice": "a"}

    assert doubts_of({}) == (None, ())
    assert doubts_of({"doubts": []}) == (HealthState.HEALTHY, ())
    state, words = doubts_of({"doubts": [{**late, "state": "suspect"}, {**late, "state": "invalid"}, 5]})
    assert state is HealthState.INVALID
    assert words[0] == "lateness_p99 is 20 ms, beyond 5 ms (m): a"


def test_what_was_said_before_one_looked_is_thinned(tmp_path: Path) -> None:
    begun(tmp_path, *["measure"] * 100)

    assert [len(history(tmp_path, most)) for most in (1000, 10)] == [100, 10]
    assert history(tmp_path)[0].offered_per_s is None  # nobody knows its plan
    assert history(tmp_path / "nowhere") == ()


# --- odd folders -------------------------------------------------------------------------------------------


def test_runs_that_are_on_are_found_by_their_process(tmp_path: Path) -> None:
    for name, phases in (("a", ("measure",)), ("b", ("measure", "finished")), ("c", ())):
        (tmp_path / name).mkdir()
        begun(tmp_path / name, *phases)
    (tmp_path / "d").mkdir()

    assert running(tmp_path) == (tmp_path / "c", tmp_path / "a")
    assert running(tmp_path / "nowhere") == ()
    assert (process_of(tmp_path / "a"), process_of(tmp_path / "d")) == (os.getpid(), None)


def test_of_a_run_whose_process_has_gone_one_line_is_read(tmp_path: Path) -> None:
    first = {**first_line("x", at(0)), "pid": 1 << 30}
    (tmp_path / FILE).write_text(json.dumps(first) + "\n" + '{"phase": "measure"}\n')

    assert not may_be_on(tmp_path)
    assert may_be_on(begun(tmp_path, "finished").path)  # its process is this one: the rest has to be read
    assert not is_on(tmp_path)
    assert (process_of(tmp_path), process_of(tmp_path / "nowhere")) == (os.getpid(), None)


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"\xff" * 5000, b"\0" * 5000])
def test_a_damaged_folder_is_followed_to_its_end(tmp_path: Path, content: bytes) -> None:
    for name in ("samples-0.arrows", "spans.arrows", "samples.parquet", "ledger.parquet", "run.json", FILE):
        (tmp_path / name).write_bytes(content)
    follower = Follower(RunFolder(tmp_path))
    seen = [follower.poll() for _ in range(3)][-1]

    assert (seen.over, len(seen.rows), seen.frame.phase, seen.frame.n) == (True, 0, "broken", 0)


def test_a_chunk_file_is_not_mapped_it_may_be_cut(tmp_path: Path, samples: Chunks) -> None:
    samples.add(a_sample(0))
    growing = Growing(samples.writer.path, Sample)
    found = growing.new(100)

    assert str(samples.writer.path) not in Path("/proc/self/maps").read_text()
    assert found[0].num_rows == 1


def test_bytes_that_were_changed_never_raise(tmp_path: Path, samples: Chunks) -> None:
    samples.add(*(a_sample(number) for number in range(5)))
    samples.writer.close()
    whole = samples.writer.path.read_bytes()
    for place in range(0, len(whole), 23):
        path = tmp_path / f"{place}.arrows"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        settling, tables = Settling(SpanSpec(source="none"), loopback=True), Growing(path, Sample).new(100)
        assert sum(map(len, tables)) <= 5
        if place % 3 == 0:
            for table in tables:
                settling.take_samples(table, 0.0)
                settling.settled(0.0)


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is gone"):
        Follower(RunFolder(tmp_path / "gone")).poll()


def test_ids_are_new_once_and_whole_blocks_take_no_memory() -> None:
    ids = Ids()
    assert ids.add(np.array([5, 5, 7, -1, 2**62])).tolist() == [True, False, True, False, True]
    assert ids.add(np.arange(1 << 20)).sum() == (1 << 20) - 2
    assert ids.add(np.array([3, 1 << 20])).tolist() == [False, True]
    assert list(ids._open) == [2**62 >> 20, 1]
