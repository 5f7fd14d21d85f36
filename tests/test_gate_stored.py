"""Stored runs are judged: with hardly anything in them, twice, and when their measurement is in doubt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from harness.chunks import schema_of
from harness.findings import Summary, Verdict
from harness.model import Sample, Scenario, Span, Vital
from harness.report.files import FORMATS
from harness.run_folder import RunFolder
from tests.builders import a_root, a_sample, a_span, at, samples_table, spans_table
from tests.test_conclude import CPU, RUNS, a_scenario, concluded, failed, many

EVERY_KIND = (
    "p95(latency) < 1s", "mean(service) < 1s", "max(latency) <= 1s", "cv(latency) < 2", "p95(inference) < 1s",
    "mean(queue) < 1s", "max(clipped) < 1s", "cv(inference) < 2", "share(transfer) < 50%", "share(inference) < 99%",
    "share(ok) > 90%", "count(ok) > 0", "count(inference) > 0", "rate(ok) > 1/s", "throughput > 1/s",
    "rate(inference, step=0) > 1/s", "error_rate < 20%", "error_rate <= 0%", "completed > 90%", "completed >= 100%",
    "check_rate > 90%", "coverage > 90%", "peak(rss) < 2GiB", "mean(cpu) < 80%", "p95(loop_lag) < 10ms",
    "max(in_flight) < 9", "p95(latency, name=read) < 1s", "p95(latency, name=raed) < 1s", "p95(latency, step=3) < 1s",
    "p95(latency, phase=warmup) < 1s", "rate(ok, phase=warmup) > 1/s", "rate(ok, phase=drain) > 1/s",
    "p95(inference, model=det) < 1s", "share(inference, model=det) < 99%", "p95(call) < 1s",
    "mean(call, model=rec) < 1s", "max(call, phase=warmup) < 1s", "p50(latency) < 1s and p90(latency) < 1s",
)  # fmt: skip


def judged(tmp_path: Path, name: str) -> dict[str, Any]:
    return {s.expression: s for s in concluded(tmp_path, *RUNS[name], slo=EVERY_KIND).summary.slo}


@pytest.mark.parametrize("name", RUNS)
def test_every_kind_of_slo_has_an_answer_with_a_reason_on_such_a_run(tmp_path: Path, name: str) -> None:
    found = judged(tmp_path, name)

    assert len(found) == len(EVERY_KIND) + 1  # one line held two
    assert all(slo.reason and "nan" not in slo.reason.lower() for slo in found.values())


@pytest.mark.parametrize("name", ["empty", "only warm-up"])
def test_nothing_is_passed_or_failed_where_nothing_was_measured(tmp_path: Path, name: str) -> None:
    found = {expression: slo for expression, slo in judged(tmp_path, name).items() if "phase" not in expression}

    assert {slo.verdict for slo in found.values()} == {Verdict.NOT_ENOUGH_DATA, Verdict.INVALID}


def test_what_every_request_failed_is_failed(tmp_path: Path) -> None:
    found = judged(tmp_path, "all failed")

    for expression in (
        "p95(latency) < 1s", "mean(service) < 1s", "max(latency) <= 1s", "cv(latency) < 2", "share(ok) > 90%",
        "count(ok) > 0", "error_rate < 20%", "completed > 90%", "p95(inference) < 1s",
        "p95(latency, name=read) < 1s",
    ):  # fmt: skip
        assert found[expression].verdict is Verdict.FAILED, expression


def test_one_request_is_not_enough_and_says_how_many_are(tmp_path: Path) -> None:
    found = judged(tmp_path, "one request")["p95(latency) < 1s"]

    assert found.verdict is Verdict.NOT_ENOUGH_DATA
    assert "58 more requests" in found.reason


# --- twice -------------------------------------------------------------------------------------------------


def a_rich_run(path: Path) -> RunFolder:
    """Two names, failures, two models, vitals of two processes: all that is grouped or named somewhere."""
    samples, spans = [], []
    for i in range(240):
        due = 100.0 * i
        changes = {
            name: at(due + ms)
            for name, ms in (
                ("scheduled_ns", 0), ("start_ns", 1), ("send_ns", 3), ("sent_ns", 4), ("first_byte_ns", 90 + i % 7),
                ("done_ns", 100 + i % 9), ("done_user_ns", 100 + i % 9),
            )
        }  # fmt: skip
        name = "receipt" if i % 3 else "page"
        if i % 40 == 7:
            samples.append(replace(failed(i), name=name, scheduled_ns=at(due), start_ns=at(due), done_ns=at(due + 5)))
            continue
        samples.append(a_sample(i, name=name, connected_ns=None, **changes))
        root = a_root(due + 10, due + 90, number=i, span_id=f"a{i:015x}")
        inner = [
            a_span(
                model, due + start, due + end + i % 5, number=i, parent_id=root.span_id, span_id=f"{kind}{i:015x}",
                attributes={"harness.stage": "inference", "harness.model": model},
            )
            for kind, model, start, end in (("b", "det", 20, 40), ("c", "rec", 50, 70))
        ]  # fmt: skip
        spans += [root, *inner]
    folder = RunFolder(path)
    folder.write_table("samples", samples_table(*samples))
    folder.write_table("spans", spans_table(*spans))
    vitals = [
        Vital(at(1000.0 * second), "api", pid, name, value, "1", None)
        for second in range(24)
        for pid in (7, 8)
        for name, value in (("process.memory.usage", 1e8 + pid), ("process.cpu.utilization", 0.1 * (second % 5)))
    ]
    folder.write_table("vitals", pa.Table.from_pylist([asdict(vital) for vital in vitals], schema_of(Vital)))
    folder.write_json("run.json", a_record())
    return folder


def a_record(**changes: Any) -> dict[str, object]:
    scenario = a_scenario(slo=EVERY_KIND)
    return {
        "schema_version": 1, "run_id": "r", "status": "finished", "started_ns": at(0), "loopback": True,
        "load": {"readings": [CPU]}, "plan": TypeAdapter(Scenario).dump_python(scenario, mode="json"),
        **changes,
    }  # fmt: skip


JUDGE = """
import sys
from pathlib import Path
from harness.cli import main
from harness.report.files import FORMATS, write_reports
from harness.run import reopen
from harness.run_folder import RunFolder

run, out = map(Path, sys.argv[1:])
outcome = reopen(RunFolder(run))
write_reports(outcome.summary, outcome.ledger, tuple(FORMATS), out)
slos = "p95(inference, model=dett) < 1s and p50(latency) < 10ms"
files = [f"--junit={out / 'gate.xml'}", f"--markdown={out / 'gate.md'}"]
sys.argv[1:] = ["gate", str(run), "--slo", slos, "--strict", "--json", *files]
main()
"""
PLACES = {
    "1": {"TZ": "Asia/Tokyo", "LANG": "C", "LC_ALL": "C", "COLUMNS": "80"},
    "4242": {"TZ": "America/St_Johns", "LANG": "de_DE.UTF-8", "LC_ALL": "C.UTF-8", "COLUMNS": "200"},
}
"""Of a process that judges: PYTHONHASHSEED, and what else differs from machine to machine."""


def test_a_run_judged_twice_gives_the_same_reports_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    folder = a_rich_run(tmp_path / "run")
    children = []
    for seed, place in PLACES.items():
        (tmp_path / seed).mkdir()
        command = [sys.executable, "-c", JUDGE, str(folder.path), str(tmp_path / seed)]
        env = {**os.environ, **place, "PYTHONHASHSEED": seed, "GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
        children.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE))
    gated = [child.communicate(timeout=60)[0] for child in children]
    assert [child.returncode for child in children] == [1, 1]

    names = [*FORMATS.values(), "gate.xml", "gate.md"]
    texts = [{name: (tmp_path / seed / name).read_bytes() for name in names} for seed in PLACES]

    assert texts[0] == texts[1]
    assert gated[0] == gated[1]
    verdicts = {slo["verdict"] for slo in json.loads(gated[0])["slo"]}
    assert verdicts == {verdict.value for verdict in Verdict}  # each kind of answer is among them


# --- in doubt ----------------------------------------------------------------------------------------------

BUSY = {**CPU, "value": 0.99}


def in_doubt(tmp_path: Path, run: tuple[list[Sample], list[Span]], **record: Any) -> Summary:
    return concluded(tmp_path, *run, slo=("max(latency) < 1s",), record={"load": {"readings": [BUSY]}} | record).summary


def test_a_doubtful_run_is_invalid_and_judged_only_when_that_was_accepted(tmp_path: Path) -> None:
    doubted, accepted = in_doubt(tmp_path, many(200)), in_doubt(tmp_path, many(200), accept_suspect=True)

    assert (doubted.verdict, doubted.accepted) == (Verdict.INVALID, ())
    assert accepted.verdict is Verdict.PASSED
    assert accepted.accepted == doubted.reasons != ()


@pytest.mark.parametrize("wrong", ["yes", 1, None, False])
def test_only_a_plain_true_in_the_record_accepts_anything(tmp_path: Path, wrong: object) -> None:
    assert in_doubt(tmp_path, many(200), accept_suspect=wrong).verdict is Verdict.INVALID


@pytest.mark.parametrize("status", ["running", "broken"])
def test_a_run_that_did_not_end_cannot_be_accepted(tmp_path: Path, status: str) -> None:
    healthy = {"load": {"readings": [CPU]}}

    assert in_doubt(tmp_path, many(200), accept_suspect=True, status=status).verdict is Verdict.INVALID
    assert in_doubt(tmp_path, many(200), accept_suspect=True, status=status, **healthy).verdict is Verdict.INVALID


def test_a_run_where_all_failed_cannot_be_accepted(tmp_path: Path) -> None:
    assert in_doubt(tmp_path, RUNS["all failed"], accept_suspect=True).verdict is Verdict.INVALID


def test_requests_that_the_user_cut_off_break_no_limit_and_keep_none(tmp_path: Path) -> None:
    samples, spans = many(200)
    cut_off = [replace(each, censored=True, status=None) if each.request_id >= 195 else each for each in samples]
    slos = ("error_rate <= 0%", "max(latency) < 1s", "p50(latency) < 1s", "max(latency) < 1ms")

    found = concluded(tmp_path, cut_off, spans, slo=slos, record={"status": "interrupted"}).summary
    ended = concluded(tmp_path, cut_off, spans, slo=slos).summary

    few, kept, broken = Verdict.NOT_ENOUGH_DATA, Verdict.PASSED, Verdict.FAILED
    assert [slo.verdict for slo in found.slo] == [few, few, kept, broken]
    assert found.slo[0].reason == "requests that were still in flight decide"
    assert [slo.verdict for slo in ended.slo] == [broken, broken, kept, broken]
